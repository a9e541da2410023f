"""Target file of a backup: new, or in the place of a regular file of this user.

Rejects everything else under that name: a link, a pipe, a device, a file of another user. A rename would replace it. As
root, that breaks the machine (`/dev/stdout`) or leaves the backup in an unexpected place.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

PIPE: Final = "name a new file, or give `-` for standard output and let the shell redirect it"

_KINDS: Final = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a directory"),
)


class BackupTargetError(Exception):
    """Raised for a name that a backup must not replace. Message: the name, the existing file, the remedy."""


@contextmanager
def backup_target(path: Path) -> Iterator[BinaryIO]:
    """Yield a file, mode 0600, that gets the name when the block succeeds. Raises BackupTargetError, OSError."""
    check_target(path)
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        check_target(path)  # again, because a backup takes time
        draft.replace(path)
    finally:
        with suppress(OSError):  # absent after the rename
            draft.unlink()


def check_target(path: Path) -> None:
    """Raise BackupTargetError unless the name is free or belongs to a regular file of this user."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        raise BackupTargetError(
            f"{path}: is a symbolic link, to {path.readlink()}, and a backup would replace it: {PIPE}"
        )
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for fits, name in _KINDS if fits(status.st_mode)), "not a regular file")
        raise BackupTargetError(f"{path}: is {kind}, and a backup would replace it: {PIPE}")
    if status.st_uid != os.geteuid():
        raise BackupTargetError(
            f"{path}: belongs to uid {status.st_uid}, this is uid {os.geteuid()}: name a file of your own"
        )
