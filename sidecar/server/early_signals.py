"""Signals before there is a loop to act on them: a start takes the better part of a second, most of it for imports."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def early_signals() -> Iterator[None]:
    """SIGHUP ends nothing: whatever it asks to be read has still to be read. SIGTERM ends us at once, for nothing has
    begun; without a handler the kernel keeps it from a container's first process. A loop puts its own handlers in place
    of these."""
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
