"""Decision as a gateway receives it."""

import json

import pytest

from sidecar.domain.decision import Decision, Reason, Verdict
from sidecar.domain.users import AccountId, Status, UserId, UserRecord
from sidecar.http.response import gateway_response, identity_headers

USER = UserRecord(
    UserId("usr_aaaaaaaaaaaa_bbbbbbbbbbbb"),
    AccountId("acc_aaaaaaaaaaaa"),
    "ada@example.com",
    "Ada",
    "accountant",
    Status.ACTIVE,
    epoch=1,
    revision=1,
    email_verified=True,
)
IDENTITY = ("X-Auth-User", "X-Auth-Email", "X-Auth-Role", "X-Auth-Account", "X-Auth-Section", "X-Auth-Action")


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("unavailable", [403, 503])
def test_R1_only_an_allow_is_200_and_every_other_answer_denies(reason: Reason, unavailable: int) -> None:
    answer = gateway_response(Decision(reason, "g" * 32, user=USER), unavailable=unavailable)
    expected = {
        Verdict.ALLOW: 200,
        Verdict.UNAUTHENTICATED: 401,
        Verdict.DENY: 403,
        Verdict.UNKNOWN: unavailable,
    }[reason.verdict]
    assert answer.status == expected
    headers = dict(answer.headers)
    assert headers["X-Auth-Reason"] == reason
    assert headers["X-Auth-Generation"] == "g" * 32
    assert headers["Cache-Control"] == "no-store"
    if expected == 200:
        assert answer.body == b""
        assert all(name in headers for name in IDENTITY)
    else:
        assert not any(name in headers for name in IDENTITY)
        assert json.loads(answer.body) == {
            "decision": False,
            "reason": reason.value,
            "message": reason.message,
            "generation": "g" * 32,
        }
    assert ("WWW-Authenticate" in headers) == (expected == 401)


def test_the_challenge_names_no_error_when_there_was_no_token() -> None:
    missing = dict(gateway_response(Decision(Reason.MISSING_TOKEN, "g"), unavailable=403).headers)
    assert missing["WWW-Authenticate"] == 'Bearer realm="sidecar"'
    expired = dict(gateway_response(Decision(Reason.EXPIRED, "g"), unavailable=403).headers)
    assert expired["WWW-Authenticate"].startswith('Bearer realm="sidecar", error="invalid_token", error_description="')


def test_identity_headers_are_present_and_empty_if_anonymous() -> None:
    assert identity_headers(Decision(Reason.PUBLIC, "g")) == tuple((name, "") for name in IDENTITY)


@pytest.mark.parametrize(
    ("email", "verified", "shown"),
    [
        ("ada@example.com", True, "ada@example.com"),
        ("ada@example.com", False, ""),
        ("ädä@example.com", True, ""),
        ("ada@example.com\r\nX-Auth-Role: x", True, ""),
    ],
)
def test_R9_an_email_is_told_only_when_verified_and_plain(email: str, verified: bool, shown: str) -> None:
    user = UserRecord(USER.id, USER.account, email, "Ada", "accountant", Status.ACTIVE, 1, 1, email_verified=verified)
    assert dict(identity_headers(Decision(Reason.ALLOWED, "g", user=user)))["X-Auth-Email"] == shown
