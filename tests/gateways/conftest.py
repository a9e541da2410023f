"""Fixtures of the rig: one sidecar, one back end and one gateway of each kind for the whole run.

A run of this folder installs missing programs (``install.py``) before the first test. A test of a program that is still
missing is skipped with the reason; collection needs nothing but Python.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateways import install
from tests.gateways.rig.bench import Bench
from tests.gateways.rig.programs import PROGRAMS

HERE = Path(__file__).resolve().parent


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Install after the collection, because a run that lists or deselects all tests needs nothing."""
    if session.config.option.collectonly or not any(item.path.is_relative_to(HERE) for item in session.items):
        return
    if installs(session.config):
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        install.install_all(reporter.write_line if reporter else print)


def installs(config: pytest.Config) -> bool:
    """Return the options' choice, else whether this folder or a part of it was requested by name; false in a run of
    everything.
    """
    chosen = config.getoption("install_gateways", None)
    if chosen is not None:
        return bool(chosen)
    asked = [config.invocation_params.dir / word.partition("::")[0] for word in config.args]
    return any(path.resolve().is_relative_to(HERE) for path in asked)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize ``gateway`` with every gateway, unless the test has its own list."""
    if "gateway" in metafunc.fixturenames and not any(
        "gateway" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("gateway", PROGRAMS)


@pytest.fixture(scope="package")
def bench(redis_server_binary: str) -> Iterator[Bench]:
    """Everything except the gateways, which start when the first test requests them."""
    folder = Path(tempfile.mkdtemp(prefix="sgw-", dir="/tmp"))
    bench = Bench(folder, redis_server_binary)
    try:
        yield bench
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)
