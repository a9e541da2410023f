"""R48 on a real server: Redis without an append-only file starts from an older dump, under real sidecars.

Truth: no allow after lease + 0.5 s that the last acknowledged state would deny, by running and restarted sidecars, with
and without an unrelated change afterwards.
"""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.rig import LEASE, RedisServer
from tests.live.conftest import Start
from tests.live.support import PASSWORD, Http, Person, Process, cli, eventually, found_account

SLACK = 0.5
BILLING = "/dashboard/billing/x"
NEW_PASSWORD = "seven yellow kites over a harbour"
KINDS = ("role", "suspension", "removal", "password")

pytestmark = pytest.mark.slow


@dataclass
class Scene:
    api: Http
    server: RedisServer
    processes: list[Process]
    start: Start
    ada: Person
    people: dict[str, Person] = field(default_factory=dict)

    async def change_all(self) -> None:
        """The four kinds of change, each acknowledged by every sidecar."""
        token = self.ada.access
        role, suspended, removed, password = (self.people[kind] for kind in KINDS)
        ask = self.api.ask
        answers = [
            await ask("PATCH", f"/v1/users/{role.id}", token=token, json={"role": "marketer"}),
            await ask("PATCH", f"/v1/users/{suspended.id}", token=token, json={"status": "suspended"}),
            await ask("DELETE", f"/v1/users/{removed.id}", token=token),
            await ask(
                "POST",
                "/v1/me/password",
                token=password.access,
                json={"old_password": PASSWORD, "new_password": NEW_PASSWORD},
            ),
        ]
        assert [answer.status for answer in answers] == [200, 200, 204, 200], answers

    async def answers(self, kind: str) -> list[tuple[int, str]]:
        found = []
        for process in self.processes:
            try:
                one = await self.api.check(BILLING, token=self.people[kind].access, url=process.url)
                found.append((one.status, one.headers["X-Auth-Reason"]))
            except OSError:
                found.append((0, "refused"))
        return found

    def settings(self) -> dict[str, str]:
        return self.processes[0].settings

    def ready(self) -> bool:
        return all(process.http_status("/readyz") == 200 for process in self.processes)


@pytest.fixture
async def scene(start: Start, http: Callable[[Process], Http], redis_server: Callable[..., RedisServer]) -> Scene:
    server = redis_server("--appendonly", "no")
    processes = [start(REDIS_URL=server.url, LOG_FORMAT="json") for _ in range(2)]
    api = http(processes[0])
    await asyncio.to_thread(found_account, processes[0], seats=10)
    ada = await api.sign_in("ada@example.com")
    made = Scene(api, server, processes, start, ada)
    for kind in KINDS:
        made.people[kind] = await api.join(ada, f"{kind}@example.com", "accountant")
        await eventually(lambda kind=kind: _all_allowed(made, kind))
    return made


async def _all_allowed(scene: Scene, kind: str) -> bool:
    return await scene.answers(kind) == [(200, "allowed")] * len(scene.processes)


async def _lose(scene: Scene, *, restarted: bool, after: bool) -> float:
    """The older dump is in place. Returns when."""
    with scene.server.client() as client:
        client.save()
    await scene.change_all()
    await asyncio.sleep(1)
    if restarted:
        for process in scene.processes:
            assert process.stop(signal.SIGKILL) != 0
    scene.server.kill()
    scene.server.start()
    lost = time.monotonic()
    if after:
        done = await asyncio.to_thread(cli, scene.settings(), "account", "set-seats", "Acme", "11")
        assert done.returncode == 0, done
    if restarted:
        url, number = scene.server.url, len(scene.processes)
        scene.processes = [scene.start(REDIS_URL=url, LOG_FORMAT="json", wait=False) for _ in range(number)]
        lost = time.monotonic()
    return lost


@pytest.mark.parametrize("after", [False, True], ids=["nothing after", "an unrelated change after"])
@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
async def test_R48_an_older_dump_brings_nothing_back(scene: Scene, restarted: bool, after: bool) -> None:
    lost = await _lose(scene, restarted=restarted, after=after)
    until = time.monotonic() + 25
    while not scene.ready() or time.monotonic() < lost + 3:
        assert time.monotonic() < until, [process.output()[-1500:] for process in scene.processes]
        for kind in KINDS:
            allowed = (200, "allowed") in await scene.answers(kind)
            assert not allowed or time.monotonic() < lost + LEASE + SLACK, kind
        await asyncio.sleep(0.02)

    for kind in KINDS[:3]:
        await eventually(lambda kind=kind: _all_are(scene, kind, (401, "needs_review")))
    assert await scene.answers("password") == [(401, "revoked")] * 2
    await _sign_ins_are_refused(scene)
    await _reviews_end_it(scene)


