"""Listening sockets and their HTTP servers. Each listener has its own endpoints; no gateway can reach the ops listener.

aiohttp's line limits are raised to SIDECAR_MAX_HEAD. Otherwise a long token would get aiohttp's own 400 before any
handler (measured at 9 KB). The fast path and the connection limit all lines together. The access log is off, because it
costs twice a check.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from sidecar.config.parsers import Address, TcpAddress, UnixAddress
from sidecar.config.settings import Settings
from sidecar.gateways.fast_path.protocol import FastPathListener
from sidecar.http.server.connection import HttpServer
from sidecar.server.connection_limits import ConnectionLimiter, RejectedConnection, TlsServer
from sidecar.server.workers.worker_context import ALONE, WorkerContext

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Slow = Callable[[], asyncio.Protocol]
BACKLOG = 1024
KERNEL_BUFFER = 32 * 1024
"""Kernel buffer of a connection in each direction, in bytes. Linux doubles it.

By default it grows to 6 MB, which counts as the container's memory, and one read would return 250 KB.
"""
KEEPALIVE_SECONDS = 75.0
SHUTDOWN_SECONDS = 5.0


LOCALHOST = "localhost"
LOOPBACK = ("127.0.0.1", "::1")
"""Addresses of ``localhost`` (RFC 6761): browsers try both."""
ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""Errors of an address family that the machine lacks."""


class ListenerError(Exception):
    """An address cannot be listened on. One sentence: address, reason, remedy."""


_REMEDIES = {
    errno.EADDRINUSE: "choose another address, or stop the process that uses it",
    errno.EADDRNOTAVAIL: "choose an address of this machine",
    errno.EACCES: "choose another address, or give the sidecar's user the permission",
    errno.ENOENT: "create its directory, writable by the sidecar's user",
}


def cannot_listen(name: str, address: Address, error: Exception) -> ListenerError:
    """Return the error for the operator, with a remedy for the known error numbers."""
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    remedy = _REMEDIES.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    return ListenerError(f"{name} listener: cannot listen on {address}: {why}{remedy and '; '}{remedy}")


class Listener:
    """One address and its server, from bind to drain."""

    def __init__(
        self,
        name: str,
        address: Address,
        handler: Handler,
        settings: Settings,
        fast: Callable[[Slow], FastPathListener] | None = None,
        place: WorkerContext = ALONE,
        limiter: ConnectionLimiter | None = None,
    ) -> None:
        """``fast`` puts the fast path in front of aiohttp. ``place`` is the context of the worker. Without a
        ``limiter`` the connections are unlimited."""
        self.name = name
        self._place = place
        self._address = address
        self._tls = None if name == "ops" else tls_context(settings)
        self._slow = HttpServer(
            handler,
            access_log=None,
            max_line_size=settings.max_head,
            max_field_size=settings.max_head,
            max_headers=128,
            keepalive_timeout=KEEPALIVE_SECONDS,
            auto_decompress=False,
        )
        self._fast_path = fast(self._slow) if fast is not None else None
        self._limiter = limiter
        self._name: SocketName | None = None
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server | TlsServer] = []

    async def start(self) -> None:
        """Bind and accept. Raises ListenerError."""
        try:
            self._sockets = self._bind()
            if isinstance(self._address, UnixAddress) and str(self._address) not in self._place.inherited:
                self._name = SocketName(self._address.path)
            for bound in self._sockets:
                self._servers.append(await self._serve(bound))
        except OSError as error:
            raise cannot_listen(self.name, self._address, error) from None

    async def _serve(self, bound: socket.socket) -> asyncio.Server | TlsServer:
        make, limiter = self._fast_path or self._slow, self._limiter
        if limiter is not None:
            limiter.watch(self._open)
        if self._tls is not None:
            server = TlsServer(bound, make, self._tls, limiter.admits if limiter is not None else lambda: True)
            server.start(BACKLOG)
            return server

        def admitted() -> asyncio.Protocol:
            return make() if limiter is None or limiter.admits() else RejectedConnection()

        return await asyncio.get_running_loop().create_server(admitted, sock=bound, backlog=BACKLOG)

    def _open(self) -> int:
        """Return the open connections: fast path, aiohttp and TLS handshakes."""
        fast = len(self._fast_path.open) if self._fast_path is not None else 0
        shaking = sum([server.shaking for server in self._servers if isinstance(server, TlsServer)])
        return fast + self._slow.open + shaking

    def renew(self, tls: ssl.SSLContext) -> None:
        """Use another TLS context for new connections."""
        for server in self._servers:
            if isinstance(server, TlsServer):
                server.context = tls

    @property
    def bound(self) -> str:
        """Return the bound address, with the port that the system chose for port 0."""
        if not self._sockets or isinstance(self._address, UnixAddress):
            return str(self._address)
        host, port, *_ = self._sockets[0].getsockname()
        return str(TcpAddress(LOCALHOST if self._address.host == LOCALHOST else host, port))

    async def stop(self) -> None:
        """Stop accepting, let requests in flight finish, close."""
        if self._name is not None:
            self._name.give_up()
        for server in self._servers:
            server.close()
        ending = [self._slow.shutdown(SHUTDOWN_SECONDS)]
        if self._fast_path is not None:
            self._fast_path.close()
            ending.append(self._fast_path.finish(SHUTDOWN_SECONDS))
        self._slow.pre_shutdown()
        await asyncio.gather(*ending)

    def _bind(self) -> list[socket.socket]:
        inherited = self._place.inherited.get(str(self._address))
        if inherited is not None:
            return [socket.socket(fileno=os.dup(inherited))]
        return bind_all(self._address, shared=self._place.shared)


