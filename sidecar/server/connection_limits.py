"""Who is let in: connections up to a listener's share of SIDECAR_MAX_CONNECTIONS.

One above it is accepted and closed at once: left in the backlog it would hang, and its descriptor is wanted elsewhere.
The ops listener has no door. Connections with TLS are accepted here and not by asyncio, which tells nobody of one whose
handshake is stuck or has failed; and each takes the context that is in force when it comes.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from sidecar.telemetry.app_log import logger

Make = Callable[[], asyncio.BaseProtocol]

HANDSHAKE_SECONDS: Final = 10.0
AT_ONCE: Final = 64
"""Connections accepted before others get their turn."""
NO_DESCRIPTOR_SECONDS: Final = 1.0

_log = logger("server")


class Door:
    """One a listener. ``refused`` is told of each connection that is not let in."""

    def __init__(self, limit: int, refused: Callable[[], None]) -> None:
        self._limit = limit
        self._refused = refused
        self._count: Callable[[], int] = lambda: 0

    def watch(self, count: Callable[[], int]) -> None:
        """``count``: how many connections the listener has open."""
        self._count = count

    def open(self) -> int:
        return self._count()

    def admits(self) -> bool:
        """Whether one more is let in; otherwise it is counted."""
        if self.open() < self._limit:
            return True
        self._refused()
        return False


def shares(limit: int, listeners: int, refused: Callable[[], None]) -> list[Door]:
    """A door for each of so many listeners: whoever fills the public one keeps no gateway off the other. The last has
    what cannot be divided; one connection each has at least."""
    share, rest = divmod(limit, listeners)
    return [Door(max(share, 1), refused) for _ in range(listeners - 1)] + [Door(max(share + rest, 1), refused)]


class Refused(asyncio.Protocol):
    """A connection that is not let in."""

    def connection_made(self, transport: Any) -> None:  # uvloop's are of no class of asyncio's
        transport.abort()


class TlsServer:
    """Accepts on a bound socket. ``context`` may be replaced at any time: the next connection takes it."""

    def __init__(self, bound: socket.socket, make: Make, context: ssl.SSLContext, admits: Callable[[], bool]) -> None:
        self.context = context
        self._socket = bound
        self._make = make
        self._admits = admits
        self._loop = asyncio.get_running_loop()
        self._shaking: set[asyncio.Task[None]] = set()
        self._later: asyncio.TimerHandle | None = None

    def start(self, backlog: int) -> None:
        """Raises OSError."""
        self._socket.setblocking(False)
        self._socket.listen(backlog)
        self._listen()

    def close(self) -> None:
        """Stop accepting; whoever has not shaken hands yet has asked nothing."""
        if self._socket.fileno() < 0:
            return
        if self._later is not None:
            self._later.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for task in self._shaking:
            task.cancel()

    @property
    def shaking(self) -> int:
        """Connections that are no listener's yet."""
        return len(self._shaking)

    def _listen(self) -> None:
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor is left: asked again at once, the loop would do nothing else
                _log.error("a connection could not be accepted", error=error.strerror)
                self._loop.remove_reader(self._socket)
                self._later = self._loop.call_later(NO_DESCRIPTOR_SECONDS, self._listen)
                return
            if self._admits():
                connection.setblocking(False)
                task = self._loop.create_task(self._shake(connection))
                self._shaking.add(task)
                task.add_done_callback(self._shaking.discard)
            else:
                connection.close()

    async def _shake(self, connection: socket.socket) -> None:
        made: Any = self._make
        try:
            await self._loop.connect_accepted_socket(
                made, connection, ssl=self.context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError:
            connection.close()  # no TLS, or not ours, or nobody there any more: a stranger's matter
