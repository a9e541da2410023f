"""Where the decision log's lines go: standard output, or a file that others rename and workers share.

Written by descriptor, and never in the middle of a line: what is one ``write`` to a file that is appended to, or is at
most PIPE_BUF long on a pipe, is not mixed with what another worker writes.
"""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from select import PIPE_BUF
from typing import Final

MODE: Final = 0o640
"""Who asked for what is nobody's business but the operator's, and his group's that ships logs."""

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK
"""NONBLOCK for the opening alone: without it, a pipe that nobody reads would hold us until somebody does."""


class LineFile:
    """For one thread. ``path`` None: standard output, which is neither opened nor closed here."""

    def __init__(self, path: Path | None) -> None:
        """Raises OSError."""
        self._path = path
        self._torn = False
        self._take(sys.stdout.fileno() if path is None else _open(path))

    def write(self, lines: bytes) -> int:
        """How many bytes were taken; fewer when the disk is full or nobody reads any more."""
        taken = 0
        with suppress(OSError):
            if self._torn:  # a full disk has taken half a line: the next one shall not continue it
                os.write(self._descriptor, b"\n")
                self._torn = False
            for piece in pieces(lines, self._most):
                start = taken
                while taken < start + len(piece):
                    taken += os.write(self._descriptor, piece[taken - start :])
        self._torn = self._torn or (taken > 0 and lines[taken - 1] != ord("\n"))
        return taken

    def reopen(self) -> None:
        """After the file was renamed: what is written from now on goes to a new one. Raises OSError, and then goes on
        with what is open."""
        if self._path is None:
            return
        before, after = self._descriptor, _open(self._path)
        self._torn = self._torn and os.path.sameopenfile(before, after)
        self._take(after)
        os.close(before)

    def close(self) -> None:
        if self._path is not None:
            os.close(self._descriptor)

    def _take(self, descriptor: int) -> None:
        self._descriptor = descriptor
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._most = sys.maxsize if regular else PIPE_BUF


def pieces(lines: bytes, most: int) -> Iterator[bytes]:
    """Whole lines, as many as fit into ``most`` bytes. One that is longer by itself comes alone."""
    start = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + most) + 1 or lines.find(b"\n", start) + 1 or len(lines)
        yield lines[start:end]
        start = end


def try_to_open(path: Path) -> None:
    """Raises the OSError that a `LineFile` would. Makes no file, and opens none that is not a regular one: whoever
    reads a pipe would take our leaving for the end."""
    try:
        if stat.S_ISREG(path.stat().st_mode):
            os.close(os.open(path, _FLAGS))
        elif path.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        elif not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except FileNotFoundError:
        folder = Path(os.path.realpath(path)).parent
        if not folder.is_dir():
            raise
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, f"the folder {folder} is not ours to write into") from None


def _open(path: Path) -> int:
    descriptor = os.open(path, _FLAGS | os.O_CREAT, MODE)
    os.set_blocking(descriptor, True)
    return descriptor
