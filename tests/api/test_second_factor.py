"""Second factors over HTTP: enrolment, second step, passkeys, step-up, and what is refused without a hint."""

import asyncio
import json
import re
import time

import pyotp
import pytest
from fido2.utils import websafe_decode

from sidecar.store import keys
from tests.api.test_session import ACCESS, REFRESH, cookies_of, jar
from tests.conftest import Clock
from tests.fixtures import OTHER_PASSWORD, PASSWORD, PUBLIC
from tests.software_passkey import SoftwarePasskey

LOGIN = {"username": "ada@example.com", "password": PASSWORD}
OURS = [("Origin", PUBLIC), ("Content-Type", "application/json")]
STEP = 30


class StoreClock(Clock):
    """Clock ahead of the store's real time: the ages of the store's proofs are compared with it."""

    def time(self) -> float:
        return time.time() + self._elapsed

    def unix(self) -> int:
        return int(self.time())


@pytest.fixture
def clock() -> Clock:
    return StoreClock()


class Phone:
    """Authenticator app. Each code is of a later step, because a step is accepted once."""

    def __init__(self, clock: Clock, secret: str) -> None:
        self.clock = clock
        self.totp = pyotp.TOTP(secret)

    def code(self) -> str:
        self.clock.advance(STEP)
        return self.totp.at(self.clock.time())


class Ada:
    """One user with the API. Signs in once, and holds a bearer token."""

    def __init__(self, web, town, clock, store) -> None:
        self.web, self.town, self.clock, self.store = web, town, clock, store
        self.token = ""
        self.codes: list[str] = []

    async def call(self, method, path, body=None, **more):
        more.setdefault("token", self.token)
        return await self.web.ask(method, path, body, **more)

    async def browser(self, path, body=None, headers=OURS):
        return await self.web.ask("POST", path, {} if body is None else body, headers=headers)

    async def phone(self) -> Phone:
        added = await self.call("POST", "/v1/me/factors/totp")
        assert added.status == 201, added.body
        phone = Phone(self.clock, added.body["secret"])
        confirmed = await self.call("POST", f"/v1/me/factors/{added.body['id']}/confirm", {"code": phone.code()})
        assert confirmed.status == 200, confirmed.body
        self.codes = confirmed.body["recovery_codes"] or self.codes
        phone.id = added.body["id"]
        return phone

    async def passkey(self) -> SoftwarePasskey:
        added = await self.call("POST", "/v1/me/factors/passkey")
        assert added.status == 201, added.body
        device = SoftwarePasskey(PUBLIC)
        sent = {"credential": device.create(added.body["options"])}
        confirmed = await self.call("POST", f"/v1/me/factors/{added.body['id']}/confirm", sent)
        assert confirmed.status == 200, confirmed.body
        self.codes = confirmed.body["recovery_codes"] or self.codes
        device.factor = added.body["id"]
        return device

    async def challenge(self):
        first = await self.browser("/v1/session", LOGIN)
        assert (first.status, first.body["code"]) == (401, "second_factor_required"), first.body
        assert cookies_of(first) == {}
        return first.body

    async def record(self):
        return await self.town.people.users.record(self.id)

    async def age(self, seconds: float) -> None:
        """Set all proofs of the user's sessions back: the store's time cannot be moved."""
        record = await self.record()
        home = keys.account(record.account, self.store.partitions)
        for session in record.sessions:
            place = f"{home}:s:{session}"
            at, by = await self.store.command("HMGET", place, "at", "by")
            older = re.sub(r":(\d{10,})", lambda found: f":{int(found[1]) - round(seconds * 1000)}", by)
            await self.store.change("HSET", place, "at", str(int(at) - round(seconds * 1000)), "by", older)


@pytest.fixture
async def ada(open_web, town, clock, store) -> Ada:
    record = await town.found()
    user = Ada(await open_web(), town, clock, store)
    user.id = record.id
    user.token = await user.web.token("ada@example.com")
    return user


# Enrolment ------------------------------------------------------------------------------------------------------------


