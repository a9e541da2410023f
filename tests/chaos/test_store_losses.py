"""R46, R47, R49: a store that loses its data, or turns into another one, under running sidecars.

Truth: no allow after lease + 0.5 s that the last acknowledged state would deny; `/readyz` is 503 within a second of the
first denial for everybody; one log line down and one up; the known store is taken up again without a hand.
"""

import asyncio
import json
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.rig import LEASE, RedisServer, Relay
from tests.live.conftest import Start
from tests.live.support import Answer, Http, Person, Process, cli, eventually, found_account

SLACK = 0.5
READY_WITHIN = 1.0
FEED, META = "sc:{p00}:feed", "sc:meta"
UNAVAILABLE = (403, "store_unavailable")

pytestmark = pytest.mark.slow


@dataclass
class Scene:
    """Two sidecars on one store, an administrator, and an accountant known to both."""

    api: Http
    server: RedisServer
    processes: list[Process]
    ada: Person
    bob: Person

    async def answers(self, who: Person, path: str = "/dashboard/billing/x") -> list[tuple[int, str]]:
        found = await asyncio.gather(*(self.api.check(path, token=who.access, url=p.url) for p in self.processes))
        return [(one.status, one.headers["X-Auth-Reason"]) for one in found]

    async def change_role(self, role: str) -> Answer:
        return await self.api.ask("PATCH", f"/v1/users/{self.bob.id}", token=self.ada.access, json={"role": role})

    def lines(self, process: Process, message: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]
        return [line for line in found if line.get("message") == message]

    def ready(self) -> list[int | None]:
        return [process.http_status("/readyz") for process in self.processes]


@pytest.fixture
async def stage(
    start: Start, http: Callable[[Process], Http], redis_server: Callable[..., RedisServer]
) -> Callable[..., Awaitable[Scene]]:
    async def made(url: str | None = None, server: RedisServer | None = None) -> Scene:
        server = server or redis_server("--enable-debug-command", "yes")
        processes = [start(REDIS_URL=url or server.url, LOG_FORMAT="json", wait=False) for _ in range(2)]
        for process in processes:  # a relay runs on this loop: nothing here may block it
            await eventually(lambda process=process: process.http_status("/readyz") == 200)
        api = http(processes[0])
        await asyncio.to_thread(found_account, processes[0])
        ada = await api.sign_in("ada@example.com")
        scene = Scene(api, server, processes, ada, await api.join(ada, "bob@example.com", "accountant"))
        await eventually(lambda: all_are(scene, (200, "allowed")))
        return scene

    return made


async def all_are(scene: Scene, wanted: tuple[int, str]) -> bool:
    return await scene.answers(scene.bob) == [wanted] * 2


async def denied_everywhere(scene: Scene) -> None:
    """From lease + slack on nothing is allowed, readiness agrees, and each sidecar has written one line."""
    await asyncio.sleep(LEASE + SLACK)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert await scene.answers(scene.bob) == [UNAVAILABLE] * 2
        assert await scene.answers(scene.ada, "/dashboard/users/") == [UNAVAILABLE] * 2
        assert scene.ready() == [503, 503]
        await asyncio.sleep(0.1)
    for process in scene.processes:
        assert process.popen.poll() is None, "the sidecar has ended"
        assert len(scene.lines(process, "store unavailable")) <= 2
        assert scene.lines(process, "store unavailable")[-1]["partitions"] == ["00"]


def delete(*keys: str) -> Callable[[Any], object]:
    return lambda client: client.delete(*keys)


def set_text(key: str) -> Callable[[Any], object]:
    """The key becomes a string where a stream or a sorted set has to be."""
    return lambda client: (client.delete(key), client.set(key, "x"))


