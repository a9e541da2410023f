"""The whole check: its order, its reasons, and no allow without knowledge of every input."""

from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.domain.access import NO_CREDENTIAL, Credential, CredentialSource, Question, RequestPath, Target
from sidecar.domain.decision import Decision, Reason
from sidecar.domain.sessions import LiveSession, Method, Proof
from sidecar.domain.users import Status, UserId, UserRecord
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.token_cache import TokenCache
from sidecar.tokens.verify import Verifier
from tests.pdp_fixture import ISSUER, KEYS, NOW, SESSION, USERS, Memory, app, live, token, user

BILLING = RequestPath("GET", "/dashboard/billing")
PDP = app().pdp


def header(text: str) -> Credential:
    return Credential(CredentialSource.HEADER, text)


def cookie(text: str) -> Credential:
    return Credential(CredentialSource.COOKIE, text)


async def ask(
    target: RequestPath | Target, credential: Credential = NO_CREDENTIAL, *, same_site: bool = False
) -> Decision:
    return await PDP.check(Question(target, credential, same_site))


@pytest.mark.parametrize(
    ("target", "credential", "reason"),
    [
        (BILLING, header(token("b")), Reason.ALLOWED),
        (BILLING, header(token("f")), Reason.ALLOWED),
        (BILLING, header(token("c")), Reason.NO_RULE),
        (BILLING, NO_CREDENTIAL, Reason.MISSING_TOKEN),
        (BILLING, header("x"), Reason.MALFORMED_TOKEN),
        (BILLING, header(token("z")), Reason.UNKNOWN_USER),
        (BILLING, header(token("d")), Reason.SUSPENDED),
        (BILLING, header(token("e")), Reason.REVOKED),
        (BILLING, header(token("b", session="ses_" + "z" * 26)), Reason.SESSION_ENDED),
        (BILLING, header(token("b", epoch=2)), Reason.STORE_UNAVAILABLE),
        (BILLING, header(token("g")), Reason.STORE_UNAVAILABLE),
        (BILLING, header(token("b", issued_at=NOW - 1000, expires_at=NOW - 100)), Reason.EXPIRED),
        (BILLING, header(token("b", issued_at=NOW + 100, expires_at=NOW + 200)), Reason.NOT_YET_VALID),
        (Target("billing", "change-plan"), header(token("b")), Reason.ALLOWED),
        (Target("nowhere", "view"), header(token("b")), Reason.UNKNOWN_SECTION),
        (Target("billing", "nothing"), header(token("b")), Reason.UNKNOWN_ACTION),
    ],
)
async def test_reasons(target: RequestPath | Target, credential: Credential, reason: Reason) -> None:
    assert (await ask(target, credential)).reason is reason


async def test_the_order_is_ambiguous_then_token_then_unmatched() -> None:
    """A client without a token cannot learn which paths exist; an ambiguous path is not even looked up."""
    assert (await ask(RequestPath("GET", "/a//b"))).reason is Reason.AMBIGUOUS_PATH
    assert (await ask(RequestPath("GET", "/elsewhere"))).reason is Reason.MISSING_TOKEN
    assert (await ask(RequestPath("GET", "/elsewhere"), header(token("b")))).reason is Reason.UNMATCHED_PATH
    assert (await ask(Target("nowhere", "view"))).reason is Reason.MISSING_TOKEN


async def test_a_decision_tells_whom_where_and_by_which_rule() -> None:
    decision = await ask(BILLING, header(token("b")))
    assert decision.user == USERS[decision.user.id]  # type: ignore[union-attr]
    assert (decision.section, decision.action) == ("billing", "view")
    assert decision.rule is not None
    assert decision.rule.startswith("policy/policy.csv:")
    assert len(decision.generation) == 32


async def test_R29_an_unknown_name_is_truncated_where_it_is_kept() -> None:
    """Logs and responses keep decisions: thousands of names as long as a head would fill the memory."""
    for target in (Target("x" * 30_000, "view"), Target("billing", "y" * 30_000)):
        decision = await ask(target, header(token("b")))
        assert len(decision.section) + len(decision.action) < 300


