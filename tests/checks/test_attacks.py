"""The attack list: one row per attempt against the API, by kind, and proof that it has no effect.

A row is a function that makes the attempt and asserts that nothing changed. All rows run against the whole API, with
the real guard, on the shipped policy. Forged tokens have their own list, against a real process:
tests/live/test_forged_tokens.py.
"""

import asyncio
import base64
import gzip
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.api.endpoints import API, CHECKS
from sidecar.api.openapi import factor_examples
from sidecar.domain.users import Actor, Status, UserRecord
from sidecar.http.endpoint import Endpoint
from sidecar.identity.invitations import Sent
from sidecar.identity.sessions import Grant
from tests.conftest import Clock
from tests.fixtures import OTHER_PASSWORD, PASSWORD, PUBLIC, ApiClient, IdentityFixture

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def clock() -> Clock:
    """The store's time is real, and calls of factors compare its proofs with this clock."""
    return Clock(time.time())


@dataclass
class Scene:
    """Two accounts. Acme: Ada administers, Bob is an accountant, Zoe is invited. Bolt: Eve administers, and attacks."""

    web: ApiClient
    town: IdentityFixture
    ada: UserRecord
    bob: UserRecord
    zoe: Sent
    eve: UserRecord
    grants: dict[str, Grant]

    def token(self, who: str) -> str:
        return self.grants[who].access_token

    async def ask(self, *words: Any, **more: Any) -> SimpleNamespace:
        return await self.web.ask(*words, **more)

    async def refresh(self, token: str) -> SimpleNamespace:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return await self.ask("POST", "/token", form, headers=JSON)

    async def sign_in(self, username: str, password: str = PASSWORD) -> SimpleNamespace:
        form = {"grant_type": "password", "username": username, "password": password}
        return await self.ask("POST", "/token", form, headers=JSON)

    async def accept(self, token: str, password: str = PASSWORD, **more: Any) -> SimpleNamespace:
        return await self.ask("POST", "/v1/invitations/accept", {"token": token, "password": password, **more})

    async def acme(self) -> list[Any]:
        """Return every user of Acme as stored, without the time of the last sign-in."""
        members = (await self.town.people.users.roster(self.ada.account)).members
        return [
            (one.record.id, one.record.role, one.record.status, one.record.name, one.record.epoch) for one in members
        ]

    @property
    def secret(self) -> str:
        """Return the secret behind the # of Zoe's link."""
        assert self.zoe.url is not None
        return self.zoe.url.partition("#")[2]


class Kind(StrEnum):
    """Kinds of attack, in the order of this module."""

    REFRESH = "refresh token"
    ACCESS = "access token"
    SESSION = "session"
    INVITATION = "invitation"
    ENUMERATION = "enumeration"
    HEADER = "header or path"
    SMUGGLING = "body"
    UNICODE = "Unicode"
    ACCOUNT = "other account"
    PRIVILEGE = "privilege"


Attack = Callable[[Scene], Awaitable[None]]
ATTACKS: dict[tuple[Kind, str], Attack] = {}
"""The table: kind and name of each attempt, and the function that makes it."""


def add(kind: Kind, name: str, attempt: Attack) -> None:
    assert (kind, name) not in ATTACKS
    ATTACKS[kind, name] = attempt


def attack(kind: Kind) -> Callable[[Attack], Attack]:
    """Add the decorated function as one row, under its name."""

    def added(function: Attack) -> Attack:
        add(kind, function.__name__.replace("_", " "), function)
        return function

    return added


def rows(kind: Kind, what: str, table: dict[str, Any], run: Callable[[Scene, Any], Awaitable[None]]) -> None:
    """Add one row per entry of ``table``."""
    for name, value in table.items():
        add(kind, f"{what}: {name}", partial(_run, run, value))


async def _run(run: Callable[[Scene, Any], Awaitable[None]], value: Any, scene: Scene) -> None:
    await run(scene, value)


@pytest.fixture
async def scene(open_web: Any, town: IdentityFixture) -> Scene:
    ada = await town.found("Acme", "ada@example.com", seats=9)
    bob = await town.join(ada, "bob@example.com", "accountant")
    zoe = await town.invite(ada, "zoe@example.com", "marketer")
    eve = await town.found("Bolt", "eve@example.net", seats=9)
    grants = {
        "ada": await town.grant("ada@example.com"),
        "bob": await town.grant("bob@example.com"),
        "eve": await town.grant("eve@example.net"),
    }
    return Scene(await open_web(), town, ada, bob, zoe, eve, grants)


# Refresh tokens -------------------------------------------------------------------------------------------------------


@attack(Kind.REFRESH)
async def refresh_replay_of_a_used_token_ends_the_thiefs_session_too(scene: Scene) -> None:
    stolen = scene.grants["bob"].refresh_token
    second = (await scene.refresh(stolen)).body
    third = (await scene.refresh(second["refresh_token"])).body
    assert (await scene.refresh(stolen)).body["error"] == "invalid_grant"
    assert (await scene.refresh(third["refresh_token"])).status == 400
    assert (await scene.ask("GET", "/v1/me", token=third["access_token"])).body["reason"] == "session_ended"


@attack(Kind.REFRESH)
async def refresh_of_one_token_a_hundred_times_at_once_gives_one_successor(scene: Scene) -> None:
    stolen = scene.grants["bob"].refresh_token
    answers = await asyncio.gather(*(scene.refresh(stolen) for _ in range(100)))
    assert len({answer.body["refresh_token"] for answer in answers}) == 1