async def test_the_first_factor_brings_ten_codes_once(ada):
    phone = await ada.phone()
    assert len(set(ada.codes)) == 10
    listed = await ada.call("GET", "/v1/me/factors")
    (factor,) = listed.body["factors"]
    assert (factor["id"], factor["kind"], factor["name"]) == (phone.id, "totp", "Authenticator app")
    assert (listed.body["recovery_codes"], listed.body["passkeys_available"]) == (10, True)
    again = await ada.call("POST", "/v1/me/factors/totp")
    second = Phone(ada.clock, again.body["secret"])
    more = await ada.call("POST", f"/v1/me/factors/{again.body['id']}/confirm", {"code": second.code(), "name": "Work"})
    assert (more.body["recovery_codes"], more.body["factor"]["name"]) == ([], "Work")


async def test_the_user_list_counts_second_factors(ada, town):
    await town.join(await ada.record(), "bob@example.com")
    await ada.phone()
    await ada.passkey()
    listed = (await ada.call("GET", "/v1/users")).body["users"]
    assert {one["email"]: one["factors"] for one in listed} == {"ada@example.com": 2, "bob@example.com": 0}


async def test_a_factor_is_renamed_and_removed(ada):
    phone = await ada.phone()
    assert (await ada.call("PATCH", f"/v1/me/factors/{phone.id}", {"name": "My phone"})).status == 204
    (factor,) = (await ada.call("GET", "/v1/me/factors")).body["factors"]
    assert factor["name"] == "My phone"
    removed = await ada.call("DELETE", f"/v1/me/factors/{phone.id}")
    assert (removed.status, removed.headers["X-Sidecar-Revocation"]) == (204, "complete")
    assert (await ada.call("GET", "/v1/me/factors")).body == {
        "factors": [],
        "recovery_codes": 0,
        "passkeys_available": True,
    }
    assert (await ada.browser("/v1/session", LOGIN)).status == 204


async def test_a_wrong_code_confirms_nothing(ada):
    added = await ada.call("POST", "/v1/me/factors/totp")
    path = f"/v1/me/factors/{added.body['id']}/confirm"
    for body in (
        {"code": "000000"},
        {"code": "x" * 64},
        {"credential": SoftwarePasskey(PUBLIC).get({"challenge": "AA"})},
    ):
        answer = await ada.call("POST", path, body)
        assert (answer.status, answer.body["code"]) == (401, "wrong_code")
    for body in ({}, {"code": "x" * 65}, {"code": "1", "credential": {}}, {"code": 123456}, {"nonsense": ""}):
        assert (await ada.call("POST", path, body)).status == 400
    unknown = await ada.call("POST", "/v1/me/factors/totp_aaaaaaaaaaaaaaaa/confirm", {"code": "000000"})
    assert unknown.status == 404
    assert (await ada.call("POST", "/v1/me/factors/%00/confirm", {"code": "000000"})).status == 404
    assert (await ada.call("GET", "/v1/me/factors")).body["factors"] == []


async def test_recovery_codes_are_replaced(ada):
    assert (await ada.call("POST", "/v1/me/recovery-codes")).body["code"] == "no_factor"
    await ada.phone()
    before = ada.codes
    fresh = (await ada.call("POST", "/v1/me/recovery-codes")).body["recovery_codes"]
    assert len({*fresh, *before}) == 20
    old = {"challenge": (await ada.challenge())["challenge"], "recovery_code": before[0]}
    assert (await ada.browser("/v1/session/factor", old)).body["code"] == "wrong_code"


STALE_CALLS = [
    ("GET", "/v1/me/factors", None),
    ("POST", "/v1/me/factors/totp", None),
    ("POST", "/v1/me/factors/passkey", None),
    ("POST", "/v1/me/factors/totp_aaaaaaaaaaaaaaaa/confirm", {"code": "000000"}),
    ("PATCH", "/v1/me/factors/totp_aaaaaaaaaaaaaaaa", {"name": "x"}),
    ("DELETE", "/v1/me/factors/totp_aaaaaaaaaaaaaaaa", None),
    ("POST", "/v1/me/recovery-codes", None),
]


