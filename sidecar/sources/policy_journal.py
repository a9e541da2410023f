"""Journal of a replacement of several policy files, in their folder: the new bytes of each, and the hashes of the old.

It exists before the first file is replaced and until the last one is. Each reader completes the replacement before it
reads, or reads the journal's bytes if it may not write. So no reader uses a mixture, and none undoes a later edit.
"""

import fcntl
import hashlib
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from sidecar.policy.diagnostics import POLICY_FILES, DiagnosticSink
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.sources.durable_files import replace_file, sync_folder, write_new
from sidecar.sources.file_modes import Writers, writers

JOURNAL: Final = ".rename-journal"
MAX_BYTES: Final = 128 * 1024 * 1024


class JournalError(Exception):
    """The journal cannot be used. The message names the path, the problem and the remedy."""


class _Entry(msgspec.Struct, frozen=True):
    name: str
    before: str
    length: int


class _Header(msgspec.Struct, frozen=True):
    """First line of the journal. ``digest``: of all bytes after it."""

    entries: list[_Entry]
    digest: str


@dataclass(frozen=True, slots=True)
class PendingFiles:
    """Content of a journal: the new bytes by name, and the hashes of those before."""

    files: Mapping[str, bytes]
    before: Mapping[str, str]

    def content(self, folder: Path, name: str, data: bytes) -> bytes:
        """Return the bytes of a file after the replacement. ``data``: on disk. Raises JournalError for a later edit."""
        if name not in self.files or _digest(data) in (self.before[name], _digest(self.files[name])):
            return self.files.get(name, data)
        raise JournalError(
            f"{folder / name}: was edited during an interrupted rename: compare it with the other files, "
            f"then delete {folder / JOURNAL}"
        )


def write(folder: Path, before: Mapping[str, bytes], changed: Mapping[str, bytes]) -> None:
    """Write the journal of a replacement, which is not begun. Raises OSError."""
    entries = [_Entry(name, _digest(before[name]), len(data)) for name, data in changed.items()]
    body = b"".join(changed.values())
    aside = folder / f"{JOURNAL}.new"
    aside.unlink(missing_ok=True)  # of a rename that was interrupted before it began
    header = msgspec.json.encode(_Header(entries, _digest(body)))
    try:
        write_new(aside, header + b"\n" + body, (folder / next(iter(changed))).stat())
        aside.replace(folder / JOURNAL)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    sync_folder(folder)


def exists(folder: Path) -> bool:
    """Return whether a replacement is under way or interrupted. One look at the folder, without opening a file."""
    try:
        (folder / JOURNAL).lstat()
    except OSError:
        return False
    return True


def pending(folder: Path) -> PendingFiles | None:
    """Read the journal. Raises JournalError."""
    descriptor = _opened(folder)
    if descriptor is None:
        return None
    try:
        return _read(folder, descriptor)
    finally:
        os.close(descriptor)


def finish(folder: Path, *, wait: bool = True) -> bool:
    """Complete a replacement. False: another process is at work, and ``wait`` is not set.

    Raises JournalError, and OSError if this user may not write.
    """
    descriptor = _opened(folder)
    if descriptor is None:
        return True
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        if _is_current(folder, descriptor):  # otherwise completed by the holder of the lock
            _finish_files(folder, _read(folder, descriptor))
    finally:
        os.close(descriptor)
    return True


def settle(folder: Path) -> PendingFiles | JournalError | None:
    """Complete an interrupted replacement. Return its files if this user may not write, or a reason to reject all."""
    if not exists(folder):
        return None
    try:
        with suppress(OSError):
            if finish(folder, wait=False):
                return None
        return pending(folder)
    except JournalError as error:
        return error


def complete(
    folder: Path, files: dict[str, bytes], found: PendingFiles | JournalError, findings: DiagnosticSink
) -> None:
    """Replace bytes that were read by those of the journal, or report why that is impossible."""
    try:
        if isinstance(found, JournalError):
            raise found
        files.update({name: found.content(folder, name, data) for name, data in files.items()})
    except JournalError as error:
        findings.add(Code.INTERRUPTED_RENAME, POLICY_FILES[0], (1, 1), str(error), "or restore the whole folder")


def _finish_files(folder: Path, found: PendingFiles) -> None:
    on_disk = {name: (folder / name).read_bytes() for name in found.files}
    wanted = {name: found.content(folder, name, data) for name, data in on_disk.items()}
    for name, data in wanted.items():
        if on_disk[name] != data:
            replace_file(folder / name, data)
    sync_folder(folder)
    (folder / JOURNAL).unlink(missing_ok=True)
    sync_folder(folder)


def _opened(folder: Path) -> int | None:
    if not exists(folder):
        return None
    try:
        return os.open(folder / JOURNAL, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(folder, f"cannot be read ({error.strerror})") from None


def _is_current(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat((folder / JOURNAL).lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read(folder: Path, descriptor: int) -> PendingFiles:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES or writers(status) is Writers.WORLD:
        raise _unusable(folder, "is not a regular file that only its owner can write")
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        head, _, body = file.read().partition(b"\n")
    try:
        header = msgspec.json.decode(head, type=_Header)
    except msgspec.DecodeError:
        raise _unusable(folder, "is damaged") from None
    if header.digest != _digest(body) or not {one.name for one in header.entries}.issubset(POLICY_FILES):
        raise _unusable(folder, "is damaged")
    files: dict[str, bytes] = {}
    for entry in header.entries:
        files[entry.name], body = body[: entry.length], body[entry.length :]
    return PendingFiles(files, {entry.name: entry.before for entry in header.entries})


def _unusable(folder: Path, problem: str) -> JournalError:
    return JournalError(f"{folder / JOURNAL}: {problem}: compare the policy files with each other, then delete it")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