async def test_R5_a_cookie_needs_a_same_site_request() -> None:
    assert (await ask(BILLING, cookie(token("b")))).reason is Reason.CROSS_SITE
    assert (await ask(BILLING, cookie(token("b")), same_site=True)).reason is Reason.ALLOWED


async def test_no_policy_in_force_allows_nothing() -> None:
    pdp = DecisionPoint(
        SimpleNamespace(generation=None),
        TokenCache(Verifier(KEYS, ISSUER, "dashboard", 900)),
        Memory(),
        clock=lambda: float(NOW),
    )
    decision = await pdp.check(Question(BILLING, header(token("b"))))
    assert (decision.reason, decision.allowed) == (Reason.POLICY_UNAVAILABLE, False)


class StaleRecords:
    """A live copy without the newest sign-in, which the store has."""

    def __init__(self, copy: UserRecord, truth: UserRecord) -> None:
        self._copy, self._truth = copy, truth
        self.asked = 0

    def peek(self, _uid: UserId) -> UserRecord:
        return self._copy

    async def read(self, _uid: UserId, *, fresh: bool = False) -> UserRecord:
        assert fresh, "the copy is known to be behind"
        self.asked += 1
        return self._truth


@pytest.mark.parametrize(
    ("truth", "claims", "reason"),
    [
        (user("b", "accountant", epoch=2), {"epoch": 2}, Reason.ALLOWED),
        (user("b", "accountant", epoch=1), {"epoch": 2}, Reason.STORE_UNAVAILABLE),
        (
            user("b", "accountant", sessions={SESSION: live(NOW + 9), "ses_" + "z" * 26: live(NOW + 9)}),
            {"session": "ses_" + "z" * 26},
            Reason.ALLOWED,
        ),
        (user("b", "accountant"), {"session": "ses_" + "z" * 26}, Reason.SESSION_ENDED),
    ],
)
async def test_a_token_newer_than_the_copy_asks_the_store(
    truth: UserRecord, claims: dict[str, Any], reason: Reason
) -> None:
    records = StaleRecords(user("b", "accountant"), truth)
    pdp = DecisionPoint(
        app().policy,
        TokenCache(Verifier(KEYS, ISSUER, "dashboard", 900)),
        records,  # type: ignore[arg-type]
        clock=lambda: float(NOW),
    )
    decision = await pdp.check(Question(BILLING, header(token("b", **claims))))
    assert (decision.reason, records.asked) == (reason, 1)


async def test_a_session_that_ran_out_is_ended_also_in_the_copy() -> None:
    records = StaleRecords(user("b", "accountant", sessions={SESSION: live(NOW)}), user("b", "accountant"))
    pdp = DecisionPoint(
        app().policy,
        TokenCache(Verifier(KEYS, ISSUER, "dashboard", 900)),
        records,  # type: ignore[arg-type]
        clock=lambda: float(NOW),
    )
    assert (await pdp.check(Question(BILLING, header(token("b"))))).reason is Reason.SESSION_ENDED


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.ACTIVE])
async def test_only_an_active_user_is_somebody(status: Status) -> None:
    records = StaleRecords(user("b", "accountant", status=status), user("b", "accountant", status=status))
    pdp = DecisionPoint(
        app().policy,
        TokenCache(Verifier(KEYS, ISSUER, "dashboard", 900)),
        records,  # type: ignore[arg-type]
        clock=lambda: float(NOW),
    )
    assert not (await pdp.check(Question(BILLING, header(token("b"))))).allowed


async def test_an_identity_has_the_live_proofs_of_its_session():
    """The token is the same before and after a step-up."""
    proof = Proof(Method.TOTP, "fac_1", NOW - 5)
    raised = user("b", "accountant", sessions={SESSION: LiveSession(NOW + 9, NOW - 5, (proof,))})
    generation, tokens = app().policy, TokenCache(Verifier(KEYS, ISSUER, "dashboard", 900))
    for record, expected in ((user("b", "accountant"), NOW), (raised, NOW - 5)):
        point = DecisionPoint(generation, tokens, StaleRecords(record, record), clock=lambda: float(NOW))
        found = await point.identify(Credential(CredentialSource.HEADER, token("b")))
        assert (found.proofs, found.signed_in_at) == (record.sessions[SESSION].methods, expected)
    assert found.proofs == (proof,)
