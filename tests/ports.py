"""Ports for the servers of the tests."""

import itertools
import random
import socket

RANGE = range(10_000, 32_000)
"""Ports below 32,768, where Linux begins to assign ports to outgoing connections (net.ipv4.ip_local_port_range)."""

_turns = itertools.cycle(random.SystemRandom().sample(RANGE, len(RANGE)))


def free_port(bus: int = 0) -> int:
    """Return a free port that no other server of this run was given. With ``bus``, the port that far above it is free
    as well.
    """
    turns = itertools.islice(_turns, len(RANGE))
    return next(port for port in turns if _is_free(port) and (not bus or _is_free(port + bus)))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
