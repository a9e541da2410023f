"""Slots shared by the workers of one sidecar. A slot is exclusive, and is released when its process ends.

A slot is a lock on a file in the supervisor's directory. Acquiring a slot never waits.
"""

import fcntl
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path


def take(folder: Path, names: Iterable[str]) -> ExitStack | None:
    """Acquire the first free slot of ``names``. Closing the returned stack releases it. None: all are taken."""
    for name in names:
        descriptor = os.open(folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        stack = ExitStack()
        stack.callback(os.close, descriptor)
        return stack
    return None
