"""Files with trust settings: any user may read them, only their owner may write them.

Write access of a group other than the owner's own (file_modes.py) is an error and not a warning, because the file
decides which tokens are accepted. The file is opened once, without blocking on a pipe, and checked through the open
descriptor. Links are followed, because a ConfigMap is a folder of links.
"""

import os
import stat
from pathlib import Path

from sidecar.sources.file_modes import Writers, writers


class OwnerWritableFileError(Exception):
    """Raised for an unusable file. The message is one sentence with file, problem and remedy."""


def read_guarded(path: Path, *, limit: int) -> bytes:
    """Return the content, at most ``limit`` bytes. Raises OwnerWritableFileError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise OwnerWritableFileError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OwnerWritableFileError(f"{path}: is not a regular file: put the file itself there, or a link to it")
        if writers(status) is not Writers.OWNER:
            mode = stat.S_IMODE(status.st_mode)
            raise OwnerWritableFileError(
                f"{path}: users other than its owner can write it (mode {mode:04o}): chmod go-w {path}"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise OwnerWritableFileError(f"{path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise OwnerWritableFileError(f"{path}: is larger than {limit} bytes: put the right file there")
    return content
