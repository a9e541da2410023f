"""The directory of several workers: a temporary one, else in the state directory, else one error line."""

import errno
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.config import settings
from sidecar.server.runtime_directory import PREFIX, RuntimeDirectory, RuntimeDirectoryError

real = tempfile.mkdtemp


def of(state: Path) -> settings.Settings:
    return settings.load({}, {"SIDECAR_STATE_DIR": str(state), "SIDECAR_WORKERS": "2"})


@pytest.fixture
def state() -> Iterator[Path]:
    """A folder with a path as short as a socket needs."""
    base = Path(real(prefix="sct-"))
    yield base / "state"
    shutil.rmtree(base)


@pytest.fixture
def nothing_temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a read-only root and no volume at /tmp."""

    def mkdtemp(*arguments: Any, **options: Any) -> str:
        if options.get("dir") is None:
            raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
        return real(*arguments, **options)

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)


def test_a_temporary_directory_is_taken_and_removed(tmp_path: Path) -> None:
    folder = RuntimeDirectory(of(tmp_path / "state"))
    assert folder.path.parent == Path(tempfile.gettempdir())
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.remove()
    assert not folder.path.exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.usefixtures("nothing_temporary")
def test_without_a_temporary_folder_the_state_directory_serves(state: Path) -> None:
    first, second = RuntimeDirectory(of(state)), RuntimeDirectory(of(state))
    assert first.path.parent == second.path.parent == state
    assert first.path != second.path
    assert {stat.S_IMODE(one.path.stat().st_mode) for one in (first, second)} == {0o700}
    first.remove()
    second.remove()
    assert list(state.iterdir()) == []


@pytest.mark.usefixtures("nothing_temporary")
def test_a_killed_supervisors_files_are_removed_a_live_ones_stay(state: Path) -> None:
    alive = RuntimeDirectory(of(state))
    (state / f"{PREFIX}left").mkdir()
    (state / f"{PREFIX}left" / "0-0.sock").touch()
    (state / f"{PREFIX}file").touch()
    later = RuntimeDirectory(of(state))
    assert {path.name for path in state.iterdir()} == {alive.path.name, later.path.name, f"{PREFIX}file"}
    alive.remove()
    later.remove()


@pytest.mark.usefixtures("nothing_temporary")
@pytest.mark.parametrize("name", ["deep/" * 20, "file/state"])
def test_no_directory_at_all_is_one_sentence_with_the_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RuntimeDirectoryError) as caught:
        RuntimeDirectory(of(tmp_path / name))
    message = str(caught.value)
    assert message.startswith("SIDECAR_WORKERS=2: no directory for the workers' sockets: ")
    assert f"SIDECAR_STATE_DIR={tmp_path / name}" in message.replace("//", "/")
    assert message.endswith(": mount a writable /tmp, or set TMPDIR or SIDECAR_STATE_DIR")
    if name.startswith("deep"):
        assert list((tmp_path / name).iterdir()) == []
