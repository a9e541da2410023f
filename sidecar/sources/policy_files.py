"""Policy files, read from disk as bytes, with diagnostics for all their problems as files (R25).

Each file is opened once and checked through the open descriptor: regular, at most 8 MiB, not writable by all users.
Write access of a group is a warning, except for the owner's own group (file_modes.py). The packaged files are trusted
like the code beside them. Links are followed, because a ConfigMap is a folder of links. Other files in the folder are
ignored.
"""

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.policy.diagnostics import (
    MODEL_FILE,
    NO_FILE,
    OPTIONAL_FILES,
    POLICY_FILES,
    POLICY_FOLDER,
    Diagnostic,
    DiagnosticSink,
    Severity,
    path_of,
)
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.sources import policy_journal
from sidecar.sources.file_modes import Writers, is_open_as_code, writers
from sidecar.sources.policy_journal import JournalError, PendingFiles

MAX_FILE: Final = 8 * 1024 * 1024

UNSETTLED_SECONDS: Final = 1.0
"""Minimum age of a file before its stamp is reliable.

A younger file may change again within one tick of the file system's clock (some milliseconds) and have the same stamp.
"""


class FileStamp(NamedTuple):
    """Metadata that identifies a file's content.

    Times in ns. The kernel sets ``changed``, and no user can set it back.
    """

    name: str
    device: int
    inode: int
    written: int
    changed: int
    size: int


Stamp = tuple[FileStamp, ...]
"""Stamps of the existing files."""


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """Result of one reading. ``files`` by bare name, without those rejected in ``diagnostics``.

    ``fingerprint`` changes with any byte and any rejection: two equal ones in a row mean that no write is in progress.
    ``stamp`` describes the files when they were opened. ``settled`` are the stamps that no later write can have.

    Exceptions to ``settled``: a write through a mapped page, and network file systems with unreliable times. See
    ``whole`` below.
    """

    files: Mapping[str, bytes]
    diagnostics: tuple[Diagnostic, ...]
    fingerprint: str
    stamp: Stamp
    settled: frozenset[FileStamp]

    def still_holds(self, stamp: Stamp) -> bool:
        """Return True if the files with this stamp (`stamp_of`) are the files that were read."""
        return stamp == self.stamp and self.settled.issuperset(stamp)


def read_policy_files(
    policy_dir: Path, model: Path, before: PolicyFiles | None = None, *, whole: bool = False
) -> PolicyFiles:
    """Read all readable files of a policy, with diagnostics for the others.

    ``before``: an earlier reading. The bytes of unchanged files are taken from it, unless ``whole`` is set. If nothing
    differs, its fingerprint is reused too. Reading and hashing megabytes would delay checks.
    """
    for _ in range(ATTEMPTS - 1):
        pending = policy_journal.settle(policy_dir)
        read = _read_all(policy_dir, model, before, pending, whole=whole)
        # The journal first: it is there until the last file is replaced, and the stamps show a replaced file.
        if pending is None and not policy_journal.exists(policy_dir) and _is_of_one_time(read, policy_dir, model):
            return read
    return _read_all(policy_dir, model, before, policy_journal.settle(policy_dir), whole=whole)


ATTEMPTS: Final = 3
"""Readings of files that are being replaced. The last one is returned, and an edit is compiled after two equal ones."""


def _is_of_one_time(read: PolicyFiles, policy_dir: Path, model: Path) -> bool:
    """Return whether all files were on disk together, so that no reading mixes two versions."""
    return set(stamp_of(policy_dir, model)).issuperset(read.stamp)


def _read_all(
    policy_dir: Path,
    model: Path,
    before: PolicyFiles | None,
    pending: PendingFiles | JournalError | None,
    *,
    whole: bool,
) -> PolicyFiles:
    findings = DiagnosticSink()
    files: dict[str, bytes] = {}
    stamps: list[FileStamp] = []
    settled: set[FileStamp] = set()
    findings.extend(_of_folder(policy_dir))
    for name, path in _paths(policy_dir, model):
        read = _read(name, path, findings, None if whole or pending is not None else before)
        if read is not None:
            files[name] = read.content
            stamps.append(read.stamp)
            if read.settled and pending is None:
                settled.add(read.stamp)
    if pending is not None:
        policy_journal.complete(policy_dir, files, pending, findings)
    diagnostics = findings.sorted()
    if before is not None and (before.files, before.diagnostics) == (files, diagnostics):
        return replace(before, stamp=tuple(stamps), settled=frozenset(settled))
    return PolicyFiles(files, diagnostics, _fingerprint(files, diagnostics), tuple(stamps), frozenset(settled))


def stamp_of(policy_dir: Path, model: Path) -> Stamp:
    """Return the stamps of the files without reading them. Cheap enough for frequent polling.

    Compare with `PolicyFiles.still_holds`.
    """
    stamps = []
    for name, path in _paths(policy_dir, model):
        try:
            stamps.append(_stamp(name, path.stat()))
        except OSError:
            continue  # missing, as in a reading
    return tuple(stamps)


def packaged() -> tuple[Path, Path]:
    """Return the policy folder and the model of the package.

    They are the templates in a wheel, and the repository's own files in a checkout.
    """
    package = Path(__file__).resolve().parent.parent
    templates = package / "templates"
    root = templates if (templates / MODEL_FILE).is_file() else package.parent
    return root / "policy", root / MODEL_FILE


