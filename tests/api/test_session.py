"""Browser sessions: cookies and their attributes, requests of another site's page, no token in any body."""

import json
from http.cookies import SimpleCookie

import pytest

from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Hashing, Overloaded
from sidecar.store.connection import StoreUnavailableError
from tests.fixtures import OTHER_PASSWORD, PASSWORD, PUBLIC

LOOPBACK = "http://127.0.0.1:9181"
JSON = ("Content-Type", "application/json")
OURS = ("Origin", PUBLIC)
EVIL = ("Origin", "https://evil.example")
LOGIN = {"username": "ada@example.com", "password": PASSWORD}
ACCESS, REFRESH = "__Host-sidecar", "__Secure-sidecar-refresh"


@pytest.fixture
async def web(open_web, town):
    await town.found()
    return await open_web()


def cookies_of(answer):
    """Return name → (value, attributes) of all Set-Cookie lines. A repeated name is an error."""
    found = {}
    for line in answer.headers.getall("Set-Cookie", []):
        pair, *attributes = line.split("; ")
        name, _, value = pair.partition("=")
        assert name not in found
        found[name] = (value, attributes)
    return found


def jar(answer):
    """Return the cookies that a browser would send to /v1/session."""
    return "; ".join(f"{name}={value}" for name, (value, _) in cookies_of(answer).items())


async def sign_in(web, body=LOGIN, headers=(OURS, JSON)):
    return await web.ask("POST", "/v1/session", body, headers=headers)


async def test_R5_sign_in_sets_two_cookies_and_shows_no_token(web):
    answer = await sign_in(web)
    assert (answer.status, answer.raw) == (204, b"")
    assert answer.headers["Cache-Control"] == "no-store"
    found = cookies_of(answer)
    assert found[ACCESS][1] == ["Path=/", "Max-Age=2592000", "HttpOnly", "Secure", "SameSite=Lax"]
    assert found[REFRESH][1] == ["Path=/v1/session", "Max-Age=2592000", "HttpOnly", "Secure", "SameSite=Strict"]
    assert set(found) == {ACCESS, REFRESH}
    me = await web.ask("GET", "/v1/me", headers={"Cookie": f"{ACCESS}={found[ACCESS][0]}"})
    assert (me.status, me.body["email"]) == (200, "ada@example.com")


async def test_the_cookies_are_such_as_a_parser_reads_them(web):
    for line in (await sign_in(web)).headers.getall("Set-Cookie"):
        ((_, morsel),) = SimpleCookie(line).items()
        assert morsel["domain"] == ""
        assert morsel["httponly"] is True
        assert morsel["secure"] is True


async def test_R4_cookies_on_plain_http_have_no_prefix_and_no_secure(open_web, town):
    await town.found()
    web = await open_web(LOOPBACK)
    answer = await sign_in(web, headers=(("Origin", LOOPBACK), JSON))
    found = cookies_of(answer)
    assert found["sidecar"][1] == ["Path=/", "Max-Age=2592000", "HttpOnly", "SameSite=Lax"]
    assert found["sidecar-refresh"][1] == ["Path=/v1/session", "Max-Age=2592000", "HttpOnly", "SameSite=Strict"]
    renewed = await web.ask("POST", "/v1/session/refresh", headers={"Cookie": jar(answer), "Origin": LOOPBACK})
    assert renewed.status == 204
    prefixed = f"__Host-sidecar={found['sidecar'][0]}"
    assert (await web.ask("GET", "/v1/me", headers={"Cookie": prefixed})).status == 401


