"""The rig as fixtures: one sidecar, one back end and one gateway of each kind for the whole run.

A gateway whose program is missing is skipped with the reason; a machine with nothing but Python still collects all of
it.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateways.rig.bench import Bench
from tests.gateways.rig.programs import PROGRAMS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``gateway``: every one of them, unless a test names its own."""
    if "gateway" in metafunc.fixturenames and not any(
        "gateway" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("gateway", PROGRAMS)


@pytest.fixture(scope="session")
def bench(redis_server_binary: str) -> Iterator[Bench]:
    """Everything but the gateways, which start when the first test asks for them."""
    folder = Path(tempfile.mkdtemp(prefix="sgw-", dir="/tmp"))
    socket = folder / "redis"
    words = f"--port 0 --unixsocket {socket} --unixsocketperm 700 --dir {folder} --save ''".split()
    words[-1] = ""
    redis = subprocess.Popen([redis_server_binary, *words, "--appendonly", "yes"], stdout=subprocess.DEVNULL)
    bench = None
    try:
        deadline = time.monotonic() + 10
        while not socket.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        bench = Bench(folder, f"unix://{socket}")
        yield bench
    finally:
        if bench is not None:
            bench.stop()
        redis.terminate()
        redis.wait(10)
        shutil.rmtree(folder, ignore_errors=True)
