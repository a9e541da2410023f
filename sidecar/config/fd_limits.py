"""Limits of open connections. Each takes a file descriptor and memory, and a process has a limited number of both."""

import resource
from contextlib import suppress
from typing import Final

from sidecar.sources.cgroup import memory_limit

RESERVE: Final = 256
"""File descriptors for the ops listener, the store, gRPC, policy, keys and logs.

They must work while clients hold all other descriptors.
"""

MOST: Final = 10_000
"""Default maximum of connections, unless the operator sets more."""

CONNECTION_BYTES: Final = 512 * 1024
"""Maximum memory of one connection: 128 KiB in the kernel and at most 290 KiB in the process.

Measured with documents that the client does not read (tests/deploy/test_memory.py).
"""

MEMORY_SHARE: Final = 4
"""Divisor of the process's memory limit: the part for all connections together."""


def allow_all() -> None:
    """Raise the soft limit of file descriptors to the hard limit: the usual soft limit is 1,000."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # not every system accepts an infinite limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def available() -> int | None:
    """Return the number of connections that leaves the reserve untouched, or None for any number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = soft if hard == resource.RLIM_INFINITY else hard
    return None if limit == resource.RLIM_INFINITY else max(limit - RESERVE, limit // 2)


def connections(workers: int = 1) -> int:
    """Return the default of SIDECAR_MAX_CONNECTIONS, per worker."""
    free = available()
    fitting = memory_limit() // MEMORY_SHARE // CONNECTION_BYTES // workers
    return max(1, min(MOST, fitting, MOST if free is None else free))
