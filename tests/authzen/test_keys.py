"""R20: keys of PEPs. Hashed, bound to one account, with scopes, an expiry and a rate; rejected at once when revoked."""

from typing import Any

import pytest

from sidecar.api.endpoints import API, CHECKS
from sidecar.domain.peps import Scope
from sidecar.domain.users import Status
from sidecar.http.endpoint import Require
from sidecar.identity.pep_keys import UNPROVEN_A_SECOND, revoke
from sidecar.store.errors import StoreUnavailableError
from sidecar.tokens.opaque import SecretKind, new_secret
from tests.authzen.conftest import OPERATOR, AccountsFixture, AlwaysThere, Pdp
from tests.authzen.test_transport import CALLS, each_call

EVALUATION = "/access/v1/evaluation"


async def refused(pdp: Pdp, path: str, key: str, reason: str) -> None:
    answer = await pdp.ask(path, CALLS[path], key=key)
    assert (answer.status, answer.headers["X-Auth-Reason"]) == (401, reason)
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert key == "pep_" or key not in answer.body


@each_call
async def test_R20_a_users_token_is_401(pdp: Pdp, town: AccountsFixture, path: str) -> None:
    await refused(pdp, path, await town.token("ada"), "malformed_token")


@each_call
async def test_R20_a_users_cookie_is_not_even_read(pdp: Pdp, town: AccountsFixture, path: str) -> None:
    headers = {
        "Content-Type": "application/json",
        "Cookie": f"__Host-sidecar={await town.token('ada')}",
        "Sec-Fetch-Site": "same-origin",
    }
    answer = await pdp.ask(path, CALLS[path], bare=True, headers=headers)
    assert (answer.status, answer.headers["X-Auth-Reason"]) == (401, "missing_token")
    by_cookie = {**headers, "Cookie": f"__Host-sidecar={pdp.key}"}
    assert (await pdp.ask(path, CALLS[path], bare=True, headers=by_cookie)).status == 401


async def test_R20_a_key_opens_nothing_but_its_endpoints(pdp: Pdp) -> None:
    keyed = {"Authorization": f"Bearer {pdp.key}", "Content-Type": "application/json"}
    forwarded = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/dashboard/account-settings"}
    assert (await pdp.ask("/check", method="GET", headers={**keyed, **forwarded})).status == 401
    assert (await pdp.ask("/check/sections/account-settings", method="GET", headers=keyed)).status == 401
    asked = 0
    for row in (*CHECKS, *API):
        guarded = row.guard is not Require.OPEN and not row.path.startswith(("/access/", "/introspect"))
        if guarded:
            asked += 1
            answer = await pdp.ask(row.path.replace("{id}", "x").replace("{sid}", "x"), {}, method=row.method)
            assert answer.status == 401, row
    assert asked > 5


@each_call
async def test_R20_the_scope_must_fit(pdp: Pdp, town: AccountsFixture, path: str) -> None:
    needed = Scope.SEARCH if "/search/" in path else Scope.EVALUATE
    for scope in Scope:
        answer = await pdp.ask(path, CALLS[path], key=await town.key(frozenset({scope})))
        assert answer.status == (200 if scope is needed else 403)
        if scope is not needed:
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sidecar", error="insufficient_scope"'
            assert needed.value in answer.body


@each_call
async def test_R20_an_expired_key_is_401(pdp: Pdp, town: AccountsFixture, path: str, clock: Any) -> None:
    made = await town.made(ttl=60)
    clock.advance(made.pep.expires_at - clock.time() - 1)
    assert (await pdp.ask(path, CALLS[path], key=made.key)).status == 200
    clock.advance(1)
    await refused(pdp, path, made.key, "expired")


@each_call
async def test_R20_a_revoked_key_is_401_at_the_next_question(pdp: Pdp, town: AccountsFixture, path: str) -> None:
    made = await town.made(name="nginx")
    assert (await pdp.ask(path, CALLS[path], key=made.key)).status == 200
    await revoke(town.peps, AlwaysThere(), town.acme, "nginx", actor=OPERATOR)
    await refused(pdp, path, made.key, "revoked")


