"""A response to a revocation means that it is applied everywhere (R31), also as a side effect of another change, and
also when there was nothing left to revoke.
"""

import re
from importlib.resources import files

import pytest

from sidecar.domain.users import UserId
from sidecar.store import keys, scripts
from tests.fixtures import OTHER_PASSWORD, PASSWORD, PUBLIC

LOGIN = {"username": "bob@example.com", "password": PASSWORD}
FOLDER = files("sidecar.store") / "scripts"
OURS = {"Origin": PUBLIC, "Content-Type": "application/json"}


@pytest.fixture
async def scene(open_web, town):
    return await Scene.set(await open_web(), town)


class Scene:
    """Two users: Ada administers, Bob's access is revoked."""

    @classmethod
    async def set(cls, web, town):
        scene = cls()
        scene.web, scene.town = web, town
        scene.admin = await town.found()
        scene.bob = await town.join(scene.admin, "bob@example.com", "marketer")
        scene.ada = await web.token("ada@example.com")
        scene.grant = await town.grant("bob@example.com")
        return scene

    async def last_acknowledged(self):
        """Return the newest change in the feed that requests an acknowledgement."""
        rows = await self.town.people.users._store.command("XRANGE", keys.feed(0), "-", "+")
        fields = [
            dict(zip(row[1][::2], row[1][1::2], strict=True)) if isinstance(row[1], list) else row[1] for row in rows
        ]
        return max([int(one["n"]) for one in fields if one["ack"] == "1"], default=0)

    def waited_for(self):
        return max((position.n for position in self.town.fleet.waited), default=0)


async def refresh_reused(s):
    first = s.grant.refresh_token
    for _ in range(2):
        answer = await s.web.ask(
            "POST", "/token", {"grant_type": "refresh_token", "refresh_token": first}, headers=OURS
        )
    second = answer.body["refresh_token"]
    await s.web.ask("POST", "/token", {"grant_type": "refresh_token", "refresh_token": second}, headers=OURS)
    s.town.fleet.waited.clear()
    assert (
        await s.web.ask("POST", "/token", {"grant_type": "refresh_token", "refresh_token": first}, headers=OURS)
    ).status == 400


async def refresh_cookie_reused(s):
    def jar(answer):
        return "; ".join(line.partition(";")[0] for line in answer.headers.getall("Set-Cookie"))

    first = jar(await s.web.ask("POST", "/v1/session", LOGIN, headers=OURS))
    second = jar(await s.web.ask("POST", "/v1/session/refresh", headers={**OURS, "Cookie": first}))
    await s.web.ask("POST", "/v1/session/refresh", headers={**OURS, "Cookie": second})
    assert (await s.web.ask("POST", "/v1/session/refresh", headers={**OURS, "Cookie": first})).status == 401


async def twenty_first_sign_in(s):
    for _ in range(20):
        await s.town.grant("bob@example.com")
    s.town.fleet.waited.clear()
    answer = await s.web.ask("POST", "/token", {"grant_type": "password", **LOGIN}, headers=OURS)
    assert answer.status == 200


async def twenty_first_sign_in_by_cookie(s):
    for _ in range(20):
        await s.town.grant("bob@example.com")
    s.town.fleet.waited.clear()
    assert (await s.web.ask("POST", "/v1/session", LOGIN, headers=OURS)).status == 204


def asking(method, path, body=None, *, by="ada", status=204):
    async def act(s):
        bearer = s.ada if by == "ada" else s.grant.access_token if by == "bob" else None
        sid = s.grant.session
        answer = await s.web.ask(
            method, path.format(bob=s.bob.id, sid=sid), body(s) if callable(body) else body, token=bearer, headers=OURS
        )
        assert answer.status in ((status,) if isinstance(status, int) else status), answer.body

    return act


async def reset(s):
    record = await s.town.people.users.record(UserId(s.bob.id))
    link = s.town.people.password_reset.link(record).url.partition("#")[2]
    body = {"token": link, "password": OTHER_PASSWORD}
    assert (await s.web.ask("POST", "/v1/password/reset", body)).status == 201


