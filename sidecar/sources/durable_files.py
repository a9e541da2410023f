"""New files with the owner and mode of the files that they replace, written to disk before they get their name."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def write_new(path: Path, data: bytes, like: os.stat_result) -> None:
    """Write a new file with the owner and mode of another. Raises OSError."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        take_owner(path, like)
        path.chmod(stat.S_IMODE(like.st_mode))
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file atomically. A symbolic link stays; its target is replaced. Raises OSError."""
    path = path.resolve()
    aside = Path(tempfile.mktemp(prefix=f".{path.name}.", dir=path.parent))  # noqa: S306 - opened exclusively
    try:
        write_new(aside, data, path.stat())
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def take_owner(path: Path, like: os.stat_result) -> None:
    """Give the path the owner of another, if this user may. Otherwise this user owns it."""
    status = path.stat()
    if (status.st_uid, status.st_gid) != (like.st_uid, like.st_gid):
        with suppress(PermissionError):
            os.chown(path, like.st_uid, like.st_gid)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