@pytest.mark.parametrize(("method", "path", "body"), STALE_CALLS)
async def test_R37_an_old_sign_in_changes_no_factor(ada, method, path, body):
    await ada.age(16 * 60)
    answer = await ada.call(method, path, body)
    assert (answer.status, answer.body["code"], answer.body["max_age"]) == (401, "step_up_required", 900)
    told = answer.headers["WWW-Authenticate"]
    assert 'error="insufficient_user_authentication"' in told
    assert 'max_age="900"' in told
    assert (await ada.call("POST", "/v1/session/step-up", {"password": PASSWORD})).status == 200
    assert (await ada.call(method, path, body)).status != 401 or body == {"code": "000000"}


async def test_R37_with_a_factor_a_password_is_not_fresh_enough(ada):
    phone = await ada.phone()
    await ada.age(16 * 60)
    refused = await ada.call("POST", "/v1/session/step-up", {"password": PASSWORD})
    assert (refused.status, refused.body["code"]) == (403, "second_factor_required")
    assert (await ada.call("GET", "/v1/me/factors")).body["code"] == "step_up_required"
    options = await ada.call("POST", "/v1/session/step-up/options")
    sent = {"challenge": options.body["challenge"], "code": phone.code()}
    assert (await ada.call("POST", "/v1/session/step-up", sent)).status == 200
    assert (await ada.call("GET", "/v1/me/factors")).status == 200


# Second step of the sign-in -------------------------------------------------------------------------------------------


async def test_R36_a_password_alone_opens_no_session(ada):
    phone = await ada.phone()
    before = set((await ada.record()).sessions)
    body = await ada.challenge()
    assert body["methods"] == ["totp", "recovery-code"]
    assert body["passkey"] is None
    assert set((await ada.record()).sessions) == before
    done = await ada.browser("/v1/session/factor", {"challenge": body["challenge"], "code": phone.code()})
    assert (done.status, done.raw, set(cookies_of(done))) == (204, b"", {ACCESS, REFRESH})
    (session,) = set((await ada.record()).sessions) - before
    assert [proof.method.value for proof in (await ada.record()).sessions[session].methods] == ["password", "totp"]


async def test_R34_fifty_parallel_sign_ins_with_one_code(ada):
    phone = await ada.phone()
    challenges = [(await ada.challenge())["challenge"] for _ in range(50)]
    code = phone.code()
    answers = await asyncio.gather(
        *(ada.browser("/v1/session/factor", {"challenge": one, "code": code}) for one in challenges)
    )
    assert [one.status for one in answers].count(204) == 1
    assert {one.status for one in answers} <= {204, 401, 429}


async def test_R35_a_recovery_code_signs_in_once_and_is_mailed(ada):
    await ada.phone()
    sent = {"recovery_code": ada.codes[0].upper().replace("-", " ")}
    first = await ada.browser("/v1/session/factor", {"challenge": (await ada.challenge())["challenge"], **sent})
    again = await ada.browser("/v1/session/factor", {"challenge": (await ada.challenge())["challenge"], **sent})
    assert (first.status, again.status) == (204, 401)
    await ada.town.outbox.close()
    assert any("recovery codes was used" in mail.text for mail in ada.town.mailed)


async def test_R36_a_challenge_is_for_its_use_user_and_time(ada):
    phone = await ada.phone()
    step_up = (await ada.call("POST", "/v1/session/step-up/options")).body["challenge"]
    passkey = (await ada.browser("/v1/session/passkey/options")).body["challenge"]
    sign_in = (await ada.challenge())["challenge"]
    token = (await ada.web.ask("POST", "/token", {"grant_type": "password", **LOGIN}, headers=OURS[1:])).body[
        "mfa_token"
    ]
    for wrong in (step_up, passkey, token, sign_in[:-1] + ("a" if sign_in[-1] != "a" else "b"), "", "x" * 8000):
        answer = await ada.browser("/v1/session/factor", {"challenge": wrong, "code": phone.code()})
        assert (answer.status, answer.body["code"]) == (401, "wrong_code")
    for wrong in (sign_in, passkey, token):
        answer = await ada.call("POST", "/v1/session/step-up", {"challenge": wrong, "code": phone.code()})
        assert (answer.status, answer.body["code"]) == (401, "wrong_code")
    ada.clock.advance(301)
    late = await ada.browser("/v1/session/factor", {"challenge": sign_in, "code": phone.code()})
    assert late.status == 401


