"""Files with trust settings: any user may read them, only their owner may write them.

Write access of a group other than the owner's own (file_modes.py) is an error and not a warning, because the file
decides which tokens are accepted. Links are followed, because a ConfigMap is a folder of links.
"""

import os
import stat
from pathlib import Path

from sidecar.sources.checked_files import read_checked
from sidecar.sources.file_modes import Writers, writers


class OwnerWritableFileError(Exception):
    """Raised for an unusable file. The message is one sentence with file, problem and remedy."""


def read_guarded(path: Path, *, limit: int) -> bytes:
    """Return the content, at most ``limit`` bytes. Raises OwnerWritableFileError."""

    def check(_descriptor: int, status: os.stat_result) -> None:
        if writers(status) is not Writers.OWNER:
            mode = stat.S_IMODE(status.st_mode)
            raise OwnerWritableFileError(
                f"{path}: users other than its owner can write it (mode {mode:04o}): chmod go-w {path}"
            )

    try:
        content, _ = read_checked(path, check, limit=limit, error=OwnerWritableFileError, follow_links=True)
    except OSError as error:
        raise OwnerWritableFileError(f"{path}: cannot be read: {error.strerror}") from None
    return content