class SocketName:
    """Path of a Unix socket that was just bound.

    Give it up while the socket still accepts. Afterwards a successor may own the path, and removing it would make the
    successor unreachable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is = self._seen()

    def give_up(self) -> None:
        if self._seen() == self._is:
            self._path.unlink(missing_ok=True)

    def _seen(self) -> tuple[int, int] | None:
        try:
            found = self._path.lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def bind_all(address: Address, *, shared: bool = False) -> list[socket.socket]:
    """Return the bound sockets: one per address of ``localhost`` that the machine has, else one. See `bind`."""
    if isinstance(address, UnixAddress) or address.host != LOCALHOST:
        return [bind(address, shared=shared)]
    found: list[socket.socket] = []
    port, absent = address.port, OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for host in LOOPBACK:
        try:
            found.append(bind(TcpAddress(host, port), shared=shared))
        except OSError as error:
            if error.errno in ABSENT or isinstance(error, socket.gaierror):
                absent = error
                continue
            for bound in found:
                bound.close()
            raise
        port = found[0].getsockname()[1]
    if not found:
        raise absent
    return found


def bind(address: Address, *, shared: bool = False) -> socket.socket:
    """Return a bound socket, ``shared`` with other workers by SO_REUSEPORT. A Unix socket has mode 0660 from the start
    (R8)."""
    if isinstance(address, UnixAddress):
        return _bind_unix(address.path)
    infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, where = infos[0]
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # accepted connections inherit both
        bound.setsockopt(socket.SOL_SOCKET, buffer, KERNEL_BUFFER)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind(where)
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


def _bind_unix(path: Path) -> socket.socket:
    check_folder(path.parent)
    if is_stale(path):
        path.unlink()
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o117)
    try:
        bound.bind(str(path))
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(mask)
    bound.setblocking(False)
    return bound


def check_folder(folder: Path) -> None:
    """Raise OSError when the directory is not safe for a Unix socket (R8)."""
    if folder.stat().st_mode & 0o002:  # also with the sticky bit: before the start, any user could create the name
        raise OSError(0, f"the directory {folder} is world-writable; use a private one, such as /run/sidecar")


def is_stale(path: Path) -> bool:
    """Return True for a socket of this user on which no process listens. Only such a socket may be removed."""
    if not path.is_socket() or path.stat().st_uid != os.geteuid():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
    return False


def check_url(settings: Settings) -> str:
    """Return the base URL of a separate check listener; empty when it is not separate or its address is a wildcard."""
    address = settings.check_listen
    if not isinstance(address, TcpAddress) or address.wildcard:
        return ""
    return f"{'https' if settings.tls_cert else 'http'}://{address}"


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return a context for TLS 1.2 or newer, with client certificates when a CA is set. None without a certificate."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    files = f"{settings.tls_cert}, {settings.tls_key}"
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
        if settings.tls_client_ca is not None:
            files = f"SIDECAR_TLS_CLIENT_CA={settings.tls_client_ca}"
            context.load_verify_locations(settings.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ListenerError(f"TLS: {files}: {error}; must be readable PEM files") from None
    return context