async def test_R36_a_challenge_dies_with_the_password(ada):
    phone = await ada.phone()
    challenge = (await ada.challenge())["challenge"]
    await ada.call("POST", "/v1/me/password", {"old_password": PASSWORD, "new_password": OTHER_PASSWORD})
    assert (await ada.browser("/v1/session/factor", {"challenge": challenge, "code": phone.code()})).status == 401


async def test_R16_a_full_store_takes_no_second_step(ada, town):
    phone = await ada.phone()
    challenge = (await ada.challenge())["challenge"]
    town.limits.memory_low = True
    answer = await ada.browser("/v1/session/factor", {"challenge": challenge, "code": phone.code()})
    assert (answer.status, answer.headers["Retry-After"]) == (429, "30")
    town.limits.memory_low = False
    assert (await ada.browser("/v1/session/factor", {"challenge": challenge, "code": phone.code()})).status == 204


async def test_R36_five_wrong_answers_end_a_challenge(ada):
    phone = await ada.phone()
    challenge = (await ada.challenge())["challenge"]
    for _ in range(5):
        assert (await ada.browser("/v1/session/factor", {"challenge": challenge, "code": "000000"})).status == 401
    assert (await ada.browser("/v1/session/factor", {"challenge": challenge, "code": phone.code()})).status == 401


async def test_R36_ten_wrong_codes_wait_and_are_mailed_once(ada):
    phone = await ada.phone()
    device = await ada.passkey()
    for number in range(12):
        challenge = (await ada.challenge())["challenge"]
        answer = await ada.browser("/v1/session/factor", {"challenge": challenge, "code": "000000"})
        assert answer.status == (401 if number < 10 else 429), number
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    right = {
        "challenge": (await ada.call("POST", "/v1/session/step-up/options")).body["challenge"],
        "code": phone.code(),
    }
    assert (await ada.call("POST", "/v1/session/step-up", right)).status == 429, "one count for both"
    body = await ada.challenge()
    passkey = {"challenge": body["challenge"], "credential": device.get(body["passkey"])}
    assert (await ada.browser("/v1/session/factor", passkey)).status == 204, "passkeys are never blocked by it"
    await ada.town.outbox.close()
    assert sum("Ten wrong codes" in mail.text for mail in ada.town.mailed) == 1


BROKEN = [
    {},
    {"challenge": "x"},
    {"code": "000000"},
    {"challenge": "x", "code": "1", "recovery_code": "2"},
    {"challenge": 1, "code": "1"},
    {"challenge": "x", "code": None},
    {"challenge": "x", "credential": {}},
    {"challenge": "x", "credential": {"id": "x", "rawId": "x", "type": "public-key", "response": {}}},
    {"challenge": "x" * 9000, "code": "1"},
    {"challenge": "x", "code": "1" * 65},
    {"challenge": "x", "code": "1", "more": 1},
    [],
]


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
async def test_a_malformed_answer_is_400_with_a_code(ada, body):
    for path in ("/v1/session/factor", "/v1/session/passkey"):
        answer = await ada.browser(path, body)
        assert (answer.status, answer.body["code"]) == (400, "bad_request")
    assert (await ada.call("POST", "/v1/session/step-up", body)).status == 400


async def test_wrong_answers_give_no_hint(ada):
    phone = await ada.phone()
    device = await ada.passkey()
    body = await ada.challenge()
    forged = device.get(body["passkey"])
    forged["response"]["signature"] = forged["response"]["authenticatorData"]
    answers = [
        await ada.browser("/v1/session/factor", sent)
        for sent in (
            {"challenge": body["challenge"], "code": "000000"},
            {"challenge": body["challenge"], "recovery_code": "aaaa-aaaa-aaaa-aaaa"},
            {"challenge": body["challenge"], "credential": forged},
            {"challenge": "ch_nonsense", "code": phone.code()},
        )
    ]
    assert len({one.raw for one in answers}) == 1
    assert {one.headers["WWW-Authenticate"] for one in answers} == {'Bearer realm="sidecar"'}