def _paths(policy_dir: Path, model: Path) -> Iterator[tuple[str, Path]]:
    yield MODEL_FILE, model
    for name in POLICY_FILES:
        yield name, policy_dir / name


class _Read(NamedTuple):
    content: bytes
    stamp: FileStamp
    settled: bool


def _read(name: str, path: Path, findings: DiagnosticSink, before: PolicyFiles | None) -> _Read | None:
    try:
        # O_NONBLOCK: a FIFO in the place of a file must not block the reader.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        if path.is_symlink():
            findings.add(Code.MISSING_FILE, name, (1, 1), "the file is missing: the link leads nowhere", NO_FILE)
        elif name not in OPTIONAL_FILES:
            findings.add(Code.MISSING_FILE, name, (1, 1), "the file is missing", NO_FILE)
        return None
    except OSError as error:
        if name in OPTIONAL_FILES and isinstance(error, NotADirectoryError) and not path.is_symlink():
            return None  # the folder is no folder, as the other files report
        _unreadable(name, error, findings)
        return None
    try:
        status = os.fstat(descriptor)
        if not _is_acceptable(name, path, status, findings):
            return None
        stamp = _stamp(name, status)
        if before is not None and stamp in before.settled:
            return _Read(before.files[name], stamp, settled=True)
        settled = _is_settled(stamp)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        _unreadable(name, error, findings)
        return None
    finally:
        os.close(descriptor)
    if len(content) > MAX_FILE:
        report_too_large(name, findings)
        return None
    return _Read(content, stamp, settled)


def _is_acceptable(name: str, path: Path, status: os.stat_result, findings: DiagnosticSink) -> bool:
    if not stat.S_ISREG(status.st_mode):
        message = "not a regular file"
        findings.add(Code.UNREADABLE_FILE, name, (1, 1), message, "put the file itself there, or a link to it")
        return False
    opened = _opened(path, status, "file")
    if opened is not None:
        severity, message, hint = opened
        findings.extend((Diagnostic(severity, Code.FILE_PERMISSIONS, path_of(name), 1, 1, message, hint),))
        if severity is Severity.ERROR:
            return False
    if status.st_size > MAX_FILE:
        report_too_large(name, findings)
        return False
    return True


def _of_folder(policy_dir: Path) -> Iterator[Diagnostic]:
    """Yield a finding if users other than the owner may write the folder and so replace its files.

    An error for all users, but a warning on a read-only file system, such as a ConfigMap (mode 0777), and for a group:
    the operator cannot always choose a volume's mode. In a sticky folder, users cannot replace files of others.
    """
    try:
        status = policy_dir.stat()
        read_only = bool(os.statvfs(policy_dir).f_flag & os.ST_RDONLY)
    except OSError:
        return  # reported for each file
    opened = None if status.st_mode & stat.S_ISVTX else _opened(policy_dir, status, "folder")
    if opened is not None:
        severity, message, hint = opened
        severity = Severity.WARNING if read_only else severity
        yield Diagnostic(severity, Code.FILE_PERMISSIONS, POLICY_FOLDER, 1, 1, message, hint)


def _opened(path: Path, status: os.stat_result, what: str) -> tuple[Severity, str, str] | None:
    """Return severity, message and hint if users other than the owner may write ``path``, else None."""
    may_write = writers(status)
    if may_write is Writers.OWNER or (_is_packaged(path) and is_open_as_code(status)):
        return None
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    if may_write is Writers.WORLD:
        return Severity.ERROR, f"all users can write the {what} (mode {mode})", f"chmod go-w {_shown(path)}"
    message = f"the group {status.st_gid} can write the {what} (mode {mode}), not only its owner"
    return Severity.WARNING, message, f"chmod g-w {_shown(path)}"


def _is_packaged(path: Path) -> bool:
    folder, model = packaged()
    return path in {folder, model} or path.parent == folder


def _shown(path: Path) -> str:
    """Return a printable path.

    Paths may contain bytes that are not text, and diagnostics appear in logs and responses.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def report_too_large(name: str, findings: DiagnosticSink) -> None:
    findings.add(
        Code.FILE_TOO_LARGE, name, (1, 1), f"the file is larger than {MAX_FILE // 2**20} MiB", "use * and inheritance"
    )


def _unreadable(name: str, error: OSError, findings: DiagnosticSink) -> None:
    message = f"the file cannot be read: {error.strerror}"
    findings.add(Code.UNREADABLE_FILE, name, (1, 1), message, "put a file there that this user may read")


def _stamp(name: str, status: os.stat_result) -> FileStamp:
    return FileStamp(name, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


def _is_settled(stamp: FileStamp) -> bool:
    """Return True if the kernel's time of the last change is old enough.

    ``written`` is not used, because it may be in the future (from an archive).
    """
    return time.time() - stamp.changed / 1e9 > UNSETTLED_SECONDS


def _fingerprint(files: Mapping[str, bytes], diagnostics: tuple[Diagnostic, ...]) -> str:
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    for diagnostic in diagnostics:
        digest.update(f"{diagnostic}\n".encode())
    return digest.hexdigest()