@pytest.mark.parametrize(
    "origins",
    [
        [],
        ["https://evil.example"],
        ["null"],
        ["https://sidecar.example.evil.example"],
        ["http://sidecar.example"],
        ["https://sidecar.example:443"],
        ["https://sidecar.example/"],
        ["HTTPS://SIDECAR.EXAMPLE"],
        [PUBLIC, PUBLIC],
        [PUBLIC, "https://evil.example"],
        [f"{PUBLIC}, https://evil.example"],
    ],
)
async def test_R5_sign_in_needs_the_origin_of_the_public_url(web, town, origins):
    headers = [JSON, ("Sec-Fetch-Site", "same-origin"), *(("Origin", origin) for origin in origins)]
    answer = await sign_in(web, headers=headers)
    assert (answer.status, answer.body["code"]) == (403, "cross_site")
    assert cookies_of(answer) == {}
    assert town.limits.failures == []


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx", ""]
)
async def test_R5_sign_in_takes_json_alone(web, content_type):
    headers = [OURS, ("Content-Type", content_type)]
    answer = await sign_in(web, headers=headers)
    assert (answer.status, answer.body["code"]) == (400, "bad_request")
    assert cookies_of(answer) == {}


async def test_sign_in_takes_json_with_a_charset(web):
    headers = [OURS, ("Content-Type", "Application/JSON; charset=utf-8")]
    assert (await sign_in(web, headers=headers)).status == 204


async def test_what_is_wrong_with_a_sign_in_has_a_code(web, town, monkeypatch):
    wrong = await sign_in(web, {**LOGIN, "password": "wrong-otter-marble-41"})
    unknown = await sign_in(web, {**LOGIN, "username": "nobody@example.com"})
    for answer in (wrong, unknown):
        assert (answer.status, answer.body["code"]) == (401, "invalid_credentials")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sidecar"'
    assert wrong.body == unknown.body
    for body in (
        {},
        {"username": "ada@example.com"},
        {**LOGIN, "grant_type": "password"},
        {**LOGIN, "password": 1},
        [],
    ):
        assert (await sign_in(web, body)).status == 400

    bolt = await town.found("Bolt")
    several = await sign_in(web)
    assert (several.status, several.body["code"]) == (400, "account_required")
    acme, shown = several.body["accounts"]
    assert (acme["name"], shown) == ("Acme", {"id": bolt.account, "name": "Bolt"})
    assert cookies_of(several) == {}
    assert "accounts" not in (await sign_in(web, {**LOGIN, "password": "wrong-otter-marble-41"})).body
    for one in several.body["accounts"]:
        assert (await sign_in(web, {**LOGIN, "account": one["id"]})).status == 204
    assert (await sign_in(web, {**LOGIN, "account": "Bolt"})).status == 204
    assert (await sign_in(web, {**LOGIN, "account": ""})).body["code"] == "account_required"
    for name in ("Cask", "Dune", "Eave"):
        await town.found(name)
    many = await sign_in(web)
    assert (many.status, many.body["code"]) == (400, "account_required")
    assert "accounts" not in many.body

    town.limits.refuse = Limited(17)
    limited = await sign_in(web)
    assert (limited.status, limited.body["code"], limited.headers["Retry-After"]) == (429, "rate_limited", "17")
    town.limits.refuse = None

    async def full(self, lane, *arguments):
        return Overloaded(3)

    monkeypatch.setattr(Hashing, "compare", full)
    overloaded = await sign_in(web)
    assert (overloaded.status, overloaded.body["code"], overloaded.headers["Retry-After"]) == (503, "overloaded", "3")


async def test_R14_refresh_renews_both_cookies_a_retry_gets_the_same(web):
    first = await sign_in(web)
    headers = {"Cookie": jar(first), "Origin": PUBLIC}
    second = await web.ask("POST", "/v1/session/refresh", headers=headers)
    assert (second.status, second.raw) == (204, b"")
    assert cookies_of(second)[REFRESH][1] == cookies_of(first)[REFRESH][1]
    assert cookies_of(second)[REFRESH][0] != cookies_of(first)[REFRESH][0]
    retry = await web.ask("POST", "/v1/session/refresh", headers=headers)
    assert cookies_of(retry)[REFRESH][0] == cookies_of(second)[REFRESH][0]
    me = await web.ask("GET", "/v1/me", headers={"Cookie": jar(second)})
    assert me.status == 200