@attack(Kind.REFRESH)
async def refresh_after_a_password_change(scene: Scene) -> None:
    body = {"old_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert (await scene.ask("POST", "/v1/me/password", body, token=scene.token("bob"))).status == 200
    assert (await scene.refresh(scene.grants["bob"].refresh_token)).body["error"] == "invalid_grant"


@attack(Kind.REFRESH)
async def refresh_after_a_suspension_and_after_a_removal(scene: Scene) -> None:
    path = f"/v1/users/{scene.bob.id}"
    assert (await scene.ask("PATCH", path, {"status": "suspended"}, token=scene.token("ada"))).status == 200
    assert (await scene.refresh(scene.grants["bob"].refresh_token)).body["error"] == "invalid_grant"
    assert (await scene.ask("PATCH", path, {"status": "active"}, token=scene.token("ada"))).status == 200
    assert (await scene.refresh(scene.grants["bob"].refresh_token)).body["error"] == "invalid_grant"
    assert (await scene.ask("DELETE", path, token=scene.token("ada"))).status == 204
    assert (await scene.refresh(scene.grants["bob"].refresh_token)).body["error"] == "invalid_grant"


@attack(Kind.REFRESH)
async def refresh_of_a_suspended_account(scene: Scene) -> None:
    await scene.town.people.accounts.set_status(scene.ada.account, Status.SUSPENDED, Actor.operator())
    assert (await scene.refresh(scene.grants["bob"].refresh_token)).status == 400
    assert (await scene.ask("GET", "/v1/me", token=scene.token("bob"))).status == 401


@attack(Kind.REFRESH)
async def refresh_with_a_counter_a_session_or_a_user_of_ones_own_choice(scene: Scene) -> None:
    kind, account, user, session, counter, proof = scene.grants["bob"].refresh_token.split("_")
    eve = scene.grants["eve"].refresh_token.split("_")
    for forged in (
        [kind, account, user, session, "1", proof],
        [kind, account, user, session, "00", proof],
        [kind, account, user, eve[3], counter, proof],
        [kind, eve[1], eve[2], session, counter, proof],
        [kind, account, scene.ada.id[-12:], session, counter, proof],
        [kind, account, user, session, counter, eve[5]],
        [kind, account, user, session, counter, "a" * 52],
        [kind, account, user, session, counter, proof.upper()],
        [kind, account, user, session, counter, proof + " "],
    ):
        assert (await scene.refresh("_".join(forged))).body["error"] == "invalid_grant", forged
    assert (await scene.refresh(scene.grants["bob"].refresh_token)).status == 200, "garbage ended a session"


@attack(Kind.REFRESH)
async def a_token_of_one_kind_where_another_belongs(scene: Scene) -> None:
    bob = scene.grants["bob"]
    assert (await scene.refresh(bob.access_token)).body["error"] == "invalid_grant"
    assert (await scene.refresh(scene.secret)).body["error"] == "invalid_grant"
    for wrong in (bob.refresh_token, scene.secret, "pep_" + scene.secret[4:]):
        assert (await scene.ask("GET", "/v1/me", token=wrong)).body["reason"] == "malformed_token"
    assert (await scene.accept(bob.refresh_token)).status == 410
    assert (await scene.ask("POST", "/v1/password/reset", {"token": scene.secret, "password": PASSWORD})).status == 410


# Access tokens --------------------------------------------------------------------------------------------------------


def _part(token: str, number: int) -> Any:
    text = token.split(".")[number]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def _b64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


FORGERIES: dict[str, Callable[[str, str, str], str]] = {
    "alg none": lambda h, p, s: f"{_b64({'alg': 'none', 'typ': 'at+jwt'})}.{p}.",
    "no signature": lambda h, p, s: f"{h}.{p}.",
    "a signature cut short": lambda h, p, s: f"{h}.{p}.{s[:-4]}",
    "four parts": lambda h, p, s: f"{h}.{p}.{s}.{s}",
    "two parts": lambda h, p, s: f"{h}.{p}",
    "empty parts": lambda h, p, s: "..",
    "padding added": lambda h, p, s: f"{h}.{p}.{s}==",
    "a space inside": lambda h, p, s: f"{h}. {p}.{s}",
    "a line break at the end": lambda h, p, s: f"{h}.{p}.{s}%0a",
    "another's payload": lambda h, p, s: f"{h}.{_b64({'sub': 'usr_x'})}.{s}",
    "a signature as long as a page": lambda h, p, s: f"{h}.{p}.{s}" + "A" * 6000,
}


async def _forged(scene: Scene, forge: Callable[[str, str, str], str]) -> None:
    answer = await scene.ask("GET", "/v1/me", token=forge(*scene.token("ada").split(".")))
    assert answer.status == 401
    assert answer.body["reason"] in {"malformed_token", "invalid_signature"}


rows(Kind.ACCESS, "a forged token", FORGERIES, _forged)


@attack(Kind.ACCESS)
async def the_payload_of_an_administrator_under_ones_own_signature(scene: Scene) -> None:
    header, _, signature = scene.token("bob").split(".")
    mixed = f"{header}.{scene.token('ada').split('.')[1]}.{signature}"
    assert (await scene.ask("GET", "/v1/users", token=mixed)).body["reason"] == "invalid_signature"


@attack(Kind.ACCESS)
async def a_token_says_nothing_that_could_be_worth_changing(scene: Scene) -> None:
    claims = _part(scene.token("ada"), 1)
    assert not {"role", "roles", "scope", "permissions", "email", "admin"} & set(claims)


# Sessions -------------------------------------------------------------------------------------------------------------


@attack(Kind.SESSION)
async def R15_sessions_without_end(scene: Scene) -> None:
    for _ in range(25):
        await scene.town.grant("bob@example.com")
    assert len((await scene.town.people.users.record(scene.bob.id)).sessions) == 20
    assert (await scene.ask("GET", "/v1/me", token=scene.token("bob"))).body["reason"] == "session_ended"


@attack(Kind.SESSION)
async def somebody_elses_session_by_its_id(scene: Scene) -> None:
    for who in ("ada", "eve"):
        answer = await scene.ask("DELETE", f"/v1/me/sessions/{scene.grants[who].session}", token=scene.token("bob"))
        assert answer.status == 404
        assert (await scene.ask("GET", "/v1/me", token=scene.token(who))).status == 200


@attack(Kind.SESSION)
async def the_right_password_of_somebody_who_is_out(scene: Scene) -> None:
    path = f"/v1/users/{scene.bob.id}"
    assert (await scene.ask("PATCH", path, {"status": "suspended"}, token=scene.token("ada"))).status == 200
    assert (await scene.sign_in("bob@example.com")).body["error"] == "invalid_grant"
    assert (await scene.ask("GET", "/v1/me", token=scene.token("bob"))).body["reason"] == "suspended"


@attack(Kind.SESSION)
async def somebody_elses_refresh_token_at_revoke_ends_only_its_own_session(scene: Scene) -> None:
    second = await scene.town.grant("bob@example.com")
    await scene.ask("POST", "/revoke", {"token": second.refresh_token}, headers=JSON)
    assert (await scene.ask("GET", "/v1/me", token=second.access_token)).status == 401
    assert (await scene.ask("GET", "/v1/me", token=scene.token("bob"))).status == 200


# Invitations ----------------------------------------------------------------------------------------------------------


@attack(Kind.INVITATION)
async def an_invitation_for_another_email(scene: Scene) -> None:
    for member in ("email", "username", "user", "id", "account", "role", "status", "email_verified"):
        answer = await scene.accept(scene.secret, **{member: "eve@example.net"})
        assert (answer.status, answer.body["code"]) == (400, "bad_request"), member
    joined = await scene.accept(scene.secret)
    assert joined.body["user"]["email"] == "zoe@example.com"
    assert joined.body["user"]["role"] == "marketer"


@attack(Kind.INVITATION)
async def an_invitation_turned_into_one_for_somebody_else(scene: Scene) -> None:
    kind, account, user, secret = scene.secret.split("_")
    for forged in (
        [kind, account, scene.bob.id[-12:], secret],
        [kind, account, scene.ada.id[-12:], secret],
        [kind, scene.eve.account[4:], user, secret],
        [kind, account, user, "a" * 32],
        ["rst", account, user, secret],
        ["pep", account, user, secret],
        [kind, account, user, secret.upper()],
        [kind, account, user, secret, "a" * 26],
    ):
        answer = await scene.accept("_".join(forged))
        assert (answer.status, answer.body["code"]) == (410, "invitation_gone"), forged


@attack(Kind.INVITATION)
async def an_invitation_twice(scene: Scene) -> None:
    answers = await asyncio.gather(*(scene.accept(scene.secret) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [201] + [410] * 9
    assert (await scene.accept(scene.secret, OTHER_PASSWORD)).status == 410
    assert (await scene.sign_in("zoe@example.com", OTHER_PASSWORD)).status == 400


@attack(Kind.INVITATION)
async def an_invitation_that_was_withdrawn_or_replaced(scene: Scene) -> None:
    user = scene.zoe.member.record.id
    assert (await scene.ask("POST", f"/v1/users/{user}/invitation", token=scene.token("ada"))).status == 200
    assert (await scene.accept(scene.secret)).status == 410
    fresh = await scene.ask("POST", f"/v1/users/{user}/invitation", token=scene.token("ada"))
    assert (await scene.ask("DELETE", f"/v1/users/{user}", token=scene.token("ada"))).status == 204
    assert (await scene.accept(fresh.body["invitation"]["url"].partition("#")[2])).status == 410


@attack(Kind.INVITATION)
async def an_invitation_to_a_suspended_account(scene: Scene) -> None:
    await scene.town.people.accounts.set_status(scene.ada.account, Status.SUSPENDED, Actor.operator())
    assert (await scene.accept(scene.secret)).status == 410


@attack(Kind.INVITATION)
async def a_link_whose_host_the_request_chooses(scene: Scene) -> None:
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    body = {"email": "new@example.com", "role": "marketer"}
    made = await scene.ask("POST", "/v1/users", body, token=scene.token("ada"), headers=headers)
    assert made.status >= 400 or made.body["invitation"]["url"].startswith(f"{PUBLIC}/")
    await scene.ask("POST", "/v1/password/forgot", {"email": "ada@example.com"}, headers=headers)
    await scene.town.outbox.close()
    assert not any("evil" in letter.text for letter in scene.town.mailed)


@attack(Kind.INVITATION)
async def the_email_of_a_link_that_was_only_shown_is_not_taken_for_proven(scene: Scene) -> None:
    joined = await scene.accept(scene.secret)
    headers = {"Authorization": f"Bearer {joined.body['access_token']}"}
    passed = await scene.ask("GET", "/check/sections/media-library", headers=headers)
    assert (passed.status, passed.headers["X-Auth-Email"]) == (200, "")


# User enumeration -----------------------------------------------------------------------------------------------------


def _seen(answer: SimpleNamespace) -> tuple[Any, ...]:
    """Return everything in which two responses could differ."""
    changing = {"Date", "X-Request-ID"}
    return answer.status, answer.raw, sorted((k, v) for k, v in answer.headers.items() if k not in changing)


@attack(Kind.ENUMERATION)
async def enumeration_at_token(scene: Scene) -> None:
    town = scene.town
    await town.join(scene.ada, "sue@example.com")
    sue = await town.people.users.find(scene.ada.account, "sue@example.com")
    await town.people.users.change(town.actor(scene.ada), sue, status=Status.SUSPENDED)
    wrong = _seen(await scene.sign_in("ada@example.com", OTHER_PASSWORD))
    for email in ("nobody@example.com", "zoe@example.com", "sue@example.com", "not an address", "x" * 300):
        assert _seen(await scene.sign_in(email)) == wrong, email


@attack(Kind.ENUMERATION)
async def enumeration_at_the_browsers_door(scene: Scene) -> None:
    async def tried(email: str) -> tuple[Any, ...]:
        body = {"username": email, "password": OTHER_PASSWORD}
        return _seen(await scene.ask("POST", "/v1/session", body, headers={**JSON, "Origin": PUBLIC}))

    assert await tried("nobody@example.com") == await tried("zoe@example.com") == await tried("ada@example.com")


@attack(Kind.ENUMERATION)
async def enumeration_by_account(scene: Scene) -> None:
    async def tried(account: str) -> tuple[Any, ...]:
        form = {"grant_type": "password", "username": "ada@example.com", "password": OTHER_PASSWORD, "account": account}
        return _seen(await scene.ask("POST", "/token", form, headers=JSON))

    assert await tried("Acme") == await tried("Bolt") == await tried("Nowhere") == await tried(scene.ada.account)


@attack(Kind.ENUMERATION)
async def enumeration_at_forgot(scene: Scene) -> None:
    async def asked(email: str) -> tuple[Any, ...]:
        return _seen(await scene.ask("POST", "/v1/password/forgot", {"email": email}))

    assert await asked("ada@example.com") == await asked("nobody@example.com") == await asked("zoe@example.com")


@attack(Kind.ENUMERATION)
async def enumeration_of_links(scene: Scene) -> None:
    user = scene.zoe.member.record.id[-12:]
    account = scene.ada.account[4:]
    known = await scene.accept(f"inv_{account}_{user}_{'a' * 32}")
    unknown = await scene.accept(f"inv_{account}_{'b' * 12}_{'a' * 32}")
    nowhere = await scene.accept(f"inv_{'c' * 12}_{'b' * 12}_{'a' * 32}")
    garbage = await scene.accept("garbage")
    assert _seen(known) == _seen(unknown) == _seen(nowhere) == _seen(garbage)


@attack(Kind.ENUMERATION)
async def enumeration_of_users_of_other_accounts(scene: Scene) -> None:
    async def looked(user: str) -> tuple[Any, ...]:
        return _seen(await scene.ask("PATCH", f"/v1/users/{user}", {"name": "x"}, token=scene.token("eve")))

    nobody = f"usr_{scene.eve.account[4:]}_{'a' * 12}"
    assert await looked(scene.bob.id) == await looked(nobody) == await looked("nonsense")


@attack(Kind.ENUMERATION)
async def enumeration_of_emails_of_other_accounts_by_inviting(scene: Scene) -> None:
    body = {"email": "ada@example.com", "role": "marketer"}
    made = await scene.ask("POST", "/v1/users", body, token=scene.token("eve"))
    assert made.status == 201, "an e-mail is unique per account, and other accounts are not disclosed"


# Headers and paths ----------------------------------------------------------------------------------------------------


@attack(Kind.HEADER)
async def two_authorization_headers(scene: Scene) -> None:
    for first, second in (("eve", "ada"), ("ada", "eve"), ("ada", "ada")):
        pair = [("Authorization", f"Bearer {scene.token(who)}") for who in (first, second)]
        answer = await scene.ask("GET", "/v1/users", headers=pair)
        assert (answer.status, answer.body["reason"]) == (403, "bad_request")
        assert (await scene.ask("GET", "/check/sections/users", headers=pair)).status == 403


@attack(Kind.HEADER)
async def R4_a_header_that_is_no_bearer_beside_a_good_cookie(scene: Scene) -> None:
    cookie = f"__Host-sidecar={scene.token('ada')}"
    for given in ("", "Basic YTpi", "bearer", "Bearer", "Bearer\tx", "garbage", "Bearer x"):
        answer = await scene.ask("GET", "/v1/me", headers={"Authorization": given, "Cookie": cookie})
        assert answer.status == 401, given


COOKIES: dict[str, str] = {
    "the name behind a no-break space": "\u00a0__Host-sidecar={}",
    "the name in other letters": "__host-sidecar={}",
    "the name in quotes": '"__Host-sidecar"={}',
    "the name without its prefix": "sidecar={}",
    "the name with an ending": "__Host-sidecarx={}",
    "the value in quotes": '__Host-sidecar="{}"',
    "two of them": "__Host-sidecar=x; __Host-sidecar={}",
    "two of them, the good one first": "__Host-sidecar={}; __Host-sidecar=x",
    "separated by a comma": "a=b,__Host-sidecar={}",
    "inside another one's quotes": 'a="b; c"; d="__Host-sidecar={}"',
}


async def _cookie(scene: Scene, cookie: str) -> None:
    headers = {"Cookie": cookie.format(scene.token("ada"))}
    assert (await scene.ask("GET", "/v1/me", headers=headers)).status in {401, 403}
    assert (await scene.ask("GET", "/check/sections/users", headers=headers)).status in {401, 403}


rows(Kind.HEADER, "R4, a cookie", COOKIES, _cookie)


@attack(Kind.HEADER)
async def R4_two_cookie_headers(scene: Scene) -> None:
    pair = [("Cookie", f"__Host-sidecar={scene.token('ada')}"), ("Cookie", "__Host-sidecar=x")]
    assert (await scene.ask("GET", "/v1/me", headers=pair)).status == 403


@attack(Kind.HEADER)
async def R5_a_form_of_another_site_with_a_good_cookie(scene: Scene) -> None:
    headers = {
        "Cookie": f"__Host-sidecar={scene.token('ada')}",
        "Origin": "https://evil.example",
        "Content-Type": "text/plain",
        "Sec-Fetch-Site": "cross-site",
    }
    raw = b'{"email": "eve@example.net", "role": "account-administrator", "name": "="}'
    assert (await scene.ask("POST", "/v1/users", raw=raw, headers=headers)).body["code"] == "cross_site"
    assert (await scene.ask("DELETE", f"/v1/users/{scene.bob.id}", headers=headers)).body["code"] == "cross_site"


@attack(Kind.HEADER)
async def R5_two_origins_and_two_sites(scene: Scene) -> None:
    cookie = ("Cookie", f"__Host-sidecar={scene.token('ada')}")
    for more in (
        [("Origin", PUBLIC), ("Origin", "https://evil.example")],
        [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", f"{PUBLIC} https://evil.example")],
    ):
        answer = await scene.ask("DELETE", f"/v1/users/{scene.bob.id}", headers=[cookie, *more])
        assert answer.body["code"] == "cross_site", more


@attack(Kind.HEADER)
async def identity_headers_of_ones_own(scene: Scene) -> None:
    spoofed = {
        "X-Auth-User": scene.ada.id,
        "X-Auth-Role": "account-administrator",
        "X-Auth-Account": scene.ada.account,
        "X_Auth_Role": "account-administrator",
        "X-Forwarded-User": scene.ada.id,
        "Remote-User": "ada@example.com",
    }
    assert (await scene.ask("GET", "/v1/users", token=scene.token("bob"), headers=spoofed)).status == 403
    assert (await scene.ask("GET", "/v1/users", headers=spoofed)).status == 401
    passed = await scene.ask("GET", "/check/sections/billing", token=scene.token("bob"), headers=spoofed)
    assert passed.headers["X-Auth-Role"] == "accountant"


@attack(Kind.HEADER)
async def R7_an_address_of_ones_own_choice(scene: Scene) -> None:
    headers = {"X-Forwarded-For": "198.51.100.7", "X-Real-IP": "198.51.100.7", "Forwarded": "for=198.51.100.7"}
    form = {"grant_type": "password", "username": "bob@example.com", "password": PASSWORD}
    granted = await scene.ask("POST", "/token", form, headers={**JSON, **headers})
    listed = await scene.ask("GET", "/v1/me/sessions", token=granted.body["access_token"])
    assert next(one for one in listed.body["sessions"] if one["current"])["address"] == "127.0.0.1"


@attack(Kind.HEADER)
async def a_method_in_a_header(scene: Scene) -> None:
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        await scene.ask("GET", f"/v1/users/{scene.bob.id}", token=scene.token("ada"), headers={name: "DELETE"})
        answer = await scene.ask("GET", "/check/sections/billing", token=scene.token("bob"), headers={name: "GET"})
        assert (answer.status, answer.headers["X-Auth-Reason"]) == (403, "bad_request")
    assert await scene.town.people.users.record(scene.bob.id) is not None


@attack(Kind.HEADER)
async def a_request_id_that_wants_to_be_a_header_or_a_log_line(scene: Scene) -> None:
    for given in ("a b", "x" * 129, "ä", "<script>", "{}", "a,b"):
        answer = await scene.ask("GET", "/v1/me", token=scene.token("bob"), headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] != given


@attack(Kind.HEADER)
async def R13_an_idempotency_key_of_somebody_else(scene: Scene) -> None:
    body, key = {"email": "new@example.com", "role": "marketer"}, {"Idempotency-Key": "k"}
    mine = await scene.ask("POST", "/v1/users", body, token=scene.token("ada"), headers=key)
    theirs = await scene.ask("POST", "/v1/users", body, token=scene.token("eve"), headers=key)
    assert mine.body["user"]["id"] != theirs.body["user"]["id"]
    assert theirs.body["invitation"]["url"] is not None


@attack(Kind.HEADER)
async def a_path_that_is_nearly_one_of_ours(scene: Scene) -> None:
    for path in ("/v1//users", "/v1/users/", "/V1/users", "/v1/users;x", "/v1/./users", "/v1/%75sers", "//v1/users"):
        assert (await scene.ask("GET", path, token=scene.token("ada"))).status in {400, 404}, path


# Bodies and smuggling -------------------------------------------------------------------------------------------------


async def _raw(scene: Scene, sent: bytes) -> bytes:
    """Return everything that is received until the connection is closed or idle."""
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.web.client.port)
    writer.write(sent)
    await writer.drain()
    came = b""
    try:
        async with asyncio.timeout(1):
            while chunk := await reader.read(65536):
                came += chunk
                if came.count(b"HTTP/1.1 ") > 1:
                    break
    except TimeoutError:
        pass
    writer.close()
    return came


SMUGGLED = b"DELETE /v1/users/{bob} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada}\r\n\r\n"
HEAD = b"POST /v1/password/forgot HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"

FRAMINGS: dict[str, bytes] = {
    "length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 200\r\n\r\n{}",
    "a length with a plus": b"Content-Length: +2\r\n\r\n{}",
    "a length that is negative": b"Content-Length: -1\r\n\r\n{}",
    "two codings": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a coding nobody knows": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Content-Length : 2\r\n\r\n{}",
    "a folded header": b"X-A: b\r\n Content-Length: 2\r\n\r\n{}",
    "a bare line feed": b"X-A: b\nContent-Length: 2\r\n\r\n{}",
}


async def _framing(scene: Scene, rest: bytes) -> None:
    """However the first request is read, no second one comes out of its body."""
    smuggled = SMUGGLED.replace(b"{bob}", scene.bob.id.encode()).replace(b"{ada}", scene.token("ada").encode())
    came = await _raw(scene, HEAD + rest + smuggled)
    assert came.count(b"HTTP/1.1 ") <= 1
    assert b"HTTP/1.1 5" not in came
    assert await scene.town.people.users.record(scene.bob.id) is not None


rows(Kind.SMUGGLING, "a body framed by", FRAMINGS, _framing)


@attack(Kind.SMUGGLING)
async def a_body_that_unpacks_to_more_than_it_was(scene: Scene) -> None:
    bomb = gzip.compress(b'{"email": "' + b"a" * 10_000_000 + b'"}')
    headers = {"Content-Encoding": "gzip"}
    answer = await scene.ask("POST", "/v1/password/forgot", raw=bomb, headers=headers)
    assert answer.status in {400, 413}


@attack(Kind.SMUGGLING)
async def a_body_over_the_limit(scene: Scene) -> None:
    raw = b'{"email": "' + b"a" * 70_000 + b'"}'
    for path in ("/v1/password/forgot", "/v1/session", "/v1/invitations/accept"):
        answer = await scene.ask("POST", path, raw=raw, headers={**JSON, "Origin": PUBLIC})
        assert (answer.status, answer.body["code"]) == (413, "too_large")
        assert answer.body["detail"].endswith("send less or raise SIDECAR_MAX_BODY")
    assert (await scene.ask("POST", "/token", raw=raw, headers=JSON)).status == 413


BODIES: dict[str, bytes] = {
    "a member twice": b'{"email": "a@example.com", "email": "b@example.com", "role": "marketer"}',
    "a member twice, one escaped": b'{"email": "a@example.com", "\\u0065mail": "b@example.com", "role": "marketer"}',
    "an unknown member": b'{"email": "a@example.com", "role": "marketer", "admin": true}',
    "a prototype": b'{"email": "a@example.com", "role": "marketer", "__proto__": {"role": "account-administrator"}}',
    "a list": b'[{"email": "a@example.com", "role": "marketer"}]',
    "a list for text": b'{"email": ["a@example.com"], "role": "marketer"}',
    "a number for text": b'{"email": 1, "role": "marketer"}',
    "null for text": b'{"email": null, "role": "marketer"}',
    "NaN": b'{"email": NaN, "role": "marketer"}',
    "nested a thousand times": b'{"email": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    "nested a hundred thousand times": b"[" * 32000 + b"]" * 32000,
    "half a surrogate pair": b'{"email": "a@example.com", "role": "marketer", "name": "\\ud800"}',
    "bytes that are no UTF-8": b'{"email": "a@example.com", "role": "\xff"}',
    "UTF-16": '{"email": "a@example.com", "role": "marketer"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"email": "a@example.com", "role": "marketer"}',
    "something behind": b'{"email": "a@example.com", "role": "marketer"} {}',
    "a comment": b'{"email": "a@example.com", /* */ "role": "marketer"}',
    "single quotes": b"{'email': 'a@example.com', 'role': 'marketer'}",
    "a form": b"email=a%40example.com&role=marketer",
    "nothing": b"",
    "a number with ten thousand digits": b'{"email": ' + b"1" * 10_000 + b', "role": "marketer"}',
}


async def _body(scene: Scene, raw: bytes) -> None:
    before = await scene.acme()
    answer = await scene.ask("POST", "/v1/users", raw=raw, token=scene.token("ada"), headers=JSON)
    assert (answer.status, answer.body["code"]) == (400, "bad_request")
    assert await scene.acme() == before


rows(Kind.SMUGGLING, "a body with", BODIES, _body)

FORMS: dict[str, bytes] = {
    "a parameter twice": b"grant_type=password&username=eve%40example.net&username=ada%40example.com&password=x",
    "the grant twice": b"grant_type=password&grant_type=refresh_token&username=a&password=b",
    "an encoded parameter twice": b"grant_type=password&username=a&%75sername=b&password=c",
    "too many parameters": b"&".join(b"a%d=b" % number for number in range(100)),
    "bytes that are no UTF-8": b"grant_type=password&username=%ff&password=x",
    "a list": b"grant_type[]=password&username[]=a&password[]=b",
}


async def _form(scene: Scene, raw: bytes) -> None:
    answer = await scene.ask("POST", "/token", raw=raw, headers=FORM)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")


rows(Kind.SMUGGLING, "a form with", FORMS, _form)


# Unicode --------------------------------------------------------------------------------------------------------------


SAME = {
    "in capitals": "ADA@EXAMPLE.COM",
    "with a dot behind": "ada@example.com.",
    "in full width": "ａｄａ@ｅｘａｍｐｌｅ.com",
    "with an ideographic full stop": "ada@example。com",
}


async def _same(scene: Scene, email: str) -> None:
    """One spelling per e-mail: no user is in an account twice."""
    body = {"email": email, "role": "marketer"}
    assert (await scene.ask("POST", "/v1/users", body, token=scene.token("ada"))).body["code"] == "already_member"
    assert (await scene.sign_in(email)).status == 200


rows(Kind.UNICODE, "the same e-mail", SAME, _same)

HOSTILE = {
    "a right-to-left override": "ada\u202emoc.elpmaxe@evil.example",
    "a zero-width space": "a\u200bda@example.com",
    "a zero-width joiner": "a\u200dda@example.com",
    "a byte order mark": "\ufeffada@example.com",
    "a null byte": "ada\x00@example.com",
    "a line break": "ada@example.com\r\nBcc: eve@example.net",
    "a tab": "ada\t@example.com",
    "a display name": "Ada <ada@example.com>",
    "a quoted part": '"ada eve"@example.com',
    "a comment": "ada(eve)@example.com",
    "two at signs": "ada@eve@example.com",
    "an address literal": "ada@[127.0.0.1]",
    "a percent": "ada%40example.com",
    "a domain of one label": "ada@example",
    "a domain that is too long": "ada@" + "a" * 250 + ".com",
    "a label that is too long": "ada@" + "a" * 64 + ".com",
    "a thousand characters": "a" * 1000 + "@example.com",
    "an emoji domain in pieces": "ada@\ud83d.com",
    "nothing before the at sign": "@example.com",
}


async def _hostile(scene: Scene, email: str) -> None:
    before = await scene.acme()
    body = {"email": email, "role": "marketer"}
    answer = await scene.ask("POST", "/v1/users", body, token=scene.token("ada"))
    assert answer.status in {400, 422}
    assert await scene.acme() == before
    assert (await scene.sign_in(email)).status == 400
    assert (await scene.ask("POST", "/v1/password/forgot", {"email": email})).status in {202, 400}


rows(Kind.UNICODE, "an e-mail with", HOSTILE, _hostile)


@attack(Kind.UNICODE)
async def an_email_that_looks_like_another_is_another(scene: Scene) -> None:
    for email in ("аda@example.com", "ada@exаmple.com", "adа@example.com"):  # Cyrillic
        made = await scene.ask("POST", "/v1/users", {"email": email, "role": "marketer"}, token=scene.token("ada"))
        assert made.status in {201, 422}
        assert (await scene.sign_in(email)).status == 400
        assert made.status == 422 or made.body["user"]["email"] != "ada@example.com"


NAMES = {
    "a line break": "Ada\nAdministrator",
    "a bidirectional override": "Ada \u202eevE",
    "a bidirectional isolate": "Ada \u2066Eve",
    "a zero-width space": "A\u200bda",
    "a null byte": "Ada\x00",
    "an escape sequence": "\x1b[2JAda",
    "a line separator": "Ada\u2028Eve",
    "a private character": "\ue000Ada",
    "a tag": "Ada\U000e0041",
    "too many characters": "A" * 101,
    "too many combining marks": "A" + "\u0301" * 300,
}


async def _name(scene: Scene, name: str) -> None:
    for method, path, body in (
        ("POST", "/v1/users", {"email": "new@example.com", "role": "marketer", "name": name}),
        ("PATCH", f"/v1/users/{scene.bob.id}", {"name": name}),
        ("POST", "/v1/invitations/accept", {"token": scene.secret, "password": PASSWORD, "name": name}),
    ):
        assert (await scene.ask(method, path, body, token=scene.token("ada"))).body["code"] == "bad_request", path


rows(Kind.UNICODE, "a name with", NAMES, _name)


@attack(Kind.UNICODE)
async def R17_passwords_that_are_too_long_before_or_after_normalisation(scene: Scene) -> None:
    for password in ("x" * 5000, "\ufdfa" * 400, "é" * 1100, "x" * 60_000):
        assert (await scene.sign_in("ada@example.com", password)).status == 400
        body = {"token": scene.secret, "password": password}
        assert (await scene.ask("POST", "/v1/invitations/accept", body)).status in {400, 422}
        body = {"old_password": PASSWORD, "new_password": password}
        assert (await scene.ask("POST", "/v1/me/password", body, token=scene.token("ada"))).status in {400, 422}


@attack(Kind.UNICODE)
async def passwords_cut_off_at_a_null_byte(scene: Scene) -> None:
    assert (await scene.sign_in("ada@example.com", PASSWORD + "\x00")).status == 400
    assert (await scene.sign_in("ada@example.com", PASSWORD + "\x00x")).status == 400
    assert (await scene.sign_in("ada@example.com", PASSWORD[:-1])).status == 400


@attack(Kind.UNICODE)
async def a_password_is_told_from_one_that_looks_alike(scene: Scene) -> None:
    assert (await scene.sign_in("ada@example.com", PASSWORD.upper())).status == 400
    assert (await scene.sign_in("ada@example.com", PASSWORD + " ")).status == 400
    assert (await scene.sign_in("ada@example.com", PASSWORD.replace("a", "а"))).status == 400  # Cyrillic


# Other accounts -------------------------------------------------------------------------------------------------------


SAMPLES: dict[str, Any] = {
    "PATCH /v1/me": {"name": "Mallory"},
    "POST /v1/me/password": {"old_password": OTHER_PASSWORD, "new_password": PASSWORD + "-2"},
    "POST /v1/users": {"email": "new@example.net", "role": "marketer"},
    "PATCH /v1/users/{id}": {"role": "marketer", "name": "Mallory"},
    "POST /v1/users/{id}/review": {"role": "marketer", "status": "active"},
    "POST /v1/users/{id}/password-reset": {"show": True},
    "POST /v1/policy/preview": {"files": {"policy.csv": "p, marketer, billing, *, allow"}},
    "POST /v1/check": {"section": "users", "action": "manage"},
    "POST /v1/session": {"username": "eve@example.net", "password": PASSWORD},
    "POST /v1/password/forgot": {"email": "eve@example.net"},
    "POST /v1/password/reset": {"token": "rst_x", "password": PASSWORD},
    "POST /v1/invitations/show": {"token": "inv_x"},
    "POST /v1/invitations/accept": {"token": "inv_x", "password": PASSWORD},
    "POST /v1/me/factors/{id}/confirm": {"code": "000000"},
    "PATCH /v1/me/factors/{id}": {"name": "Mallory"},
    "POST /v1/session/factor": factor_examples.BODIES["FactorAnswerBody"],
    "POST /v1/session/passkey": factor_examples.BODIES["PasskeyAnswerBody"],
    "POST /v1/session/step-up": {"password": PASSWORD},
}
"""Valid bodies for each call that takes one. A call without would only test a 400."""

V1 = [endpoint for endpoint in (*API, *CHECKS) if endpoint.path.startswith("/v1/")]


def _key(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def _known_query(endpoint: Endpoint, user: str) -> str:
    """Return a query of the call's own parameters, with the user's id wherever one fits; empty if it has none."""
    if endpoint.query is None:
        return ""
    texts = {"section": "users", "action": "view", "user": user, "actor": user, "target": user}
    known = [name for name in endpoint.query.__struct_encode_fields__ if name in texts]
    return "?" + "&".join(f"{name}={texts[name]}" for name in known)


async def _other_account(scene: Scene, endpoint: Endpoint) -> None:
    """As Eve, use every id of Acme in every position. The responses contain nothing of Acme, and Acme is unchanged."""
    before = await scene.acme()
    session = scene.grants["ada"].session
    ours = {scene.ada.account, scene.ada.id, scene.bob.id, scene.zoe.member.record.id, session}
    body = SAMPLES.get(_key(endpoint))
    assert body is not None or endpoint.body is None, f"{_key(endpoint)} needs a sample"
    headers = {"X-Auth-Account": scene.ada.account, **(JSON if body is not None else {})}
    for user in (scene.ada.id, scene.bob.id, scene.zoe.member.record.id):
        path = endpoint.path.replace("{id}", user).replace("{sid}", session)
        unknown = f"?account={scene.ada.account}&account_id={scene.ada.account}&user={user}&id={user}"
        for query in (unknown, _known_query(endpoint, user)):
            answer = await scene.ask(endpoint.method, path + query, body, token=scene.token("eve"), headers=headers)
            assert answer.status < 500, (path, answer.raw)
            if query == unknown:
                assert answer.status in (400, 403), "no call has these parameters"
            elif "{" in endpoint.path:
                assert (answer.status, answer.body["code"]) == (404, "not_found"), path
            shown = answer.raw.decode() + str(answer.headers)
            people = ("Acme", "ada@example.com", "bob@example.com", "zoe@example.com")
            assert not [one for one in (*ours, *people) if one in shown and one not in path], path
    assert await scene.acme() == before
    assert (await scene.ask("GET", "/v1/me", token=scene.token("ada"))).status == 200


rows(
    Kind.ACCOUNT,
    "R11, another account's administrator at",
    {_key(endpoint): endpoint for endpoint in V1},
    _other_account,
)


@attack(Kind.ACCOUNT)
async def ids_that_are_nearly_ids(scene: Scene) -> None:
    own = scene.eve.account[4:]
    for user in (
        f"usr_{own}_{scene.bob.id[-12:]}",
        scene.bob.id.upper(),
        f"{scene.bob.id}%00",
        f"{scene.bob.id}/../{scene.eve.id}",
        f"usr_{own}_*",
        "*",
        "%2e%2e",
        "usr_" + "a" * 5000,
        scene.ada.account,
    ):
        for method in ("PATCH", "DELETE"):
            body = {"name": "x"} if method == "PATCH" else None
            answer = await scene.ask(method, f"/v1/users/{user}", body, token=scene.token("eve"))
            assert answer.status in {400, 404, 405}, user
    assert await scene.town.people.users.record(scene.bob.id) is not None


@attack(Kind.ACCOUNT)
async def a_name_of_an_account_that_looks_like_an_id(scene: Scene) -> None:
    form = {"grant_type": "password", "username": "eve@example.net", "password": PASSWORD, "account": scene.ada.account}
    assert (await scene.ask("POST", "/token", form, headers=JSON)).body["error"] == "invalid_grant"


# Privilege escalation -------------------------------------------------------------------------------------------------


@attack(Kind.PRIVILEGE)
async def privilege_by_self_edit(scene: Scene) -> None:
    own = f"/v1/users/{scene.bob.id}"
    for body in ({"role": "account-administrator"}, {"name": "Boss"}, {"status": "active"}):
        assert (await scene.ask("PATCH", own, body, token=scene.token("bob"))).status == 403
    assert (await scene.ask("DELETE", own, token=scene.token("bob"))).status == 403
    assert (await scene.ask("POST", f"{own}/invitation", token=scene.token("bob"))).status == 403
    for method in ("PUT", "POST", "DELETE"):
        answer = await scene.ask(method, "/v1/me", {"role": "account-administrator"}, token=scene.token("bob"))
        assert answer.status == 405
    for more in ({"role": "account-administrator"}, {"status": "active"}, {"email": "x@example.com"}, {"id": "x"}):
        answer = await scene.ask("PATCH", "/v1/me", {"name": "Boss", **more}, token=scene.token("bob"))
        assert answer.status == 400
    assert (await scene.town.people.users.record(scene.bob.id)).role == "accountant"


@attack(Kind.PRIVILEGE)
async def privilege_by_an_invitation_to_oneself(scene: Scene) -> None:
    body = {"email": "bob2@example.com", "role": "account-administrator"}
    assert (await scene.ask("POST", "/v1/users", body, token=scene.token("bob"))).status == 403


@attack(Kind.PRIVILEGE)
async def privilege_by_members_that_are_not_asked_for(scene: Scene) -> None:
    base = {"old_password": PASSWORD, "new_password": OTHER_PASSWORD}
    for extra in ({"role": "account-administrator"}, {"user": scene.ada.id}, {"id": scene.ada.id}, {"epoch": 9}):
        answer = await scene.ask("POST", "/v1/me/password", {**base, **extra}, token=scene.token("bob"))
        assert answer.status == 400
    for extra in ({"role": "account-administrator"}, {"user": scene.ada.id}, {"subject": {"id": scene.ada.id}}):
        asked = {"section": "users", "action": "manage", **extra}
        assert (await scene.ask("POST", "/v1/check", asked, token=scene.token("bob"))).status == 400
    for extra in ({"epoch": 9}, {"email": "x@example.com"}, {"account": scene.eve.account}, {"id": scene.eve.id}):
        answer = await scene.ask("PATCH", f"/v1/users/{scene.bob.id}", {"name": "B", **extra}, token=scene.token("ada"))
        assert answer.status == 400


ROLES = {
    "a role for everybody": "member",
    "everything": "*",
    "a role in capitals": "Account-Administrator",
    "a role with a space": "account-administrator ",
    "a role of the policy's syntax": "account-administrator, users, manage, allow",
    "a role with a zero-width space": "account\u200b-administrator",
    "a role in Cyrillic": "аccount-administrator",
    "no role": "",
    "a role with a null byte": "marketer\x00",
}


async def _role(scene: Scene, role: str) -> None:
    body = {"email": "new@example.com", "role": role}
    assert (await scene.ask("POST", "/v1/users", body, token=scene.token("ada"))).body["code"] == "unknown_role"
    answer = await scene.ask("PATCH", f"/v1/users/{scene.bob.id}", {"role": role}, token=scene.token("ada"))
    assert answer.body["code"] == "unknown_role"


rows(Kind.PRIVILEGE, "a role that nobody can have:", ROLES, _role)


@attack(Kind.PRIVILEGE)
async def the_last_administrator_out_in_every_way(scene: Scene) -> None:
    own = f"/v1/users/{scene.ada.id}"
    for method, body in (("PATCH", {"role": "marketer"}), ("PATCH", {"status": "suspended"}), ("DELETE", None)):
        assert (await scene.ask(method, own, body, token=scene.token("ada"))).body["code"] == "last_admin"
    assert (await scene.ask("GET", "/v1/users", token=scene.token("ada"))).status == 200


@attack(Kind.PRIVILEGE)
async def more_seats_than_there_are_by_asking_at_once(scene: Scene) -> None:
    answers = await asyncio.gather(
        *(
            scene.ask(
                "POST", "/v1/users", {"email": f"n{number}@example.com", "role": "marketer"}, token=scene.token("ada")
            )
            for number in range(30)
        )
    )
    assert sum(answer.status == 201 for answer in answers) == 6
    assert len(await scene.acme()) == 9


# The list -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempt", [pytest.param(run, id=f"{kind}: {name}") for (kind, name), run in ATTACKS.items()])
async def test_attack(scene: Scene, attempt: Attack) -> None:
    await attempt(scene)


def test_every_kind_has_rows_in_the_order_of_the_kinds() -> None:
    kinds = [kind for kind, _ in ATTACKS]
    assert list(dict.fromkeys(kinds)) == list(Kind)
    assert kinds == sorted(kinds, key=list(Kind).index)


def test_the_list_is_long_enough() -> None:
    assert len(ATTACKS) >= 60


def test_every_call_is_on_it() -> None:
    assert all((Kind.ACCOUNT, f"R11, another account's administrator at: {_key(one)}") in ATTACKS for one in V1)
