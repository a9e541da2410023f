"""Connection limits per listener, from SIDECAR_MAX_CONNECTIONS, and the TLS server that applies them.

A connection above the limit is accepted and closed at once: in the backlog it would hang. The ops listener has no
limit. Connections with TLS are accepted here and not by asyncio, for two reasons: asyncio does not report a stuck or
failed handshake, and each new connection must use the context now in force.
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
"""Connections accepted per iteration of the event loop."""
NO_DESCRIPTOR_SECONDS: Final = 1.0

_log = logger("server")


class ConnectionLimiter:
    """Connection limit of one listener. ``refused`` is called for each rejected connection."""

    def __init__(self, limit: int, refused: Callable[[], None]) -> None:
        self._limit = limit
        self._refused = refused
        self._count: Callable[[], int] = lambda: 0

    def watch(self, count: Callable[[], int]) -> None:
        """Set ``count``, which returns the number of open connections of the listener."""
        self._count = count

    def open(self) -> int:
        return self._count()

    def admits(self) -> bool:
        """Return True when one more connection is allowed. Otherwise count a rejection."""
        if self.open() < self._limit:
            return True
        self._refused()
        return False


def shares(limit: int, listeners: int, refused: Callable[[], None]) -> list[ConnectionLimiter]:
    """Split the limit evenly, so that a full public listener leaves connections to the gateways' listener.

    The last listener gets the remainder. Each gets at least 1.
    """
    share, rest = divmod(limit, listeners)
    return [ConnectionLimiter(max(share, 1), refused) for _ in range(listeners - 1)] + [
        ConnectionLimiter(max(share + rest, 1), refused)
    ]


class RejectedConnection(asyncio.Protocol):
    """Protocol of a rejected connection: aborts it."""

    def connection_made(self, transport: Any) -> None:  # uvloop's transports do not derive from asyncio's classes
        transport.abort()


class TlsServer:
    """TLS server on a bound socket. ``context`` may be replaced at any time, and applies to later connections."""

    def __init__(self, bound: socket.socket, make: Make, context: ssl.SSLContext, admits: Callable[[], bool]) -> None:
        self.context = context
        self._socket = bound
        self._make = make
        self._admits = admits
        self._loop = asyncio.get_running_loop()
        self._shaking: set[asyncio.Task[None]] = set()
        self._later: asyncio.TimerHandle | None = None

    def start(self, backlog: int) -> None:
        """Listen and accept. Raises OSError."""
        self._socket.setblocking(False)
        self._socket.listen(backlog)
        self._listen()

    def close(self) -> None:
        """Stop accepting, and cancel unfinished handshakes, which have sent no request."""
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
        """Return the number of connections in the TLS handshake."""
        return len(self._shaking)

    def _listen(self) -> None:
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor is left: an immediate retry would keep the loop busy
                _log.error("accepting a connection failed", error=error.strerror)
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
            connection.close()  # no TLS, an invalid certificate, or a closed connection: the client's fault, not logged