async def test_R14_an_older_refresh_cookie_ends_the_session(web):
    first = await sign_in(web)
    second = await web.ask("POST", "/v1/session/refresh", headers={"Cookie": jar(first), "Origin": PUBLIC})
    third = await web.ask("POST", "/v1/session/refresh", headers={"Cookie": jar(second), "Origin": PUBLIC})
    reused = await web.ask("POST", "/v1/session/refresh", headers={"Cookie": jar(first), "Origin": PUBLIC})
    assert (reused.status, reused.body["reason"]) == (401, "session_ended")
    assert cookies_of(reused) == {}
    out = await web.ask("GET", "/v1/me", headers={"Cookie": jar(third)})
    assert (out.status, out.body["reason"]) == (401, "session_ended")


@pytest.mark.parametrize("path", ["POST /v1/session/refresh", "DELETE /v1/session"])
@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
async def test_R5_refresh_and_sign_out_come_from_our_own_pages(web, path, extra):
    method, _, where = path.partition(" ")
    signed_in = await sign_in(web)
    answer = await web.ask(method, where, headers={"Cookie": jar(signed_in), **extra})
    assert (answer.status, answer.body["code"]) == (403, "cross_site")
    assert cookies_of(answer) == {}
    assert (await web.ask("GET", "/v1/me", headers={"Cookie": jar(signed_in)})).status == 200
    ours = await web.ask(method, where, headers={"Cookie": jar(signed_in), "Sec-Fetch-Site": "same-origin"})
    assert ours.status == 204


@pytest.mark.parametrize(
    ("cookie", "status", "reason"),
    [
        ("", 401, "missing_token"),
        (f"{REFRESH}=", 401, "missing_token"),
        (f"{REFRESH}=garbage", 401, "missing_token"),
        (f"{ACCESS}=garbage", 401, "missing_token"),
        (f"{ACCESS}=garbage; {REFRESH}=garbage", 401, "malformed_token"),
        ("sidecar-refresh=garbage", 401, "missing_token"),
        (f"\u00a0{REFRESH}=garbage", 401, "missing_token"),
        (f"{ACCESS}=a; {ACCESS}=a; {REFRESH}=b", 403, "bad_request"),
    ],
)
async def test_R4_the_refresh_cookie_is_read_like_the_access_cookie(web, cookie, status, reason):
    answer = await web.ask("POST", "/v1/session/refresh", headers={"Cookie": cookie, "Origin": PUBLIC})
    assert (answer.status, answer.body["reason"]) == (status, reason)
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


async def test_R4_beside_an_authorization_header_no_cookie_is_read(web, town):
    signed_in = await sign_in(web)
    headers = {"Cookie": jar(signed_in), "Origin": PUBLIC, "Authorization": "Basic eDp5"}
    renewed = await web.ask("POST", "/v1/session/refresh", headers=headers)
    assert (renewed.status, renewed.body["reason"]) == (401, "missing_token")
    out = await web.ask("DELETE", "/v1/session", headers=headers)
    assert out.status == 204  # no credential: no session is ended
    assert (await web.ask("GET", "/v1/me", headers={"Cookie": jar(signed_in)})).status == 200


async def test_an_access_token_is_no_refresh_cookie(web):
    value = cookies_of(await sign_in(web))[ACCESS][0]
    headers = {"Cookie": f"{REFRESH}={value}", "Origin": PUBLIC}
    assert (await web.ask("POST", "/v1/session/refresh", headers=headers)).status == 401


