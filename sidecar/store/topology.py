"""Which server has a key: the only one, the master that Sentinel names, or the Cluster's master of the key's slot.

Reads never go to a replica. redis-py's retries are off everywhere. Nothing here decides what an error means.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot

from sidecar.store.errors import StoreRefused
from sidecar.vocabulary.host_lists import one_per_host

CONNECTIONS: Final = 64
CLUSTER_PARTITIONS: Final = 16
SENTINEL_PORT: Final = 26379
REDIS_PORT: Final = 6379


class Topology(Protocol):
    """Clients for one timeout. ``watched_over``: a replica may be promoted. ``partitions``: of a new store."""

    watched_over: bool
    partitions: int

    async def client(self, key: str) -> Any:
        """Whose connections go to the master of ``key``."""

    async def masters(self) -> list[Any]:
        """One client for each server that has keys of its own."""

    async def look_again(self) -> None:
        """What was known of who has what may be over."""

    async def close(self) -> None: ...


def topology(url: str, *, patience: float, connections: int = CONNECTIONS) -> Topology:
    """For the store at ``url``; each answer may take ``patience`` seconds. Raises StoreRefused."""
    try:
        listed = [urlsplit(one) for one in one_per_host(url)]
        parts = listed[0]
        if parts.scheme.endswith("+sentinel"):
            return _sentinel(listed, patience, connections)
        if parts.scheme.endswith("+cluster"):
            return Cluster(_seeds(listed, REDIS_PORT), _connection(parts, patience, database=False), connections)
        if "://" not in url:
            raise StoreRefused(f"{masked(url)} is not a store's address: write redis://host:6379/0 or unix:///a/socket")
        return Single(_direct(url, patience, connections))
    except ValueError as error:
        raise StoreRefused(f"{masked(url)} is not a store's address: {error}") from None


@dataclass(slots=True)
class Single:
    """One server, however it is found."""

    only: Any
    watched_over: bool = False
    partitions: int = 1
    owned: bool = True
    sentinel: Sentinel | None = None

    async def client(self, key: str) -> Any:  # noqa: ARG002 (every key is there)
        return self.only

    async def masters(self) -> list[Any]:
        return [self.only]

    async def look_again(self) -> None:
        """Sentinel is asked at every new connection; a single server is where it was."""

    async def close(self) -> None:
        if not self.owned:
            return
        await self.only.aclose()
        for watcher in self.sentinel.sentinels if self.sentinel else ():
            await watcher.aclose()


class Cluster:
    """The masters of a Redis Cluster. Our keys lie in few slots, and no command spans two of them."""

    watched_over = True
    partitions = CLUSTER_PARTITIONS

    def __init__(self, seeds: list[tuple[str, int]], connection: Mapping[str, Any], connections: int) -> None:
        self._seeds = seeds
        self._connection = connection
        self._connections = connections
        self._clients: dict[tuple[str, int], Any] = {}
        self._slots: list[tuple[int, int, tuple[str, int]]] = []
        self._looking = asyncio.Lock()

    async def client(self, key: str) -> Any:
        slots, slot = await self._known(), key_slot(key.encode("utf-8"))
        for first, last, place in slots:
            if first <= slot <= last:
                return self._at(place)
        raise exceptions.ClusterDownError(f"no master has slot {slot}")

    async def masters(self) -> list[Any]:
        return [self._at(place) for place in sorted({place for _, _, place in await self._known()})]

    async def look_again(self) -> None:
        self._slots = []

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _at(self, place: tuple[str, int]) -> Any:
        if place not in self._clients:
            host, port = place
            self._clients[place] = Redis.from_pool(
                BlockingConnectionPool(host=host, port=port, max_connections=self._connections, **self._connection)
            )
        return self._clients[place]

    async def _known(self) -> list[tuple[int, int, tuple[str, int]]]:
        if not self._slots:
            async with self._looking:
                if not self._slots:
                    self._slots = await self._look()
        return self._slots

    async def _look(self) -> list[tuple[int, int, tuple[str, int]]]:
        """The first node that tells. Those heard of before are asked too: a seed may be gone for good."""
        problem: Exception = exceptions.ClusterDownError("no node of the cluster answers")
        for place in dict.fromkeys((*self._seeds, *self._clients)):
            try:
                raw = await self._at(place).execute_command("CLUSTER", "SLOTS")
            except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
                problem = error
                continue
            return [
                (int(first), int(last), (_host(master[0], place), int(master[1]))) for first, last, master, *_ in raw
            ]
        raise problem


def masked(url: str) -> str:
    """The address without its secret (R24)."""
    return re.sub(r"//[^/@]*@", "//…@", url)


def _sentinel(listed: Sequence[SplitResult], patience: float, connections: int) -> Single:
    parts = listed[0]
    name, _, _ = parts.path.lstrip("/").partition("/")
    if not name:
        raise ValueError("it names no master, as in redis+sentinel://host:26379/mymaster")
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        _seeds(listed, SENTINEL_PORT),
        sentinel_kwargs={**_timeouts(patience), "decode_responses": True},
        **_connection(parts, patience, database=True, pool=False),
    )
    client = sentinel.master_for(name, max_connections=connections)
    return Single(client, watched_over=True, sentinel=sentinel)


def _direct(url: str, patience: float, connections: int) -> Any:
    options = {**_timeouts(patience), "decode_responses": True, "protocol": 2, "timeout": patience}
    return Redis.from_pool(BlockingConnectionPool.from_url(url, max_connections=connections, **options))


def _connection(parts: SplitResult, patience: float, *, database: bool, pool: bool = True) -> dict[str, Any]:
    """What every connection to a node is made with."""
    options: dict[str, Any] = {**_timeouts(patience), "decode_responses": True, "protocol": 2}
    if pool:
        options["timeout"] = patience
    userinfo, at, _ = parts.netloc.rpartition("@")
    if at:
        user, _, password = userinfo.partition(":")
        options |= {"username": unquote(user) or None, "password": unquote(password) or None}
    if parts.scheme.startswith("rediss"):
        known = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"}
        options |= {name: value for name, value in parse_qsl(parts.query) if name in known}
        options |= {"connection_class": SSLConnection} if pool else {"ssl": True}
    _, _, number = parts.path.lstrip("/").partition("/")
    if database and number:
        options["db"] = int(number)
    return options


def _timeouts(patience: float) -> dict[str, Any]:
    """And no retries: they executed writes twice."""
    return {
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
    }


def _seeds(listed: Sequence[SplitResult], port: int) -> list[tuple[str, int]]:
    """Host and port of each URL."""
    found = []
    for parts in listed:
        _, _, place = parts.netloc.rpartition("@")
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d{1,5}))?", place)
        if match is None:
            raise ValueError(f"{place!r} is no host and port")
        found.append((match[1].strip("[]"), int(match[2] or port)))
    return found


def _host(told: str, asked: tuple[str, int]) -> str:
    """A node may tell no host of its own: then it is the one that was asked."""
    return told if told and told != "?" else asked[0]
