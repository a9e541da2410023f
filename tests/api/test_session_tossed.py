"""R5: cookies that a page of a sibling domain has set. It can set the refresh cookie, also a second one, but no access
cookie (``__Host-``). Its cookies renew no session and keep no user signed in.
"""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.domain.decision import Reason
from sidecar.tokens.claims import Claims
from sidecar.tokens.keyset import FormerKey, KeySet, access_token
from tests.fixtures import OTHER_PASSWORD, PASSWORD, PUBLIC

ACCESS, REFRESH = "__Host-sidecar", "__Secure-sidecar-refresh"
OURS = {"Origin": PUBLIC}
OLD = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
NEW = Ed25519PrivateKey.from_private_bytes(b"n" * 32)


@pytest.fixture
async def web(open_web, town):
    admin = await town.found()
    await town.join(admin, "mallory@example.com", "marketer")
    return await open_web()


async def cookies(web, email="ada@example.com"):
    """Return a browser's cookies after a sign-in: name to value."""
    body = {"username": email, "password": PASSWORD}
    answer = await web.ask("POST", "/v1/session", body, headers={**OURS, "Content-Type": "application/json"})
    assert answer.status == 204
    return set_by(answer)


def set_by(answer):
    lines = answer.headers.getall("Set-Cookie", [])
    return {name: value for name, _, value in (line.partition(";")[0].partition("=") for line in lines)}


async def renew(web, *pairs):
    return await web.ask("POST", "/v1/session/refresh", headers={**OURS, "Cookie": "; ".join(pairs)})


async def sign_out(web, *pairs):
    return await web.ask("DELETE", "/v1/session", headers={**OURS, "Cookie": "; ".join(pairs)})


async def lives(web, cookie):
    return (await web.ask("GET", "/v1/me", headers={"Cookie": f"{ACCESS}={cookie}"})).status == 200


def pair(name, jar):
    return f"{name}={jar[name]}"


async def test_R5_a_refresh_cookie_alone_renews_nothing(web):
    mallory = await cookies(web, "mallory@example.com")
    answer = await renew(web, pair(REFRESH, mallory))
    assert (answer.status, answer.body["reason"], set_by(answer)) == (401, "missing_token", {})


@pytest.mark.parametrize("age", [0, 3600, 29 * 86400])
async def test_R5_a_foreign_refresh_cookie_renews_nothing(web, clock, age):
    ada, mallory = await cookies(web), await cookies(web, "mallory@example.com")
    clock.advance(age)
    answer = await renew(web, pair(REFRESH, mallory), pair(ACCESS, ada))
    assert (answer.status, answer.body["reason"], set_by(answer)) == (401, "session_ended", {})


async def test_R5_a_refresh_cookie_of_another_session_does_not_fit(web):
    ada, elsewhere = await cookies(web), await cookies(web)
    answer = await renew(web, pair(REFRESH, elsewhere), pair(ACCESS, ada))
    assert (answer.status, set_by(answer)) == (401, {})


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("tossed", ["mallory", "garbage", ""])
async def test_R5_of_several_refresh_cookies_the_one_that_fits_counts(web, order, tossed):
    ada, mallory = await cookies(web), await cookies(web, "mallory@example.com")
    tossed = mallory[REFRESH] if tossed == "mallory" else tossed
    both = (pair(REFRESH, ada), f"{REFRESH}={tossed}")
    answer = await renew(web, *(both[index] for index in order), pair(ACCESS, ada))
    assert answer.status == 204
    me = await web.ask("GET", "/v1/me", headers={"Cookie": pair(ACCESS, set_by(answer))})
    assert me.body["email"] == "ada@example.com"


async def test_R5_an_older_refresh_cookie_beside_the_new_ends_nothing(web):
    first = await cookies(web)
    second = set_by(await renew(web, pair(REFRESH, first), pair(ACCESS, first)))
    third = set_by(await renew(web, pair(REFRESH, second), pair(ACCESS, second)))
    for order in ((first, third), (third, first)):
        answer = await renew(web, *(pair(REFRESH, jar) for jar in order), pair(ACCESS, third))
        assert answer.status == 204
        third = set_by(answer)
    assert await lives(web, third[ACCESS])


async def test_R5_an_expired_access_cookie_only_renews_its_session(web, clock):
    ada = await cookies(web)
    clock.advance(29 * 86400)
    me = await web.ask("GET", "/v1/me", headers={"Cookie": pair(ACCESS, ada)})
    assert (me.status, me.body["reason"]) == (401, "expired")
    answer = await renew(web, pair(REFRESH, ada), pair(ACCESS, ada))
    assert answer.status == 204
    assert await lives(web, set_by(answer)[ACCESS])


FOREIGN = {
    "another key": {"keys": KeySet.of(NEW)},
    "another issuer": {"issuer": "https://other.example"},
    "another audience": {"audience": "other"},
    "from the future": {"issued_at": 10_000_000_000, "expires_at": 10_000_000_900},
    "another session": {"session": "ses_" + "a" * 26},
}


@pytest.mark.parametrize("fault", FOREIGN)
async def test_R5_a_forged_access_cookie_renews_nothing(web, issuer, fault):
    ada = await cookies(web)
    claims = web_claims(issuer, ada)
    changed = {"keys": issuer.keys, **claims, **FOREIGN[fault]}
    forged = access_token(changed.pop("keys"), Claims(**changed))
    answer = await renew(web, pair(REFRESH, ada), f"{ACCESS}={forged}")
    assert (answer.status, set_by(answer)) == (401, {})
    assert (await renew(web, pair(REFRESH, ada), pair(ACCESS, ada))).status == 204, "and ends no session"