@pytest.mark.parametrize("kept", [(ACCESS, REFRESH), (REFRESH,), (ACCESS,)])
async def test_sign_out_ends_the_session_and_clears_both_cookies(web, town, kept):
    signed_in = await sign_in(web)
    found = cookies_of(signed_in)
    cookie = "; ".join(f"{name}={found[name][0]}" for name in kept)
    town.fleet.waited.clear()
    out = await web.ask("DELETE", "/v1/session", headers={"Cookie": cookie, "Origin": PUBLIC})
    assert (out.status, out.raw) == (204, b"")
    assert town.fleet.waited, "revoked everywhere when the response arrives"
    cleared = cookies_of(out)
    assert set(cleared) == {ACCESS, REFRESH}
    assert all(value == "" and "Max-Age=0" in attributes for value, attributes in cleared.values())
    for name in (ACCESS, REFRESH):
        assert set(cleared[name][1]) - {"Max-Age=0"} < set(found[name][1])
    dead = await web.ask("GET", "/v1/me", headers={"Cookie": jar(signed_in)})
    assert (dead.status, dead.body["reason"]) == (401, "session_ended")


@pytest.mark.parametrize("cookie", ["", f"{ACCESS}=garbage", f"{REFRESH}=garbage", f"{ACCESS}=x; {REFRESH}=y"])
async def test_sign_out_of_nothing_clears_the_cookies_all_the_same(web, cookie):
    out = await web.ask("DELETE", "/v1/session", headers={"Cookie": cookie, "Origin": PUBLIC})
    assert out.status == 204
    assert set(cookies_of(out)) == {ACCESS, REFRESH}


async def test_sign_out_with_an_expired_access_token_uses_the_other(web, clock):
    signed_in = await sign_in(web)
    clock.advance(3600)
    headers = {"Cookie": jar(signed_in), "Origin": PUBLIC}
    assert (await web.ask("DELETE", "/v1/session", headers=headers)).status == 204
    renewed = await web.ask("POST", "/v1/session/refresh", headers=headers)
    assert (renewed.status, renewed.body["reason"]) == (401, "session_ended")


async def test_sign_out_by_bearer_token_ends_its_session_or_is_401(web, town):
    grant = await town.grant("ada@example.com")
    assert (await web.ask("DELETE", "/v1/session", token=grant.access_token)).status == 204
    again = await web.ask("DELETE", "/v1/session", token=grant.access_token)
    assert (again.status, again.body["reason"]) == (401, "session_ended")


async def test_a_store_that_is_out_keeps_the_cookies(web, town, monkeypatch):
    signed_in = await sign_in(web)

    async def out(*_, **__):
        raise StoreUnavailableError("out")

    monkeypatch.setattr(type(town.people.sessions), "end", out)
    monkeypatch.setattr(type(town.people.sessions), "rotate", out)
    for method, path in (("DELETE", "/v1/session"), ("POST", "/v1/session/refresh")):
        answer = await web.ask(method, path, headers={"Cookie": jar(signed_in), "Origin": PUBLIC})
        assert (answer.status, answer.body["code"]) == (503, "store_unavailable")
        assert cookies_of(answer) == {}


async def test_R5_a_browsers_password_change_answers_in_cookies(web):
    signed_in = await sign_in(web)
    body = {"old_password": PASSWORD, "new_password": OTHER_PASSWORD}
    headers = {"Cookie": jar(signed_in), "Origin": PUBLIC}
    done = await web.ask("POST", "/v1/me/password", body, headers=headers)
    assert done.status == 200
    assert set(done.body) == {"message", "expires_in", "revocation"}
    assert set(cookies_of(done)) == {ACCESS, REFRESH}
    for value, _ in cookies_of(done).values():
        assert value not in json.dumps(done.body)
    assert (await web.ask("GET", "/v1/me", headers={"Cookie": jar(done)})).status == 200
    assert (await web.ask("GET", "/v1/me", headers={"Cookie": jar(signed_in)})).body["reason"] == "revoked"


