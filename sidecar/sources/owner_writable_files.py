"""Files that anybody may read and only their owner may write: whom to trust stands in them.

A group that may write the file is an error as well, but its owner's own (file_modes.py): the file decides whose tokens
pass, and there is no place for a warning. Opened once, without waiting for a pipe's other end, and judged through the
open descriptor. Links are followed: a ConfigMap is a folder of links.
"""

import os
import stat
from pathlib import Path

from sidecar.sources.file_modes import Writers, writers


class GuardedFileProblem(Exception):
    """The file cannot be used: one sentence with the file, what is wrong with it, and how to mend it."""


def read_guarded(path: Path, *, limit: int) -> bytes:
    """The content. Raises GuardedFileProblem."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise GuardedFileProblem(f"{path}: cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise GuardedFileProblem(f"{path}: is not a regular file: put the file itself there, or a link to it")
        if writers(status) is not Writers.OWNER:
            mode = stat.S_IMODE(status.st_mode)
            raise GuardedFileProblem(f"{path}: others than its owner can write it (mode {mode:04o}): chmod go-w {path}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise GuardedFileProblem(f"{path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise GuardedFileProblem(f"{path}: is larger than {limit} bytes: put the right file there")
    return content