# Passkeys -------------------------------------------------------------------------------------------------------------


async def test_R38_a_passkey_signs_in_alone_and_as_second_step(ada):
    device = await ada.passkey()
    options = (await ada.browser("/v1/session/passkey/options")).body
    alone = {"challenge": options["challenge"], "credential": device.get(options["passkey"])}
    done = await ada.browser("/v1/session/passkey", alone)
    assert (done.status, set(cookies_of(done))) == (204, {ACCESS, REFRESH})
    assert (await ada.browser("/v1/session/passkey", alone)).status == 401, "replayed"
    body = await ada.challenge()
    assert body["methods"] == ["passkey", "recovery-code"]
    second = {"challenge": body["challenge"], "credential": device.get(body["passkey"])}
    assert (await ada.browser("/v1/session/factor", second)).status == 204
    methods = [[proof.method.value for proof in one.methods] for one in (await ada.record()).sessions.values()]
    assert sorted(methods) == [["passkey"], ["password", "passkey"], ["password", "passkey"]]


async def test_R38_a_counter_that_goes_back_signs_nobody_in(ada):
    device = await ada.passkey()
    device.counter = 9
    for expected in (204, 401):
        options = (await ada.browser("/v1/session/passkey/options")).body
        sent = {"challenge": options["challenge"], "credential": device.get(options["passkey"])}
        assert (await ada.browser("/v1/session/passkey", sent)).status == expected
        device.counter = 3
    rows = (await ada.call("GET", "/v1/audit")).body
    assert "factor.counter_refused" in json.dumps(rows)


async def test_a_passkey_of_another_user_is_nothing(ada, town):
    device = await ada.passkey()
    bob = await town.join(await ada.record(), "bob@example.com")
    options = (await ada.browser("/v1/session/passkey/options")).body
    device.user = bob.id.encode()
    sent = {"challenge": options["challenge"], "credential": device.get(options["passkey"])}
    assert (await ada.browser("/v1/session/passkey", sent)).status == 401
    device.user = b"\xff" * 64
    sent = {"challenge": options["challenge"], "credential": device.get(options["passkey"])}
    assert (await ada.browser("/v1/session/passkey", sent)).status == 401


async def test_a_passkey_is_enrolled_once(ada):
    device = await ada.passkey()
    added = await ada.call("POST", "/v1/me/factors/passkey")
    assert [websafe_decode(one["id"]) for one in added.body["options"]["excludeCredentials"]] == [device.id]
    sent = {"credential": device.create(added.body["options"])}
    assert (await ada.call("POST", f"/v1/me/factors/{added.body['id']}/confirm", sent)).body["code"] == "wrong_code"


async def test_R38_an_ip_address_has_no_passkeys(town, open_web, clock, store, monkeypatch):
    from sidecar.identity.factors.passkeys import Passkeys

    await town.found()
    off = Passkeys("http://127.0.0.1:9181")
    monkeypatch.setattr(town.people.factors.enrolment, "_passkeys", off)
    monkeypatch.setattr(town.people.factors.sign_in._attempts, "passkeys", off)
    user = Ada(await open_web(), town, clock, store)
    user.token = await user.web.token("ada@example.com")
    for answer in (
        await user.call("POST", "/v1/me/factors/passkey"),
        await user.browser("/v1/session/passkey/options"),
    ):
        assert (answer.status, answer.body["code"]) == (409, "passkeys_unavailable")
        assert "localhost or a name" in answer.body["detail"]
    assert (await user.call("GET", "/v1/me/factors")).body["passkeys_available"] is False


# Step-up --------------------------------------------------------------------------------------------------------------


