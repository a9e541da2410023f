"""Reading of files whose owner and mode are checked: opened once, checked through the open descriptor."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

Check = Callable[[int, os.stat_result], None]
"""Check of a regular file by its descriptor and status. Raises the caller's exception for an unacceptable file."""


def read_checked(
    path: Path, check: Check, *, limit: int, error: type[Exception], follow_links: bool
) -> tuple[bytes, os.stat_result]:
    """Return content and status of a regular file of at most ``limit`` bytes.

    Raises OSError, ``error`` for another kind of file or a larger one, and the exceptions of ``check``.
    """
    # O_NONBLOCK: a FIFO in the place of a file must not block the reader.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(path, flags if follow_links else flags | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            remedy = "put the file itself there, or a link to it" if follow_links else "put the file itself there"
            raise error(f"{path}: is not a regular file: {remedy}")
        check(descriptor, status)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise error(f"{path}: is larger than {limit} bytes: put the right file there")
    return content, status
