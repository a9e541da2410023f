"""Slots that the workers of one sidecar share: who holds one keeps the others out, and no longer than it lives.

A slot is a lock on a file in the folder of their supervisor. Nothing waits here: a slot is free now, or it is not.
"""

import fcntl
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path


def take(folder: Path, names: Iterable[str]) -> ExitStack | None:
    """The first of ``names`` that is free, to be closed when it is needed no more; None when all are taken."""
    for name in names:
        descriptor = os.open(folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        held = ExitStack()
        held.callback(os.close, descriptor)
        return held
    return None
