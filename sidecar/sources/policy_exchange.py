"""Replacement of several policy files in one step: by an exchange of the folder, else by a journal (policy_journal.py).

A reader that compares the files' stamps afterwards sees all old files or all new ones, also after a crash at any point.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from sidecar.policy.diagnostics import POLICY_FILES
from sidecar.sources import policy_journal
from sidecar.sources.durable_files import sync_folder, take_owner, write_new

AT_FDCWD: Final = -100
RENAME_EXCHANGE: Final = 2
UNABLE: Final = frozenset(
    {errno.EXDEV, errno.EBUSY, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EROFS}
)
"""Errors of an exchange that a journal in the folder may avoid: a mount point, rights, the system."""


class PolicyWriteError(Exception):
    """The files could not be replaced; all are as before. The message names the path, the problem and the remedy."""


def replace_files(policy_dir: Path, before: Mapping[str, bytes], changed: Mapping[str, bytes]) -> None:
    """Replace files by their bare name, all or none. ``before``: their expected contents.

    Raises PolicyWriteError: the folder may not be written, or a file was changed meanwhile.
    """
    folder = policy_dir.resolve()
    try:
        with _locked(folder):
            policy_journal.finish(folder)
            _check_unchanged(folder, before)
            if not (_can_exchange(folder, changed) and _exchanged(folder, before, changed)):
                policy_journal.write(folder, before, changed)
                policy_journal.finish(folder)
    except policy_journal.JournalError as error:
        raise PolicyWriteError(str(error)) from None
    except OSError as error:
        raise PolicyWriteError(
            f"{policy_dir}: cannot be written ({error.strerror}): let this user write the folder and its files"
        ) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder, and the one around it, against other renames. Raises PolicyWriteError if one is at work."""
    with ExitStack() as stack:
        for one in (folder.parent, folder):
            try:
                descriptor = os.open(one, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except PermissionError:
                continue  # no exchange there, either
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PolicyWriteError(f"{folder}: another rename is at work; try again") from None
        yield


def _check_unchanged(folder: Path, before: Mapping[str, bytes]) -> None:
    for name, data in before.items():
        if name in POLICY_FILES and (folder / name).read_bytes() != data:
            raise PolicyWriteError(f"{folder / name}: was changed meanwhile; nothing is written; try again")


# -- exchange ----------------------------------------------------------------------------------------------------------


def _can_exchange(folder: Path, changed: Mapping[str, bytes]) -> bool:
    """Return False for links to files elsewhere, and for a working directory in the folder, which would be lost."""
    if any((folder / name).is_symlink() for name in changed):
        return False
    try:
        here = Path.cwd()
    except OSError:
        return True
    return folder != here and folder not in here.parents


def _exchanged(folder: Path, before: Mapping[str, bytes], changed: Mapping[str, bytes]) -> bool:
    """Exchange the folder for a copy with the changed files. False if this system or place cannot."""
    staged = folder.with_name(f".{folder.name}.renaming")
    try:
        _remove(staged)  # of an interrupted rename, which holds no lock
        _stage(folder, staged, changed)
        _exchange(staged, folder)
    except OSError as error:
        with suppress(OSError):
            _remove(staged)
        if error.errno in UNABLE or isinstance(error, shutil.Error):
            return False
        raise
    sync_folder(folder.parent)
    if _names(staged) != _names(folder) or not _holds(staged, before):
        _exchange(staged, folder)  # an edit during the copy: it is in the folder that was put aside
        _remove(staged)
        raise PolicyWriteError(f"{folder}: was changed meanwhile; nothing is written; try again")
    with suppress(OSError):  # only clutter is left
        _remove(staged)
    return True


def _holds(folder: Path, before: Mapping[str, bytes]) -> bool:
    return all((folder / name).read_bytes() == data for name, data in before.items() if name in POLICY_FILES)


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _stage(folder: Path, staged: Path, changed: Mapping[str, bytes]) -> None:
    """Make a copy with the changed files. Other files are linked, so that their owner, mode and bytes stay."""

    def replaced(here: str, _: list[str]) -> list[str]:
        return list(changed) if Path(here) == folder else []

    shutil.copytree(folder, staged, symlinks=True, copy_function=_link, ignore=replaced)
    take_owner(staged, folder.stat())
    for name, data in changed.items():
        write_new(staged / name, data, (folder / name).stat())
    sync_folder(staged)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _exchange(first: Path, second: Path) -> None:
    """Exchange two paths atomically (Linux). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    renameat2 = getattr(libc, "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _remove(folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