async def test_R5_who_brings_a_header_gets_tokens_and_no_cookie(web, town):
    token = await web.token("ada@example.com")
    body = {"old_password": PASSWORD, "new_password": OTHER_PASSWORD}
    done = await web.ask("POST", "/v1/me/password", body, token=token)
    assert {"access_token", "refresh_token", "token_type"} <= set(done.body)
    assert cookies_of(done) == {}


CALLS = [
    ("GET", "/v1/me", None),
    ("GET", "/v1/me/permissions", None),
    ("GET", "/v1/me/sessions", None),
    ("GET", "/v1/account", None),
    ("GET", "/v1/users", None),
    ("GET", "/v1/roles", None),
    ("POST", "/v1/check", {"section": "billing", "action": "view"}),
    ("POST", "/v1/users", {"email": "bob@example.com", "role": "marketer"}),
    ("POST", "/v1/me/password", {"old_password": "wrong-otter-marble-41", "new_password": OTHER_PASSWORD}),
    ("PATCH", "/v1/users/usr_nobody", {"role": "marketer"}),
    ("DELETE", "/v1/users/usr_nobody", None),
    ("DELETE", "/v1/me/sessions", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_R5_a_state_change_by_cookie_proves_its_origin(web, method, path, body):
    cookie = {"Cookie": jar(await sign_in(web))}
    for site in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await web.ask(method, path, body, headers={**cookie, **site})
        if method == "GET":
            assert answer.status == 200
        else:
            assert (answer.status, answer.body["reason"]) == (403, "cross_site")
    ours = await web.ask(method, path, body, headers={**cookie, "Origin": PUBLIC})
    assert ours.body is None or ours.body.get("reason") != "cross_site"


@pytest.mark.parametrize("path", ["/v1/me", "/v1/users"])
async def test_R5_an_upgrade_by_cookie_proves_where_it_is_from(web, path):
    cookie = {"Cookie": jar(await sign_in(web))}
    upgrade = {**cookie, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    assert (await web.ask("GET", path, headers=upgrade)).status == 403
    assert (await web.ask("GET", path, headers={**upgrade, "Origin": PUBLIC})).status == 200


async def test_R5_token_and_accept_never_set_a_cookie(web, town):
    admin = (await town.grant("ada@example.com")).record
    headers = {"Cookie": jar(await sign_in(web)), "Origin": PUBLIC, "Sec-Fetch-Site": "same-origin"}
    granted = await web.ask("POST", "/token", {"grant_type": "password", **LOGIN}, headers={**headers, **dict([JSON])})
    assert (granted.status, cookies_of(granted)) == (200, {})
    secret = (await town.invite(admin, "bob@example.com")).url.partition("#")[2]
    accepted = await web.ask("POST", "/v1/invitations/accept", {"token": secret, "password": PASSWORD}, headers=headers)
    assert (accepted.status, cookies_of(accepted)) == (201, {})


async def test_no_other_method_is_taken(web):
    for method, path in (("GET", "/v1/session"), ("OPTIONS", "/v1/session"), ("GET", "/v1/session/refresh")):
        answer = await web.ask(method, path, headers={"Origin": "https://evil.example"})
        assert answer.status == 405
        assert not any(name.lower().startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([EVIL], f"Origin {EVIL[1]} does not match SIDECAR_PUBLIC_URL, {PUBLIC}"),
        ([("Origin", "null")], f"Origin does not match SIDECAR_PUBLIC_URL, {PUBLIC}"),
        ([OURS, OURS], "Origin is repeated"),
        ([("Sec-Fetch-Site", "same-origin")], f"send exactly one Origin, {PUBLIC}"),
        ([], "Origin and Sec-Fetch-Site are missing: configure the gateway to pass both on"),
    ],
)
async def test_R5_cross_site_says_what_is_compared(web, headers, said):
    answer = await sign_in(web, headers=[JSON, *headers])
    assert (answer.status, answer.body["code"], answer.body["detail"]) == (403, "cross_site", said)