async def test_R41_the_same_token_goes_on_after_a_step_up(ada):
    await ada.age(3600)
    before = (await ada.record()).sessions
    raised = await ada.call("POST", "/v1/session/step-up", {"password": PASSWORD})
    assert raised.status == 200
    assert raised.body["methods"] == ["password"]
    assert raised.body["revision"] == int(raised.headers["X-Sidecar-Revision"])
    assert cookies_of(raised) == {}
    after = (await ada.record()).sessions
    assert set(after) == set(before)
    assert [one.ends_at for one in after.values()] == [one.ends_at for one in before.values()]
    assert (await ada.call("GET", "/v1/me")).status == 200


async def test_R41_a_browser_gets_both_cookies_anew_and_no_longer_life(ada):
    signed_in = await ada.browser("/v1/session", LOGIN)
    headers = [*OURS, ("Cookie", jar(signed_in))]
    raised = await ada.browser("/v1/session/step-up", {"password": PASSWORD}, headers=headers)
    assert raised.status == 200
    found, old = cookies_of(raised), cookies_of(signed_in)
    assert set(found) == {ACCESS, REFRESH}
    assert all(found[name][0] != old[name][0] for name in found)
    assert all(int(found[name][1][1].removeprefix("Max-Age=")) <= 2592000 for name in found)
    assert "token" not in raised.raw.decode()
    renewed = await ada.web.ask("POST", "/v1/session/refresh", headers={"Cookie": jar(raised), "Origin": PUBLIC})
    assert renewed.status == 204


@pytest.mark.parametrize("path", ["", "/factor", "/passkey/options", "/passkey", "/step-up/options", "/step-up"])
@pytest.mark.parametrize("origin", [None, "https://evil.example", "null", f"{PUBLIC}:8443"])
async def test_R41_cookie_calls_need_json_and_the_exact_origin(ada, path, origin):
    cookies = ("Cookie", jar(await ada.browser("/v1/session", LOGIN)))
    bodies = {"": LOGIN, "/step-up": {"password": PASSWORD}, "/factor": {"challenge": "x", "code": "1"}}
    credential = SoftwarePasskey(PUBLIC, rp_id="x").get({"challenge": "AA"})
    body = bodies.get(path, {"challenge": "x", "credential": credential} if path == "/passkey" else {})
    headers = [cookies, OURS[1], ("Sec-Fetch-Site", "same-origin")]
    answer = await ada.browser(f"/v1/session{path}", body, [*headers, *([("Origin", origin)] if origin else [])])
    assert (answer.status, answer.body["code"]) == (403, "cross_site")
    form = [cookies, OURS[0], ("Content-Type", "text/plain")]
    answer = await ada.browser(f"/v1/session{path}", body, form)
    assert (answer.status, answer.body["code"]) == (400, "bad_request")


async def test_a_wrong_password_is_401_and_counts(ada):
    wrong = await ada.call("POST", "/v1/session/step-up", {"password": OTHER_PASSWORD})
    assert (wrong.status, wrong.body["code"]) == (401, "wrong_password")
    assert ada.id in ada.town.limits.failures
    both = {"password": PASSWORD, "challenge": "x", "code": "1"}
    assert (await ada.call("POST", "/v1/session/step-up", both)).status == 400
    assert (await ada.web.ask("POST", "/v1/session/step-up", {"password": PASSWORD})).status == 401


async def test_step_up_by_a_passkey_and_by_a_recovery_code(ada):
    device = await ada.passkey()
    await ada.age(3600)
    options = (await ada.call("POST", "/v1/session/step-up/options")).body
    assert options["methods"] == ["passkey", "recovery-code"]
    sent = {"challenge": options["challenge"], "credential": device.get(options["passkey"])}
    assert (await ada.call("POST", "/v1/session/step-up", sent)).body["methods"] == ["password", "passkey"]
    assert (await ada.call("POST", "/v1/session/step-up", sent)).status == 401, "replayed"
    options = (await ada.call("POST", "/v1/session/step-up/options")).body
    sent = {"challenge": options["challenge"], "recovery_code": ada.codes[0]}
    raised = await ada.call("POST", "/v1/session/step-up", sent)
    assert raised.body["methods"] == ["password", "passkey", "recovery-code"]


