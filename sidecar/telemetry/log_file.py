"""Output of the decision log: standard output, or a file that is rotated externally and shared by workers.

Lines are written by descriptor and never interleaved. One ``write`` to a file in append mode, or of at most PIPE_BUF
bytes to a pipe, is not mixed with the output of another worker.
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
"""Mode of the log file: users' requests are readable only by the owner and the group that ships logs."""

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK
"""Flags for opening. NONBLOCK is for the opening only: a pipe without a reader would block it."""


class LogFile:
    """Line writer for one thread. ``path`` None: standard output, which is neither opened nor closed here."""

    def __init__(self, path: Path | None) -> None:
        """Open the file. Raises OSError."""
        self._path = path
        self._torn = False
        self._take(sys.stdout.fileno() if path is None else _open(path))

    def write(self, lines: bytes) -> int:
        """Write ``lines`` and return the number of bytes written: fewer if the disk is full or a pipe has no reader."""
        taken = 0
        with suppress(OSError):
            if self._torn:  # a full disk cut a line: do not continue it with the next
                os.write(self._descriptor, b"\n")
                self._torn = False
            for piece in pieces(lines, self._most):
                start = taken
                while taken < start + len(piece):
                    taken += os.write(self._descriptor, piece[taken - start :])
        self._torn = self._torn or (taken > 0 and lines[taken - 1] != ord("\n"))
        return taken

    def reopen(self) -> None:
        """Open the path again after a rename and write to the new file.

        Raises OSError; writing then continues to the open file.
        """
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
    """Yield whole lines, as many as fit into ``most`` bytes. A longer line is yielded alone."""
    start = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + most) + 1 or lines.find(b"\n", start) + 1 or len(lines)
        yield lines[start:end]
        start = end


def try_to_open(path: Path) -> None:
    """Raise the OSError that opening the log would raise. Creates no file.

    Only regular files are opened: the reader of a pipe would take the close for the end.
    """
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
            raise PermissionError(13, f"no write permission for the folder {folder}") from None


def _open(path: Path) -> int:
    descriptor = os.open(path, _FLAGS | os.O_CREAT, MODE)
    os.set_blocking(descriptor, True)
    return descriptor