LOSSES: dict[str, Callable[[Any], object]] = {
    "flushall": lambda client: client.flushall(),
    "flushdb": lambda client: client.flushdb(),
    "swapdb": lambda client: client.execute_command("SWAPDB", 0, 1),
    "every key of ours": lambda client: client.delete(*client.keys("sc:*")),
    "the partition's meta record": delete("sc:{p00}:meta"),
    "another data set's id": lambda client: client.set(f"{FEED}:gen", "another"),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_R46_a_store_that_lost_its_data_allows_nothing(stage: Callable[..., Awaitable[Scene]], loss: str) -> None:
    scene = await stage()
    with scene.server.client() as client:
        kept = {key: client.dump(key) for key in client.keys("sc:*")}
        LOSSES[loss](client)
        await denied_everywhere(scene)

        client.flushdb()
        for key, dump in kept.items():
            client.restore(key, 0, dump, replace=True)
    back = time.monotonic()
    await eventually(lambda: all_are(scene, (200, "allowed")), 5)
    assert time.monotonic() - back < LEASE + SLACK + 1
    await eventually(lambda: scene.ready() == [200, 200], 5)
    for process in scene.processes:
        await eventually(lambda process=process: scene.lines(process, "store available again"), 5)
        assert len(scene.lines(process, "store available again")) == 1


async def test_R48_a_lost_feed_and_counter_end_every_session(
    stage: Callable[..., Awaitable[Scene]],
) -> None:
    """The data set is the known one and counts less than what was seen: taken for an older copy. The journals know all
    of it, so the sidecars recover by themselves."""
    scene = await stage()
    with scene.server.client() as client:
        client.delete(f"{FEED}:n", FEED)
    await asyncio.sleep(LEASE + SLACK)
    until = time.monotonic() + 10
    while time.monotonic() < until and scene.ready() != [200, 200]:
        assert (200, "allowed") not in await scene.answers(scene.bob)
        await asyncio.sleep(0.1)
    assert await scene.answers(scene.bob) == [(401, "revoked")] * 2
    scene.bob = await scene.api.sign_in("bob@example.com")
    await eventually(lambda: all_are(scene, (200, "allowed")))


HARMLESS: dict[str, Callable[[Any], object]] = {
    "the data set's id": delete(f"{FEED}:gen"),
    "the counter": delete(f"{FEED}:n"),
    "the feed": delete(FEED),
    "the feed's entries": lambda client: client.xtrim(FEED, maxlen=0, approximate=False),
    "the sidecars": delete("sc:{p00}:side", "sc:{p00}:side:lease", "sc:{p00}:side:applied", "sc:{p00}:side:told"),
    "the scripts": lambda client: client.script_flush(),
    "connections": lambda client: client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
}


@pytest.mark.parametrize("loss", HARMLESS)
async def test_R46_a_loss_that_can_be_repaired_is_repaired(stage: Callable[..., Awaitable[Scene]], loss: str) -> None:
    """Nothing that was acknowledged is gone: changes go on, and every sidecar follows them."""
    scene = await stage()
    with scene.server.client() as client:
        HARMLESS[loss](client)
    await asyncio.sleep(LEASE)
    changed = await scene.change_role("marketer")
    assert (changed.status, changed.body["revocation"]["complete"]) == (200, True), changed
    assert await scene.answers(scene.bob) == [(403, "no_rule")] * 2
    assert scene.ready() == [200, 200]


async def test_R46_an_older_dump_loaded_in_place_restores_no_access(
    stage: Callable[..., Awaitable[Scene]],
) -> None:
    scene = await stage()
    folder = scene.server.folder
    with scene.server.client() as client:
        client.save()
        shutil.copy(folder / "dump.rdb", folder / "older.rdb")
        assert (await scene.change_role("marketer")).status == 200
        assert await scene.answers(scene.bob) == [(403, "no_rule")] * 2
        shutil.copy(folder / "older.rdb", folder / "dump.rdb")
        client.execute_command("DEBUG", "RELOAD", "NOSAVE")
    until = time.monotonic() + LEASE + SLACK + 2
    while time.monotonic() < until:
        assert (200, "allowed") not in await scene.answers(scene.bob)
        await asyncio.sleep(0.05)
    for process in scene.processes:
        (line,) = scene.lines(process, "store unavailable")
        assert line["state"] == "regressed"


@pytest.mark.parametrize("cut", [True, False], ids=["connections cut", "new connections alone"])
@pytest.mark.parametrize("other", ["empty", "another application's", "another environment's"])
async def test_R46_an_address_moved_to_another_store_allows_nothing(
    stage: Callable[..., Awaitable[Scene]],
    start: Start,
    redis_server: Callable[..., RedisServer],
    other: str,
    cut: bool,
) -> None:
    here, there = redis_server(), redis_server()
    if other == "another environment's":
        stranger = start(REDIS_URL=there.url, ISSUER="https://other.example")
        found_account(stranger)
    elif other == "another application's":
        with there.client() as client:
            client.lpush("celery", "x")
    async with Relay(here.port) as relay:
        scene = await stage(relay.url, here)
        relay.turn_to(there.port)
        if not cut:
            with here.client() as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await denied_everywhere(scene)
        with there.client() as client:
            ours = [key for key in client.keys("sc:*") if other != "another environment's"]
            assert [key for key in ours if ":a:" in key or key == META] == [], "a running sidecar writes no store anew"

        relay.turn_to(here.port)
        await eventually(lambda: all_are(scene, (200, "allowed")), 5)
        await eventually(lambda: scene.ready() == [200, 200], 5)


async def test_R49_readiness_follows_within_a_second(stage: Callable[..., Awaitable[Scene]]) -> None:
    scene = await stage()
    with scene.server.client() as client:
        client.flushall()
    gone = time.monotonic()
    await eventually(lambda: scene.ready() == [503, 503], 5)
    assert time.monotonic() - gone < READY_WITHIN + SLACK
    status = await scene.api.ask("GET", "/status", url=scene.processes[0].ops)
    assert (status.body["store_state"], status.body["store"]) == ("changed", "unavailable")
    assert "gone" in status.body["store_reason"]
    metrics = (await scene.api.ask("GET", "/metrics", url=scene.processes[0].ops)).body.decode()
    assert 'sidecar_store_state{partition="00",state="changed"} 1.0' in metrics
    assert 'sidecar_store_state{partition="00",state="ok"} 0.0' in metrics
    verbose = (await scene.api.ask("GET", "/readyz?verbose", url=scene.processes[0].ops)).body.decode()
    assert "[-]store failed: partition 00 store_changed" in verbose


async def test_R46_our_own_restore_is_followed(stage: Callable[..., Awaitable[Scene]], tmp_path: Path) -> None:
    """It gives the store another data set, and says so in the feed: nobody has to restart."""
    scene = await stage()
    settings, file = scene.processes[0].settings, str(tmp_path / "backup")
    assert cli(settings, "backup", file).returncode == 0
    assert (await scene.change_role("marketer")).status == 200

    restored = cli(settings, "restore", file)

    assert restored.returncode == 0, restored
    await eventually(lambda: all_are(scene, (401, "revoked")), LEASE + SLACK)
    scene.bob = await scene.api.sign_in("bob@example.com")
    await eventually(lambda: all_are(scene, (200, "allowed")))
    assert scene.ready() == [200, 200]
    assert [scene.lines(process, "store unavailable") for process in scene.processes] == [[], []]


async def test_R46_a_restart_accepts_a_new_store_but_not_a_lost_meta(
    stage: Callable[..., Awaitable[Scene]], start: Start
) -> None:
    scene = await stage()
    with scene.server.client() as client:
        client.delete(META)
    await eventually(lambda: scene.ready() == [503, 503], 70)
    refused = start(REDIS_URL=scene.server.url, wait=False)
    await eventually(lambda: refused.popen.poll() is not None)
    assert refused.popen.poll() == 2
    assert "fsck --repair" in refused.output()

    assert cli(scene.processes[0].settings, "fsck", "--repair").returncode == 0
    for process in scene.processes:
        assert process.stop() == 0
    start(REDIS_URL=scene.server.url)
