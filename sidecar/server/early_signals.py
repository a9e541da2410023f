"""Signal handling before an event loop runs. A start takes nearly one second, most of it for imports."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def early_signals() -> Iterator[None]:
    """Ignore SIGHUP, because the files are still to be read. Exit at once on SIGTERM, because nothing has started.

    Without a handler, the kernel withholds SIGTERM from a container's first process. The event loop later replaces
    these handlers.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
