"""The rig as fixtures: one sidecar, one back end and one gateway of each kind for the whole run.

A gateway whose program is missing is skipped with the reason; a machine with nothing but Python still collects all of
it.
"""

import shutil
import tempfile
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


@pytest.fixture(scope="package")
def bench(redis_server_binary: str) -> Iterator[Bench]:
    """Everything but the gateways, which start when the first test asks for them."""
    folder = Path(tempfile.mkdtemp(prefix="sgw-", dir="/tmp"))
    bench = Bench(folder, redis_server_binary)
    try:
        yield bench
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)
