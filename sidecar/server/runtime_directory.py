"""Private directory of a supervisor and its workers, for their sockets and locks. Removed at the end.

It is created in the temporary directory. If that is not writable (a container with a read-only root), it is created in
the state directory, where it survives a kill. The next supervisor removes it there: a lock on the directory shows that
its supervisor is alive.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.config.settings import Settings
from sidecar.sources.private_files import make_private_directory

PREFIX: Final = "workers-"
SOCKET_PATH_LIMIT: Final = 100
"""Bytes. sun_path holds 108 on Linux and 104 on macOS, including the final NUL."""
LONGEST_NAME: Final = "/00-00000000.sock"


class RuntimeDirectoryError(Exception):
    """No directory is writable. One sentence with the directories, the reason and the remedy."""


class RuntimeDirectory:
    """Creates and locks a directory for this process, at ``path``, until ``remove``. Raises RuntimeDirectoryError."""

    def __init__(self, settings: Settings) -> None:
        self._lock: int | None = None
        try:
            self.path = self._made(lambda: Path(tempfile.mkdtemp(prefix="sidecar-")))
        except OSError as error:
            try:
                self.path = self._made(lambda: _in_state(settings.state_dir))
            except OSError as second:
                raise RuntimeDirectoryError(
                    f"SIDECAR_WORKERS={settings.workers}: no directory for the workers' sockets: the temporary one "
                    f"cannot be used ({error.strerror}), nor SIDECAR_STATE_DIR={settings.state_dir} "
                    f"({second.strerror}): mount a writable /tmp, or set TMPDIR or SIDECAR_STATE_DIR"
                ) from None

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _made(self, make: Callable[[], Path]) -> Path:
        path = make()
        try:
            _check_length(path)
            self._lock = _locked(path)
        except OSError:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return path


def _check_length(path: Path) -> None:
    if len(os.fsencode(path)) + len(LONGEST_NAME) > SOCKET_PATH_LIMIT:
        raise OSError(errno.ENAMETOOLONG, f"{path} is too long for a socket's path")


def _in_state(state_dir: Path) -> Path:
    state = state_dir.absolute()
    make_private_directory(state)
    for left in state.glob(f"{PREFIX}*"):
        _remove_if_left(left)
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=state))


def _remove_if_left(path: Path) -> None:
    try:
        lock = _locked(path)
    except OSError:  # its supervisor is alive, or another user owns it
        return
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