async def _all_are(scene: Scene, kind: str, wanted: tuple[int, str]) -> bool:
    return await scene.answers(kind) == [wanted] * 2


async def _sign_ins_are_refused(scene: Scene) -> None:
    """A held user's is as one with a wrong password; a lost password has to be reset."""
    errors = []
    for kind in KINDS:
        form = {"grant_type": "password", "username": f"{kind}@example.com", "password": PASSWORD}
        answer = await scene.api.ask("POST", "/token", url=scene.processes[0].url, data=form)
        errors.append((answer.status, answer.body["error"], "reset" in json.dumps(answer.body)))
    assert errors == [*[(400, "invalid_grant", False)] * 3, (400, "invalid_grant", True)]


async def _reviews_end_it(scene: Scene) -> None:
    url = scene.processes[0].url
    ada = await scene.api.sign_in("ada@example.com", url=url)
    roster = await scene.api.ask("GET", "/v1/users", token=ada.access, url=url)
    reviews = {user["email"].partition("@")[0]: user["review"] for user in roster.body["users"]}
    assert reviews["ada"] is reviews["password"] is None
    found: dict[str, Any] = {kind: {**reviews[kind], "since": None} for kind in KINDS[:3]}
    same = {"role_before": "accountant", "role_now": "accountant", "status_now": "active", "since": None}
    assert found["role"] == {**same, "role_before": "marketer", "status_before": "active"}
    assert found["suspension"] == {**same, "status_before": "suspended"}
    assert found["removal"] == {**same, "status_before": "removed"}
    decided = {"role": "marketer", "status": "active"}
    path = f"/v1/users/{scene.people['role'].id}/review"
    done = await scene.api.ask("POST", path, token=ada.access, url=url, json=decided)
    assert (done.status, done.body["role"], done.body["revocation"]["complete"]) == (200, "marketer", True), done
    again = await scene.api.ask("POST", path, token=ada.access, url=url, json=decided)
    assert (again.status, again.body["code"]) == (409, "not_held")
    words = ("user", "review", "suspension@example.com", "--role", "accountant", "--status", "active")
    assert (await asyncio.to_thread(cli, scene.settings(), *words)).returncode == 0
    back = await scene.api.sign_in("suspension@example.com", url=url)
    assert (await scene.api.check(BILLING, token=back.access, url=url)).status == 200
    listed = await asyncio.to_thread(cli, scene.settings(), "user", "review", "--json")
    assert [held["email"] for held in json.loads(listed.stdout)["held"]] == ["removal@example.com"]
    assert (await asyncio.to_thread(cli, scene.settings(), "user", "review", "--all-as-stored")).returncode == 0
    assert (await asyncio.to_thread(cli, scene.settings(), "fsck")).returncode == 0


async def test_R48_an_unknown_loss_stays_closed_until_accepted(scene: Scene) -> None:
    """The journal has lost the entry of the role, and with it everything before."""
    with scene.server.client() as client:
        client.save()
    await scene.change_all()
    await asyncio.sleep(1)
    for process in scene.processes:
        assert process.stop(signal.SIGKILL) != 0
    (journal,) = Path(scene.settings()["STATE_DIR"]).rglob("00.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    role = scene.people["role"].id.encode()
    last = max(place for place, line in enumerate(lines) if role in line)
    journal.write_bytes(b"".join(line for place, line in enumerate(lines) if place != last))
    scene.server.kill()
    scene.server.start()
    url = scene.server.url
    scene.processes = [scene.start(REDIS_URL=url, LOG_FORMAT="json", wait=False) for _ in range(2)]

    await eventually(lambda: _reason_has(scene, "sidecar fsck --accept-loss"), 20)
    for kind in KINDS:
        assert (200, "allowed") not in await scene.answers(kind)
    assert not scene.ready()
    words = ("fsck", "--accept-loss", "hold-known", "--yes")
    accepted = await asyncio.to_thread(cli, scene.settings(), *words)
    assert accepted.returncode == 0, accepted

    await eventually(scene.ready, 10)
    for kind in ("suspension", "removal"):
        await eventually(lambda kind=kind: _all_are(scene, kind, (401, "needs_review")))
    for kind in ("role", "password"):
        assert await scene.answers(kind) == [(401, "revoked")] * 2


async def _reason_has(scene: Scene, text: str) -> bool:
    try:
        statuses = [await scene.api.ask("GET", "/status", url=process.ops) for process in scene.processes]
    except OSError:
        return False
    return all(text in (status.body["store_reason"] or "") for status in statuses)
