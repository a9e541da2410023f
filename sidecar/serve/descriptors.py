"""How many file descriptors this process has, and how many of them strangers may use up: a connection is one."""

import resource
from contextlib import suppress
from typing import Final

RESERVE: Final = 256
"""For the ops listener, the store, gRPC, policy, keys and logs: what must go on when strangers hold all the others."""

MOST: Final = 10_000
"""Connections, unless an operator wants more."""


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


def connections() -> int:
    """The default of SIDECAR_MAX_CONNECTIONS."""
    free = room()
    return MOST if free is None else max(1, min(MOST, free))