ENDINGS = {
    "refresh token reused": refresh_reused,
    "refresh cookie reused": refresh_cookie_reused,
    "21st sign-in": twenty_first_sign_in,
    "21st sign-in by cookie": twenty_first_sign_in_by_cookie,
    "suspended": asking("PATCH", "/v1/users/{bob}", {"status": "suspended"}, status=200),
    "another role": asking("PATCH", "/v1/users/{bob}", {"role": "accountant"}, status=200),
    "removed": asking("DELETE", "/v1/users/{bob}"),
    "one session": asking("DELETE", "/v1/me/sessions/{sid}", by="bob"),
    "revoked refresh token": asking("POST", "/revoke", lambda s: {"token": s.grant.refresh_token}, by=None, status=200),
    "revoked access token": asking("POST", "/revoke", lambda s: {"token": s.grant.access_token}, by=None, status=200),
    "signed out": asking("DELETE", "/v1/session", by="bob"),
    "password": asking(
        "POST", "/v1/me/password", {"old_password": PASSWORD, "new_password": OTHER_PASSWORD}, by="bob", status=200
    ),
    "reset": reset,
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_R31_what_ends_something_waits_for_the_fleet(scene, ending):
    before = await scene.last_acknowledged()
    scene.town.fleet.waited.clear()
    await ENDINGS[ending](scene)
    last = await scene.last_acknowledged()
    assert last > before, "a change that every sidecar acknowledges"
    assert scene.waited_for() >= last


AGAIN = {
    "revoked refresh token": asking("POST", "/revoke", lambda s: {"token": s.grant.refresh_token}, by=None, status=200),
    "suspended": asking("PATCH", "/v1/users/{bob}", {"status": "suspended"}, status=200),
    "another role": asking("PATCH", "/v1/users/{bob}", {"role": "accountant"}, status=200),
}


async def signed_out(s):
    cookie = f"__Secure-sidecar-refresh={s.grant.refresh_token}"
    assert (await s.web.ask("DELETE", "/v1/session", headers={**OURS, "Cookie": cookie})).status == 204


AGAIN["signed out"] = signed_out


@pytest.mark.parametrize("ending", AGAIN)
async def test_R31_what_is_over_already_is_waited_for_too(scene, ending):
    """The first request may still be waiting: the second must not respond before it."""
    await AGAIN[ending](scene)
    last = await scene.last_acknowledged()
    scene.town.fleet.waited.clear()
    await AGAIN[ending](scene)
    assert await scene.last_acknowledged() == last, "nothing was written again"
    assert scene.waited_for() >= last


async def test_R31_there_was_no_other_session_after_all(scene):
    await scene.town.grant("bob@example.com")
    path = "/v1/me/sessions"
    assert (await scene.web.ask("DELETE", path, token=scene.grant.access_token)).status == 204
    last = await scene.last_acknowledged()
    scene.town.fleet.waited.clear()
    assert (await scene.web.ask("DELETE", path, token=scene.grant.access_token)).status == 204
    assert scene.waited_for() >= last


@pytest.mark.parametrize("more", [0, 17])
async def test_a_sign_in_that_ends_nothing_waits_for_nobody(scene, more):
    for _ in range(more):
        await scene.town.grant("bob@example.com")
    scene.town.fleet.waited.clear()
    assert (await scene.web.ask("POST", "/token", {"grant_type": "password", **LOGIN}, headers=OURS)).status == 200
    assert scene.town.fleet.waited == []


def test_R31_every_revoking_script_requests_an_acknowledgement():
    """Read the scripts: each that ends sessions, or deletes cached records, publishes with ack."""
    ending = re.compile(r"\bend_sessions?\(|\bopen_session\(|'DEL', key\('(?:u|pep):|HSET', ACCT, 'st'")
    opens_a_first_session = {"invitation_accept", "account_create"}
    checked = set()
    for name in scripts.names():
        text = FOLDER.joinpath(f"{name}.lua").read_text()
        if not ending.search(text) or name in opens_a_first_session:
            continue
        checked.add(name)
        publishing = [line for line in text.splitlines() if re.search(r"\b(?:publish|send)\(", line)]
        acked = re.compile(r"\b(?:publish|send)\(.*?, (?:nil|home|seq), (?!false\b)[^)]+")
        assert any(acked.search(line) for line in publishing), f"{name}.lua publishes without ack"
    assert {"session_open", "session_rotate", "session_end", "user_remove", "account_delete", "pep_revoke"} <= checked