def web_claims(issuer, jar):
    refresh = issuer.read(jar[REFRESH])
    return {
        "issuer": PUBLIC,
        "audience": "dashboard",
        "user": refresh.user,
        "account": "acc_" + refresh.user[4:16],
        "session": refresh.session,
        "jti": "j",
        "issued_at": 1_700_000_000,
        "expires_at": 1_700_000_900,
        "epoch": 1,
    }


@pytest.mark.parametrize(
    ("former", "status"),
    [("none", 401), ("kept", 204), ("over", 401)],
)
async def test_R5_a_retired_key_only_renews_for_90_days(open_web, town, issuer, clock, former, status):
    await town.found()
    web = await open_web()
    ada = await cookies(web)
    until = int(clock.time()) + (1 if former == "kept" else 0)
    kept = {} if former == "none" else {issuer.keys.kid: FormerKey(OLD.public_key(), until)}
    issuer.keys = KeySet.of(NEW, former=kept)
    web = await open_web()  # another key set is active
    me = await web.ask("GET", "/v1/me", headers={"Cookie": pair(ACCESS, ada)})
    assert (me.status, me.body["reason"]) == (401, Reason.UNKNOWN_KEY.value)
    bearer = await web.ask("DELETE", "/v1/session", token=ada[ACCESS])
    assert bearer.status == 401
    answer = await renew(web, pair(REFRESH, ada), pair(ACCESS, ada))
    assert answer.status == status
    assert bool(set_by(answer)) == (status == 204)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_R5_sign_out_with_doubled_cookies_ends_their_sessions(web, town, order):
    ada, mallory = await cookies(web), await cookies(web, "mallory@example.com")
    town.fleet.waited.clear()
    both = (pair(REFRESH, ada), pair(REFRESH, mallory))
    out = await sign_out(web, *(both[index] for index in order), pair(ACCESS, ada))
    assert (out.status, set_by(out)) == (204, {ACCESS: "", REFRESH: ""})
    assert len(town.fleet.waited) == 2, "revoked everywhere when the response arrives"
    assert not await lives(web, ada[ACCESS])
    assert not await lives(web, mallory[ACCESS])


async def test_R5_sign_out_ends_the_session_of_the_access_cookie_too(web):
    """The refresh cookie of the request is another user's: the real one was evicted from the browser."""
    ada, mallory = await cookies(web), await cookies(web, "mallory@example.com")
    assert (await sign_out(web, pair(REFRESH, mallory), pair(ACCESS, ada))).status == 204
    assert not await lives(web, ada[ACCESS])


async def test_R5_sign_out_ends_the_session_of_an_expired_cookie(web, clock):
    ada = await cookies(web)
    clock.advance(3600)
    assert (await sign_out(web, pair(ACCESS, ada))).status == 204
    answer = await renew(web, pair(REFRESH, ada), pair(ACCESS, ada))
    assert (answer.status, answer.body["reason"]) == (401, "session_ended")


async def test_R5_signing_out_of_two_sessions_of_one_user_ends_both(web):
    here, there = await cookies(web), await cookies(web)
    assert (await sign_out(web, pair(ACCESS, here), pair(REFRESH, there))).status == 204
    assert not await lives(web, here[ACCESS])
    assert not await lives(web, there[ACCESS])


@pytest.mark.parametrize(
    "pairs",
    [
        [f"{ACCESS}=a", f"{ACCESS}=b"],
        [f"{ACCESS}=a", f"{ACCESS}=a", f"{REFRESH}=b", f"{REFRESH}=b"],
        [f"{REFRESH}=", f"{REFRESH}=x", f"{ACCESS}="],
        [f"{REFRESH}=x"] * 200,
    ],
)
async def test_R5_sign_out_with_doubled_cookies_always_clears(web, pairs):
    ada = await cookies(web)
    out = await sign_out(web, *pairs, pair(ACCESS, ada), pair(REFRESH, ada))
    assert (out.status, set_by(out)) == (204, {ACCESS: "", REFRESH: ""})
    assert not await lives(web, ada[ACCESS])


@pytest.mark.parametrize("method", ["POST /v1/session/refresh", "DELETE /v1/session"])
@pytest.mark.parametrize("site", [{}, {"Origin": "https://evil.sidecar.example"}, {"Sec-Fetch-Site": "same-site"}])
async def test_R5_a_sibling_page_can_neither_renew_nor_sign_out(web, method, site):
    ada = await cookies(web)
    verb, _, path = method.partition(" ")
    for jar in (
        (pair(REFRESH, ada), pair(REFRESH, ada), pair(ACCESS, ada)),
        (pair(ACCESS, ada),),
    ):
        answer = await web.ask(verb, path, headers={"Cookie": "; ".join(jar), **site})
        assert (answer.status, set_by(answer)) == (403, {})
    assert await lives(web, ada[ACCESS])


async def test_R5_a_password_change_sets_the_cookies_lifetime(web):
    ada = await cookies(web)
    body = {"old_password": PASSWORD, "new_password": OTHER_PASSWORD}
    done = await web.ask("POST", "/v1/me/password", body, headers={**OURS, "Cookie": pair(ACCESS, ada)})
    lines = done.headers.getall("Set-Cookie")
    assert len(lines) == 2
    assert all("Max-Age=2592000;" in line for line in lines)
