"""Files that only this user may use: read safely, written atomically (R21).

A file that another user could have read, written or replaced is rejected; links are not followed. A new file is written
under a temporary name and then linked. Linking fails if the name exists, so only one of two processes, also on two
hosts, can create the file.

A mount may open files to a group (Kubernetes' fsGroup does at each mount). ``close_to_group`` removes that access
before the first read. A read-only mount prevents this. There, ``group_read`` accepts files that the group may read.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from sidecar.sources.checked_files import read_checked

MAX_FILE: Final = 16 * 1024
GROUP: Final = 0o070
OTHERS: Final = 0o007
GROUP_WRITE: Final = 0o020


class PrivateFileError(Exception):
    """Raised for an unusable private file. The message is one sentence with file, problem and remedy."""


def read_private(path: Path, *, limit: int = MAX_FILE, group_read: bool = False) -> tuple[bytes, int]:
    """Return the content of a private file and its time of the last write (Unix seconds).

    Raises FileNotFoundError, OSError and PrivateFileError. ``group_read``: on a read-only mount, accept a file of
    this user or of root that its group may read.
    """

    def check(descriptor: int, status: os.stat_result) -> None:
        _check_closed(path, status, "600", fixed=on_read_only_mount(descriptor), group_read=group_read)

    try:
        raw, status = read_checked(path, check, limit=limit, error=PrivateFileError, follow_links=False)
    except OSError as error:
        if path.is_symlink():
            raise PrivateFileError(f"{path}: is a symbolic link: put the file itself there") from error
        raise
    return raw, int(status.st_mtime)


def create_private(path: Path, content: bytes) -> bool:
    """Create ``path`` with mode 0600, complete and durable. Return False if the name exists."""
    try:
        _write_aside(path, (content,), os.link)
    except FileExistsError:
        return False
    return True


def replace_private(path: Path, *pieces: bytes) -> None:
    """Replace the content of ``path`` atomically: a reader sees the old or the new content."""
    _write_aside(path, pieces, os.replace)


def make_private_directory(directory: Path) -> None:
    """Create the missing part of the path with mode 0700."""
    for path in reversed([directory, *directory.parents]):
        if not path.exists():
            path.mkdir(mode=0o700, exist_ok=True)


def check_private_directory(directory: Path, *, group_read: bool = False) -> None:
    """Raise PrivateFileError unless only this user may use ``directory``. ``group_read``: as ``read_private``."""
    status = directory.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise PrivateFileError(f"{directory}: is not a directory: name a directory, or remove the file")
    _check_closed(directory, status, "700", fixed=on_read_only_mount(directory), group_read=group_read)


def sync_directory(directory: Path) -> None:
    """Make the names in ``directory`` durable: a key that signed a token must survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def close_to_group(directory: Path, names: Iterable[str] | None = None, *, bits: int = GROUP) -> Iterator[str]:
    """Remove the group's access to ``directory`` and to ``names`` in it (default: all). Yield a warning per path.

    A path is changed if it belongs to this user, is closed to others, and is open to the group by one of ``bits``. The
    checks of this module reject the rest.
    """
    try:
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        yield from _close_one(parent, directory, bits)
        for name in sorted(entry.name for entry in os.scandir(parent)) if names is None else names:
            yield from _close_child(parent, directory / name, bits)
    finally:
        os.close(parent)


def _close_child(parent: int, path: Path, bits: int) -> Iterator[str]:
    try:
        child = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return
    try:
        yield from _close_one(child, path, bits)
    finally:
        os.close(child)


def _close_one(descriptor: int, path: Path, bits: int) -> Iterator[str]:
    status = os.fstat(descriptor)
    mode = stat.S_IMODE(status.st_mode)
    ours = status.st_uid == os.geteuid() and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))
    if not ours or mode & OTHERS or not mode & bits or on_read_only_mount(descriptor):
        return
    closed = mode & 0o700
    try:
        os.fchmod(descriptor, closed)
    except OSError as error:
        yield f"{path}: has mode {mode:04o}, so its group can use it, and chmod fails: {error.strerror}"
        return
    if stat.S_IMODE(os.fstat(descriptor).st_mode) & GROUP:
        yield (
            f"{path}: has mode {mode:04o}, and this file system keeps no other: mount it with modes 0600 for files and "
            "0700 for directories, or set SIDECAR_KEYS_DIR and SIDECAR_STATE_DIR to another volume"
        )
    else:
        yield f"{path}: had mode {mode:04o}, so its group could use it (as fsGroup makes files): now {closed:04o}"


def on_read_only_mount(place: Path | int) -> bool:
    """Return True if ``place`` is on a read-only mount."""
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def _check_closed(path: Path, status: os.stat_result, mode: str, *, fixed: bool, group_read: bool) -> None:
    """Raise PrivateFileError if other users may use ``path``.

    ``fixed``: on a read-only mount, where chmod is no remedy.
    """
    own, found = os.geteuid(), stat.S_IMODE(status.st_mode)
    if fixed and group_read and status.st_uid in (own, 0) and not found & (OTHERS | GROUP_WRITE):
        return
    if status.st_uid != own:
        raise PrivateFileError(f"{path}: belongs to uid {status.st_uid}, the sidecar runs as {own}: chown {own} {path}")
    if found & (OTHERS | GROUP):
        remedy = f"chmod {mode} {path}"
        if fixed and not found & (OTHERS | GROUP_WRITE):
            remedy += " where it is mounted for writing, or set SIDECAR_KEYS_GROUP_READ=true"
        raise PrivateFileError(f"{path}: has mode {found:04o}, so others can use it: {remedy}")


def _write_aside(path: Path, pieces: Iterable[bytes], publish: Callable[[Path, Path], None]) -> None:
    aside = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        publish(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_directory(path.parent)