async def test_R20_the_key_of_a_suspended_account_is_401(pdp: Pdp, town: AccountsFixture) -> None:
    await town.people.accounts.set_status(town.acme, Status.SUSPENDED, OPERATOR)
    await refused(pdp, EVALUATION, pdp.key, "suspended")
    await town.people.accounts.set_status(town.acme, Status.ACTIVE, OPERATOR)
    assert (await pdp.ask(EVALUATION, CALLS[EVALUATION])).status == 200
    await town.people.accounts.delete(town.acme, OPERATOR)
    await refused(pdp, EVALUATION, pdp.key, "revoked")


@pytest.mark.parametrize(
    "altered",
    [
        lambda key: key[:-1] + ("a" if key[-1] != "a" else "b"),
        lambda key: key[:4] + "a" * 12 + key[16:],
        lambda key: key[:17] + "a" * 12 + key[29:],
    ],
    ids=["secret", "account", "id"],
)
async def test_R20_a_key_is_all_of_its_word(pdp: Pdp, altered: Any) -> None:
    assert (await pdp.ask(EVALUATION, CALLS[EVALUATION])).status == 200
    await refused(pdp, EVALUATION, altered(pdp.key), "revoked")
    assert (await pdp.ask(EVALUATION, CALLS[EVALUATION])).status == 200


@pytest.mark.parametrize("word", ["x", "pep_", "PEP_" + "a" * 57, "pep_a_b_c", "pep_" + "a" * 12, "inv"])
async def test_R20_what_is_no_key_is_401(pdp: Pdp, town: AccountsFixture, word: str) -> None:
    await refused(pdp, EVALUATION, word, "malformed_token")
    for kind in (SecretKind.INVITATION, SecretKind.RESET):
        secret = new_secret(kind, town.users["ada"].id, b"x" * 20).text
        await refused(pdp, EVALUATION, secret, "malformed_token")
        await refused(pdp, EVALUATION, "pep" + secret[3:], "revoked")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic {key}", "{key}", "pep {key}", "Bearer, {key}"])
async def test_R20_another_scheme_is_no_key(pdp: Pdp, header: str) -> None:
    headers = {"Authorization": header.format(key=pdp.key), "Content-Type": "application/json"}
    answer = await pdp.ask(EVALUATION, CALLS[EVALUATION], bare=True, headers=headers)
    assert (answer.status, answer.headers["X-Auth-Reason"]) == (401, "missing_token")


async def test_R20_two_authorization_headers_are_400(pdp: Pdp) -> None:
    headers = [("Authorization", f"Bearer {pdp.key}"), ("Authorization", "Bearer x"),
               ("Content-Type", "application/json")]  # fmt: skip
    async with pdp.client.post(EVALUATION, json=CALLS[EVALUATION], headers=headers) as response:
        assert response.status == 400


@each_call
async def test_R20_a_key_over_its_rate_is_429_until_the_next_second(
    pdp: Pdp, town: AccountsFixture, path: str, clock: Any
) -> None:
    key = await town.key(rate=3)
    assert [(await pdp.ask(path, CALLS[path], key=key)).status for _ in range(5)] == [200, 200, 200, 429, 429]
    answer = await pdp.ask(path, CALLS[path], key=key)
    assert int(answer.headers["Retry-After"]) >= 1
    assert isinstance(answer.body, str)
    assert (await pdp.ask(path, CALLS[path])).status == 200, "another key has a rate of its own"
    clock.advance(1)
    assert (await pdp.ask(path, CALLS[path], key=key)).status == 200


async def test_R20_a_batch_counts_its_questions(pdp: Pdp, town: AccountsFixture, clock: Any) -> None:
    key = await town.key(rate=10)
    items = [CALLS[EVALUATION]] * 100
    assert (await pdp.ask("/access/v1/evaluations", {"evaluations": items}, key=key)).status == 200
    assert (await pdp.ask(EVALUATION, CALLS[EVALUATION], key=key)).status == 429
    clock.advance(8)
    assert (await pdp.ask(EVALUATION, CALLS[EVALUATION], key=key)).status == 429
    clock.advance(2)
    assert (await pdp.ask(EVALUATION, CALLS[EVALUATION], key=key)).status == 200


