"""Fixtures of the live tests: processes that end with the test, and an HTTP client for them."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.live.support import ROOT, Http, Process, begin
from tests.ports import free_port

Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """``start(**settings)``: one more sidecar. All share a key directory and end with the test.

    ``own``: in its own interpreter in a ``folder``, as an operator starts it; otherwise forked by the fork server.
    """
    running: list[Process] = []

    def launch(*, wait: bool = True, own: bool = False, folder: Path = ROOT, **settings: str) -> Process:
        number = len(running)
        port, ops = free_port(), free_port()
        given = {
            "LISTEN": f"127.0.0.1:{port}",
            "OPS_LISTEN": f"127.0.0.1:{ops}",
            "STATE_DIR": str(tmp_path / "state"),
            "KEYS_DIR": str(tmp_path / "keys"),
            "ISSUER": "http://sidecar.test",
            "DECISION_LOG": str(tmp_path / f"decisions-{number}.log"),
            "LOG_FORMAT": "json",
            "DRAIN": "100ms",
            **settings,
        }
        log = tmp_path / f"sidecar-{number}.log"
        with log.open("wb") as sink:
            popen = begin(given, sink, own=own, folder=folder)
        process = Process(popen, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{ops}", log, given)
        running.append(process)
        return process.wait_ready() if wait else process

    yield launch
    for process in running:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait(10)


@pytest.fixture
async def http() -> AsyncIterator[Callable[[Process], Http]]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=30)
    ) as session:
        yield lambda process: Http(session, process.url)