async def test_a_step_up_needs_the_callers_own_challenge(ada, town):
    phone = await ada.phone()
    await town.join(await ada.record(), "bob@example.com")
    bob = await ada.web.token("bob@example.com")
    challenge = (await ada.call("POST", "/v1/session/step-up/options")).body["challenge"]
    sent = {"challenge": challenge, "code": phone.code()}
    assert (await ada.call("POST", "/v1/session/step-up", sent, token=bob)).status == 401
    assert (await ada.call("POST", "/v1/session/step-up", sent)).status == 200, "nothing was used up"


# /token ---------------------------------------------------------------------------------------------------------------


async def token(ada, **sent):
    return await ada.web.ask("POST", "/token", sent, headers=OURS[1:])


async def test_the_password_grant_asks_for_a_second_step(ada):
    phone = await ada.phone()
    first = await token(ada, grant_type="password", **LOGIN)
    assert (first.status, first.body["error"]) == (400, "mfa_required")
    assert first.body["methods"] == ["totp", "recovery-code"]
    grant = {"grant_type": "urn:policy-sidecar:mfa", "mfa_token": first.body["mfa_token"]}
    wrong = await token(ada, **grant, otp="000000")
    assert (wrong.status, wrong.body["error"]) == (400, "invalid_grant")
    assert (await token(ada, **grant)).body["error"] == "invalid_request"
    assert (await token(ada, **grant, otp="1", recovery_code="2")).body["error"] == "invalid_request"
    done = await token(ada, **grant, otp=phone.code())
    assert done.status == 200
    assert (await ada.call("GET", "/v1/me", token=done.body["access_token"])).status == 200
    assert (await token(ada, **grant, otp=phone.code())).status == 400, "used"
    again = (await token(ada, grant_type="password", **LOGIN)).body["mfa_token"]
    by_code = await token(ada, **{**grant, "mfa_token": again}, recovery_code=ada.codes[1])
    assert by_code.status == 200


async def test_a_second_step_by_token_is_no_sign_in_in_a_browser(ada):
    async def token_only() -> bool:
        return (await ada.town.people.users.roster((await ada.record()).account)).members[0].token_only

    phone = await ada.phone()
    mfa = (await token(ada, grant_type="password", **LOGIN)).body["mfa_token"]
    assert (await token(ada, grant_type="urn:policy-sidecar:mfa", mfa_token=mfa, otp=phone.code())).status == 200
    assert await token_only()
    challenge = (await ada.challenge())["challenge"]
    assert (await ada.browser("/v1/session/factor", {"challenge": challenge, "code": phone.code()})).status == 204
    assert not await token_only()


async def test_the_first_sign_in_in_a_browser_counts(ada):
    assert (await ada.browser("/v1/session", LOGIN)).status == 204
    assert not (await ada.town.people.users.roster((await ada.record()).account)).members[0].token_only


async def test_who_has_only_a_passkey_gets_no_token(ada):
    await ada.passkey()
    first = await token(ada, grant_type="password", **LOGIN)
    assert (first.status, first.body["error"]) == (400, "mfa_required")
    assert "mfa_token" not in first.body
    assert "browser" in first.body["error_description"]


# Links, mails, other users --------------------------------------------------------------------------------------------


async def test_R36_a_reset_link_opens_no_session_and_keeps_the_factor(ada, town):
    phone = await ada.phone()
    link = town.people.password_reset.link(await ada.record())
    sent = {"token": link.url.partition("#")[2], "password": OTHER_PASSWORD}
    answer = await ada.web.ask("POST", "/v1/password/reset", sent)
    assert (answer.status, set(answer.body)) == (200, {"user", "account"})
    assert (await ada.record()).sessions == {}
    assert set((await ada.record()).factors) == {phone.id}
    await town.outbox.close()
    assert any("password was changed" in mail.text for mail in town.mailed)


