"""Reader of the console's files: read once at the start, never per request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

CONSOLE: Final = Path(__file__).resolve().parent.parent / "console"
"""Folder of the package."""

SUFFIXES: Final = frozenset({".html", ".js", ".css", ".svg"})
"""Suffixes of the files that are served. Others in the folder are ignored."""


class ConsoleFilesError(Exception):
    """The console's files are unreadable or absent. One sentence: folder, reason, remedy."""


def read_console(folder: Path = CONSOLE) -> Mapping[str, bytes]:
    """Return the content of each file of the folder, by name. Raises ConsoleFilesError."""
    try:
        files = {
            path.name: path.read_bytes()
            for path in sorted(folder.iterdir())
            if path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()
        }
    except OSError as error:
        raise ConsoleFilesError(_complaint(folder, error.strerror or str(error))) from None
    if "index.html" not in files:
        raise ConsoleFilesError(_complaint(folder, "index.html is absent"))
    return files


def _complaint(folder: Path, why: str) -> str:
    remedy = "install the package again, or set SIDECAR_CONSOLE=false"
    return f"the console's files in {folder} cannot be used: {why}: {remedy}"
