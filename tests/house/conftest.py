"""Input of the house tests: the repository's tracked files."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT = {".venv", "venv", "build", "dist", "__pycache__", ".git", ".sidecar", ".installed"}


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """Return every tracked file; without git (an unpacked sdist) every file that is no build's."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return sorted(_walked(ROOT))
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def _walked(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name in BUILT or entry.name.endswith((".egg-info", "_cache")):
            continue
        if entry.is_dir():
            yield from _walked(entry)
        else:
            yield entry