async def test_R37_changes_of_factors_are_mailed_without_a_secret(ada, town):
    phone = await ada.phone()
    await ada.call("POST", "/v1/me/recovery-codes")
    await ada.call("DELETE", f"/v1/me/factors/{phone.id}")
    await ada.call("POST", "/v1/me/password", {"old_password": PASSWORD, "new_password": OTHER_PASSWORD})
    await town.outbox.close()
    text = "\n".join(mail.text for mail in town.mailed)
    for told in ("was added", "codes were replaced", "was removed", "password was changed"):
        assert told in text
    assert not any(secret in text for secret in (*ada.codes, phone.totp.secret, OTHER_PASSWORD, "http"))
    assert {mail.recipient for mail in town.mailed} == {"ada@example.com"}


async def test_R37_a_fresh_administrator_resets_the_factors_of_another(ada, town):
    bob = await town.join(await ada.record(), "bob@example.com")
    admin, ada.token = ada.token, await ada.web.token("bob@example.com")
    bobs, ada.id = ada.token, bob.id
    await ada.phone()
    path = f"/v1/users/{bob.id}/factors"
    assert (await ada.call("DELETE", path, token=bobs)).body["code"] == "forbidden"
    assert (await ada.call("POST", f"{path}/confirm", token=admin)).status == 204
    assert all(at <= ada.clock.time() for at in (await ada.record()).factors.values())
    done = await ada.call("DELETE", path, token=admin)
    assert (done.status, done.headers["X-Sidecar-Revocation"]) == (204, "complete")
    assert ((await ada.record()).sessions, (await ada.record()).factors) == ({}, {})
    assert (await ada.call("GET", "/v1/me", token=bobs)).status == 401
    assert (await ada.call("DELETE", path, token=admin)).status == 204, "nothing left to do"


async def test_R37_nobody_resets_own_factors_or_those_of_a_higher_role(ada, town):
    record = await ada.record()
    for path in (f"/v1/users/{record.id}/factors", f"/v1/users/{record.id}/factors/confirm"):
        method = "POST" if path.endswith("confirm") else "DELETE"
        assert (await ada.call(method, path)).body["code"] == "use_me"
    unknown = f"/v1/users/usr_{record.account[4:]}_aaaaaaaaaaaa/factors"
    assert (await ada.call("DELETE", unknown)).status == 404
    await ada.age(16 * 60)
    bob = await town.join(record, "bob@example.com")
    assert (await ada.call("DELETE", f"/v1/users/{bob.id}/factors")).body["code"] == "step_up_required"


async def test_R11_factors_of_another_account_are_out_of_reach(ada, town):
    eve = await town.found("Bolt", "eve@bolt.example")
    token, ada.token = ada.token, await ada.web.token("eve@bolt.example")
    phone = await ada.phone()
    before = await town.people.users.record(eve.id)
    path = f"/v1/users/{eve.id}/factors"
    assert (await ada.call("DELETE", path, token=token)).status == 404
    assert (await ada.call("POST", f"{path}/confirm", token=token)).status == 404
    assert (await ada.call("DELETE", f"/v1/me/factors/{phone.id}", token=token)).status == 404
    assert await town.people.users.record(eve.id) == before


async def test_no_secret_of_a_factor_is_in_the_audit(ada):
    phone = await ada.phone()
    device = await ada.passkey()
    body = await ada.challenge()
    sent = {"challenge": body["challenge"], "recovery_code": ada.codes[0]}
    await ada.browser("/v1/session/factor", sent)
    home = keys.account((await ada.record()).account, ada.store.partitions)
    text = json.dumps(await ada.store.command("XRANGE", f"{home}:log", "-", "+"), default=str)
    for secret in (*ada.codes, phone.totp.secret, body["challenge"], device.id.hex()):
        assert secret not in text
    everything = ""
    for key in await ada.store.command("KEYS", "*"):
        if ":f:" in key or ":rc:" in key or ":fp:" in key:
            kind = "SMEMBERS" if ":rc:" in key else "HGETALL"
            everything += str(await ada.store.command(kind, key))
    assert "sealed" in everything
    for secret in (*ada.codes, phone.totp.secret):
        assert secret not in everything
        assert secret.replace("-", "") not in everything
