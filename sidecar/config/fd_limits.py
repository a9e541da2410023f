"""Connections that strangers may open: each takes a file descriptor and memory, of which a process has so much."""

import resource
from contextlib import suppress
from typing import Final

from sidecar.sources.cgroup import memory_limit

RESERVE: Final = 256
"""For the ops listener, the store, gRPC, policy, keys and logs: what must go on when strangers hold all the others."""

MOST: Final = 10_000
"""Connections, unless an operator wants more."""

CONNECTION_BYTES: Final = 512 * 1024
"""Memory that one connection can take: 128 KiB of the kernel's, and of ours 290 KiB at most, measured (documents that
the client does not take; tests/deploy/test_memory.py)."""

MEMORY_SHARE: Final = 4
"""All connections together get this part of the memory that the process may use."""


def allow_all() -> None:
    """As many descriptors as the system lets us have: the usual soft limit is a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # a hard limit without a bound cannot be had everywhere
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def room() -> int | None:
    """How many connections leave the reserve untouched; None: any number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = soft if hard == resource.RLIM_INFINITY else hard
    return None if limit == resource.RLIM_INFINITY else max(limit - RESERVE, limit // 2)


def connections(workers: int = 1) -> int:
    """The default of SIDECAR_MAX_CONNECTIONS: of each of so many workers."""
    free = room()
    fitting = memory_limit() // MEMORY_SHARE // CONNECTION_BYTES // workers
    return max(1, min(MOST, fitting, MOST if free is None else free))
