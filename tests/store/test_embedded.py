"""The embedded store with real processes: one server under every race, and no acknowledged write lost by a kill."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from sidecar.store.embedded import embedded
from sidecar.store.embedded.embedded import EmbeddedServer
from sidecar.store.embedded.server_binary import ServerBinary, examine, find_server
from sidecar.store.errors import StoreMismatchError, StoreUnavailableError

PROGRAM = """
import asyncio, json, os, sys
from pathlib import Path
from sidecar.store.embedded.embedded import EmbeddedServer
from sidecar.store.embedded.server_binary import examine

async def main():
    binary = examine(Path(os.environ["BINARY"]))
    server = await EmbeddedServer.acquire(Path(sys.argv[1]), binary=binary)
    watching = asyncio.create_task(server.watch(0.02))
    print(json.dumps({"url": server.url, "owner": server.owner}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    watching.cancel()
    await server.stop()
    print(json.dumps({"stopped": True}), flush=True)

asyncio.run(main())
"""


@pytest.fixture
def binary(redis_server_binary: str) -> ServerBinary:
    found = examine(Path(redis_server_binary))
    assert isinstance(found, ServerBinary), found
    return found


class Sidecar:
    """A process that owns or joins the embedded store until it is stopped or killed."""

    def __init__(self, state: Path, binary: ServerBinary) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "BINARY": str(binary.path)},
        )

    def said(self) -> dict[str, object]:
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.said() == {"stopped": True}
        self.process.wait(10)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def sidecar(tmp_path: Path, binary: ServerBinary) -> Iterator[Callable[[], Sidecar]]:
    started: list[Sidecar] = []

    def start() -> Sidecar:
        started.append(Sidecar(tmp_path / "state", binary))
        return started[-1]

    yield start
    for one in started:
        one.close()


def client(url: str) -> redis.Redis:
    return redis.Redis(
        unix_socket_path=url.removeprefix("unix://"), decode_responses=True, socket_timeout=5, retry=embedded._ONCE
    )


def answers(url: str) -> bool:
    with client(url) as asked:
        try:
            return asked.ping()
        except (redis.RedisError, OSError):
            return False


def until(happens: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


async def test_it_starts_answers_stops_and_keeps_what_it_was_told(tmp_path, binary):
    server = await EmbeddedServer.acquire(tmp_path, binary=binary)
    assert server.owner
    with client(server.url) as asked:
        asked.set("told", "kept")
        assert asked.config_get("appendfsync") == {"appendfsync": "always"}
        assert asked.config_get("port") == {"port": "0"}
    await server.stop()
    assert not answers(server.url)

    again = await EmbeddedServer.acquire(tmp_path, binary=binary)
    with client(again.url) as asked:
        assert asked.get("told") == "kept"
    await again.stop()


async def test_its_folder_and_socket_are_private(tmp_path, binary):
    server = await EmbeddedServer.acquire(tmp_path / "state", binary=binary)
    try:
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        assert server.folder.stat().st_mode & 0o777 == 0o700
        assert Path(server.url.removeprefix("unix://")).stat().st_mode & 0o077 == 0
    finally:
        await server.stop()


async def test_a_path_too_long_for_a_socket_has_a_stable_private_path(tmp_path, binary):
    state = tmp_path / ("deep" * 20) / ("deeper" * 20)
    server = await EmbeddedServer.acquire(state, binary=binary)
    socket = Path(server.url.removeprefix("unix://"))
    try:
        assert len(os.fsencode(socket)) <= embedded.SOCKET_PATH_LIMIT
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        joined = await EmbeddedServer.acquire(state, binary=binary)
        assert (joined.owner, joined.url) == (False, server.url)
        await joined.stop()
    finally:
        await server.stop()
    socket.parent.rmdir()
    moved = await EmbeddedServer.acquire(state, binary=binary)
    await moved.stop()
    Path(moved.url.removeprefix("unix://")).parent.rmdir()


async def test_of_many_that_start_at_once_one_owns_the_only_server(tmp_path, binary):
    servers = await asyncio.gather(*(EmbeddedServer.acquire(tmp_path, binary=binary) for _ in range(8)))
    try:
        assert [server.owner for server in servers].count(True) == 1
        assert len({server.url for server in servers}) == 1
    finally:
        for server in sorted(servers, key=lambda server: server.owner):
            await server.stop()


def test_processes_that_race_to_start_share_one_server(sidecar):
    started = [sidecar() for _ in range(4)]
    said = [one.said() for one in started]

    assert [answer["owner"] for answer in said].count(True) == 1
    ids = set()
    for answer in said:
        with client(answer["url"]) as asked:
            ids.add(asked.info("server")["process_id"])
    assert len(ids) == 1


def test_the_server_ends_with_an_owner_that_is_killed(sidecar):
    owner = sidecar()
    url = owner.said()["url"]
    with client(url) as asked:
        pid = asked.info("server")["process_id"]

    owner.kill()

    if sys.platform == "linux":
        until(lambda: not Path(f"/proc/{pid}").exists())
    next_owner = sidecar()
    assert next_owner.said()["owner"] is True


def test_killing_the_owner_loses_no_acknowledged_write(sidecar):
    for round_ in range(3):
        owner = sidecar()
        url = owner.said()["url"]
        acknowledged = -1
        with client(url) as asked, contextlib.suppress(redis.RedisError, OSError):
            for number in range(5000):
                asked.set(f"n:{round_}", number)
                acknowledged = number
                if number == 200:
                    owner.process.send_signal(signal.SIGKILL)
        owner.process.wait(10)
        assert acknowledged >= 200
        after = sidecar()
        with client(after.said()["url"]) as asked:
            assert int(asked.get(f"n:{round_}")) >= acknowledged
        after.stop()


def test_a_guest_takes_over_when_the_owner_is_killed(sidecar):
    owner = sidecar()
    url = owner.said()["url"]
    guest = sidecar()
    assert guest.said() == {"url": url, "owner": False}
    with client(url) as asked:
        asked.set("told", "kept")
        old = asked.info("server")["process_id"]

    owner.kill()

    def taken_over() -> bool:
        with contextlib.suppress(redis.RedisError, OSError), client(url) as asked:
            return asked.info("server")["process_id"] != old
        return False

    until(taken_over)
    with client(url) as asked:
        assert asked.get("told") == "kept"
    guest.stop()
    assert not answers(url)


def test_an_owner_starts_a_server_that_died_again(sidecar):
    owner = sidecar()
    url = owner.said()["url"]
    with client(url) as asked:
        asked.set("told", "kept")
        os.kill(asked.info("server")["process_id"], signal.SIGKILL)

    until(lambda: answers(url))
    with client(url) as asked:
        assert asked.get("told") == "kept"
    owner.stop()


async def test_a_restart_of_the_server_is_reported(tmp_path, binary):
    server = await EmbeddedServer.acquire(tmp_path / "state", binary=binary)
    restarts: list[bool] = []
    server.on_restart = lambda: restarts.append(True)
    watching = asyncio.create_task(server.watch(0.01))
    try:
        await asyncio.sleep(0.05)
        assert restarts == []
        server._process.kill()
        while not restarts:
            await asyncio.sleep(0.01)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await server.stop()


async def test_an_orphan_is_ended_before_another_server_writes(tmp_path, binary, monkeypatch):
    """If the kernel does not end it (macOS), the next owner does, and never writes beside it."""
    monkeypatch.setattr(embedded.sys, "platform", "plan9")
    first = await EmbeddedServer.acquire(tmp_path, binary=binary)
    with client(first.url) as asked:
        asked.set("told", "kept")
        orphan = asked.info("server")["process_id"]
    os.close(first._owner)  # the kernel's effect on the lock of a killed owner
    first._owner = None

    second = await EmbeddedServer.acquire(tmp_path, binary=binary)

    with client(second.url) as asked:
        assert asked.info("server")["process_id"] != orphan
        assert asked.get("told") == "kept"
    assert first._process.wait(5) == 0
    await second.stop()


async def test_an_orphan_that_does_not_end_stops_the_start(tmp_path, binary, monkeypatch):
    monkeypatch.setattr(embedded, "_dismiss", lambda socket: None)
    first = await EmbeddedServer.acquire(tmp_path, binary=binary)
    owner, first._owner = first._owner, None
    os.close(owner)

    with pytest.raises(StoreUnavailableError, match="stop it by hand"):
        await EmbeddedServer.acquire(tmp_path, binary=binary, patience=0.2)

    await first.stop()


async def test_the_owner_waits_a_moment_for_another_command_line(tmp_path, binary):
    owner = await EmbeddedServer.acquire(tmp_path, binary=binary)
    guest = await EmbeddedServer.acquire(tmp_path, binary=binary)

    stopping = asyncio.create_task(owner.stop())
    await asyncio.sleep(0.1)
    assert answers(guest.url)
    await guest.stop()
    await stopping

    assert not answers(owner.url)


async def test_a_broken_data_file_stops_startup_with_its_error(tmp_path, binary):
    server = await EmbeddedServer.acquire(tmp_path, binary=binary)
    await server.stop()
    for file in server.folder.glob("**/*.aof*"):
        file.write_bytes(b"*3\r\n$9\r\nnot a data file\r\n" * 3)

    with pytest.raises(StoreUnavailableError, match=r"does not start: .*log"):
        await EmbeddedServer.acquire(tmp_path, binary=binary)


async def test_a_folder_that_cannot_be_is_refused_in_one_line(tmp_path, binary):
    (tmp_path / "state").write_text("a file")

    with pytest.raises(StoreMismatchError, match="SIDECAR_STATE_DIR") as refused:
        await EmbeddedServer.acquire(tmp_path / "state", binary=binary)

    assert "\n" not in str(refused.value)


def test_no_server_at_all_is_refused_with_the_fix(tmp_path, monkeypatch):
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.3 sha=0'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sidecar.store.embedded.server_binary.importlib.util.find_spec", lambda name: None)

    with pytest.raises(
        StoreMismatchError, match=r"version 5\.0\.3, but 6\.2 or newer is required.*SIDECAR_REDIS_URL"
    ) as refused:
        find_server()

    assert "\n" not in str(refused.value)


def test_a_program_that_is_no_server_is_passed_over(tmp_path):
    assert "does not run" in str(examine(tmp_path / "nothing"))
    assert "does not print its version" in str(examine(Path("/bin/true")))
