"""Files that are this user's alone: read without being fooled, made whole or not at all (R21).

Refuses what another user could have read, written or swapped: a file is opened without following links and judged
through the open descriptor. A file appears whole under its name or not at all: written aside, then linked, which fails
where the name is taken; so two processes, also on two hosts, cannot both be the one that made it.
"""

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

MAX_FILE: Final = 16 * 1024


class PrivateFileProblem(Exception):
    """A private file cannot be used: one sentence with the file, what is wrong with it, and how to mend it."""


def read_private(path: Path, *, limit: int = MAX_FILE) -> tuple[bytes, int]:
    """The content of a private file, and when it was written (Unix seconds). FileNotFoundError when it is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise PrivateFileProblem(f"{path}: is a symbolic link: put the file itself there") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PrivateFileProblem(f"{path}: is not a regular file: put the file itself there")
        _check_closed(path, status, "600")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            raw = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(raw) > limit:
        raise PrivateFileProblem(f"{path}: is larger than {limit} bytes: put the right file there")
    return raw, int(status.st_mtime)


def create_private(path: Path, content: bytes) -> bool:
    """Make ``path``, mode 0600, whole and durable; False when the name is taken already."""
    try:
        _write_aside(path, (content,), os.link)
    except FileExistsError:
        return False
    return True


def replace_private(path: Path, *pieces: bytes) -> None:
    """Give ``path`` this content at once: a reader sees the old or the new, never a part."""
    _write_aside(path, pieces, os.replace)


def make_private_directory(directory: Path) -> None:
    """Make what is missing of the path, closed to others from the start."""
    for path in reversed([directory, *directory.parents]):
        if not path.exists():
            path.mkdir(mode=0o700, exist_ok=True)


def check_private_directory(directory: Path) -> None:
    """Raise PrivateFileProblem unless ``directory`` is this user's alone."""
    status = directory.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise PrivateFileProblem(f"{directory}: is not a directory: name a directory, or take the file away")
    _check_closed(directory, status, "700")


def sync_directory(directory: Path) -> None:
    """Make the names in ``directory`` durable: what signed a token must be there after a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_closed(path: Path, status: os.stat_result, mode: str) -> None:
    own = os.geteuid()
    if status.st_uid != own:
        raise PrivateFileProblem(
            f"{path}: belongs to uid {status.st_uid}, the sidecar runs as {own}: chown {own} {path}"
        )
    if status.st_mode & 0o077:
        found = stat.S_IMODE(status.st_mode)
        raise PrivateFileProblem(f"{path}: has mode {found:04o}, so others can use it: chmod {mode} {path}")


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
