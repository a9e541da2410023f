"""Connection pools by server. redis-py's own retries are off: they executed writes twice."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sidecar.store.servers.address import DeploymentKind, Place, StoreAddress, StoreAddressError

CONNECTIONS: Final = 64
DRAIN_SECONDS: Final = 3.0
"""Seconds during which calls in flight may use released connections. Longer than a write may take."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Timeouts of replies, in seconds."""

    read: float
    write: float


class Pools:
    """Connection pools by server, separate for reads and writes."""

    def __init__(
        self,
        address: StoreAddress,
        patience: Patience,
        sentinel_password: str | None = None,
        connections: int = CONNECTIONS,
    ) -> None:
        self._options = _options(address)
        self._patience = patience
        self._connections = connections
        self._clients: dict[tuple[Place | None, bool], Any] = {}
        sentinels = address.places if address.kind is DeploymentKind.SENTINEL else ()
        options = _timeouts(patience.read) | _secured(address) | {"decode_responses": True, "protocol": 2}
        options |= {"username": address.sentinel_username, "password": sentinel_password}
        self.sentinels = [Redis.from_pool(_pool(place, options, connections=2)) for place in sentinels]

    @property
    def places(self) -> list[Place]:
        """Return the servers with a pool."""
        return list(dict.fromkeys(place for place, _ in self._clients if place))

    def client(self, place: Place | None, *, write: bool = False) -> Any:
        """Return the client of a server. ``place`` None: the Unix socket of the address."""
        if (place, write) not in self._clients:
            patience = self._patience.write if write else self._patience.read
            pool = _pool(place, self._options | _timeouts(patience), connections=self._connections)
            self._clients[place, write] = Redis.from_pool(pool)
        return self._clients[place, write]

    def listener(self, place: Place | None, patience: float) -> Any:
        """Return a new client of one connection. ``patience``: timeout in seconds."""
        pool = _pool(place, self._options | _timeouts(patience), connections=2)
        client = Redis(connection_pool=pool, single_connection_client=True)
        client.auto_close_connection_pool = True
        return client

    async def leave(self, place: Place) -> None:
        """Release a server's connections, and close them after DRAIN_SECONDS."""
        left = [self._clients.pop(known) for known in list(self._clients) if known[0] == place]
        try:
            await asyncio.sleep(DRAIN_SECONDS)
        finally:
            await _closed(left)

    async def close(self) -> None:
        left, self._clients = [*self._clients.values(), *self.sentinels], {}
        await _closed(left)


async def _closed(clients: Sequence[Any]) -> None:
    for client in clients:
        with suppress(exceptions.RedisError, OSError):
            await client.aclose()


def _pool(place: Place | None, options: Mapping[str, Any], *, connections: int) -> BlockingConnectionPool:
    where: dict[str, Any] = {"host": place[0], "port": place[1]} if place else {}
    return BlockingConnectionPool(max_connections=connections, timeout=options["socket_timeout"], **where, **options)


def _options(address: StoreAddress) -> dict[str, Any]:
    """Return the options of every connection to a server."""
    options: dict[str, Any] = {"decode_responses": True, "protocol": 2, "db": address.database or 0}
    options |= _secured(address)
    if address.path:
        options |= {"path": address.path, "connection_class": UnixDomainSocketConnection}
    return options | {"username": address.username, "password": address.password}


def _secured(address: StoreAddress) -> dict[str, Any]:
    if address.tls is None:
        return {"connection_class": Connection}
    return {"connection_class": SSLConnection, **address.tls}


def require_certificates(address: StoreAddress) -> None:
    """Verify the PEM files of the query. Raises StoreAddressError for a file that cannot be used."""
    tls = address.tls or {}
    context = ssl.create_default_context()
    for name in ("ssl_ca_certs", "ssl_keyfile", "ssl_certfile"):
        if name in tls:
            try:
                Path(str(tls[name])).open("rb").close()
                if name == "ssl_ca_certs":
                    context.load_verify_locations(str(tls[name]))
                elif name == "ssl_certfile":
                    key = tls.get("ssl_keyfile")
                    context.load_cert_chain(str(tls[name]), str(key) if key else None)
            except OSError as error:  # ssl.SSLError is one
                why = error.strerror or "not PEM"
                raise StoreAddressError(f"{name}={tls[name]} cannot be used ({why}): name a PEM file") from None


def _timeouts(patience: float) -> dict[str, Any]:
    """Return the timeouts, without retries, because they executed writes twice."""
    return {
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
    }