async def test_R20_a_flood_of_forged_keys_has_bounded_store_reads(
    pdp: Pdp, town: AccountsFixture, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await pdp.ask(EVALUATION, CALLS[EVALUATION])).status == 200
    keys = pdp.app.pep_keys
    reads = 0
    read = keys._copies.read

    async def counted(pep: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(pep)

    monkeypatch.setattr(keys._copies, "read", counted)
    made_up = [new_secret(SecretKind.PEP, town.users["ada"].id, n.to_bytes(20, "big")).text for n in range(300)]
    reasons = [getattr(await keys.admit(key, Scope.EVALUATE), "reason", None) for key in made_up]
    assert reads == UNPROVEN_A_SECOND
    assert reasons[-1] == "overloaded"
    honest = await town.key()
    assert (await pdp.ask(EVALUATION, CALLS[EVALUATION], key=honest)).status == 200, "a new key, not cached yet"
    answer = await pdp.ask(EVALUATION, CALLS[EVALUATION], key=made_up[-1])
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert (await pdp.ask(EVALUATION, CALLS[EVALUATION])).status == 200, "a key that was verified before is accepted"


async def test_R20_a_revoked_local_key_has_bounded_store_reads(
    pdp: Pdp, town: AccountsFixture, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await town.made()
    keys = pdp.app.pep_keys
    reads = 0

    async def none(_pep: Any) -> None:
        nonlocal reads
        reads += 1

    monkeypatch.setattr(keys._copies, "read", none)
    monkeypatch.setattr(keys._copies, "peek", lambda _: None)
    reasons = [(await keys.admit(made.key, Scope.EVALUATE)).reason.value for _ in range(UNPROVEN_A_SECOND + 50)]
    assert (reads, reasons[0], reasons[-1]) == (UNPROVEN_A_SECOND, "revoked", "overloaded")
    assert (await keys.admit((await town.made()).key, Scope.EVALUATE)).reason.value == "revoked", "another key's budget"
    clock.advance(1)
    assert (await keys.admit(made.key, Scope.EVALUATE)).reason.value == "revoked"


async def test_R20_made_up_secrets_of_a_key_that_is_known_cost_no_read(
    pdp: Pdp, town: AccountsFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await town.made()
    keys = pdp.app.pep_keys
    known = {made.pep.id: made.pep}
    monkeypatch.setattr(keys._copies, "peek", known.get)

    async def never(_pep: Any) -> None:
        raise AssertionError("the store was asked")

    monkeypatch.setattr(keys._copies, "read", never)
    for n in range(2 * UNPROVEN_A_SECOND):
        guess = made.key[:-4] + "".join("abcdefghijklmnopqrstuvwxyz234567"[n >> shift & 31] for shift in (15, 10, 5, 0))
        assert (await keys.admit(guess, Scope.EVALUATE)).reason.value == "revoked"


async def test_R20_the_store_holds_no_key(pdp: Pdp, town: AccountsFixture) -> None:
    assert (await pdp.ask(EVALUATION, CALLS[EVALUATION])).status == 200
    secret = pdp.key.rpartition("_")[2]
    for name in await town.store.command("KEYS", "*"):
        kind = await town.store.command("TYPE", name)
        read = {"hash": ("HGETALL", name), "string": ("GET", name), "set": ("SMEMBERS", name),
                "zset": ("ZRANGE", name, "0", "-1"), "stream": ("XRANGE", name, "-", "+")}[kind]  # fmt: skip
        assert secret not in repr(await town.store.command(*read)), name


async def test_R20_no_answer_and_no_repr_holds_a_key(pdp: Pdp, town: AccountsFixture) -> None:
    made = await town.made()
    secret = made.key.rpartition("_")[2]
    assert secret not in repr(made)
    assert made.pep.digest not in repr(made)
    presented = pdp.app.pep_keys._read(made.key)
    assert presented.digest not in repr(presented)


async def test_R20_when_the_store_is_out_a_key_is_neither_good_nor_bad(
    pdp: Pdp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def out(_pep: Any) -> Any:
        raise StoreUnavailableError("out")

    monkeypatch.setattr(pdp.app.pep_keys._copies, "read", out)
    assert (await pdp.ask(EVALUATION, CALLS[EVALUATION])).status == 503
