"""Server of a key: the only one, the master that Sentinel names, or the Cluster's master of the key's slot.

Reads never go to a replica. redis-py's retries are off everywhere. Callers classify errors.

redis-py's RedisCluster is slower. Measured with Redis 7, a master killed: the slowest call of other partitions takes
0.03 s here and 0.52 s there; both deny for 2.5 s. A master frozen: its slowest call takes 0.43 s here and 2.8 s there
(0.82 s without retries).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from redis import exceptions
from redis.crc import key_slot

from sidecar.store.errors import StoreMismatchError, guarded_call
from sidecar.store.servers.address import DeploymentKind, Place, StoreAddressError, masked, parse_address
from sidecar.store.servers.connection_pools import Patience, Pools, require_certificates
from sidecar.store.servers.discovery import (
    Slots,
    denied_by_cluster,
    denied_by_sentinels,
    read_cluster,
    read_sentinels,
)

CLUSTER_PARTITIONS: Final = 16
LOOK_SECONDS: Final = 0.1
"""Minimum seconds between two discoveries."""
Discovery = Callable[[Place | None], Awaitable[Slots]]
Trial = Callable[[], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class StoreServer:
    """Client of one server. ``command`` raises StoreUnavailableError."""

    client: Any

    async def command(self, *words: str | int) -> Any:
        return await guarded_call(self.client.execute_command(*words))


class Topology(Protocol):
    """Clients of the masters. ``has_failover``: a replica may be promoted. ``partitions``: number for a new store."""

    has_failover: bool
    partitions: int
    on_move: Callable[[], None]

    async def client(self, key: str, *, write: bool = False) -> Any:
        """Return a client of the master of ``key``."""

    async def listener(self, key: str, patience: float) -> Any:
        """Return a client of one connection to the master of ``key``. The caller closes it."""

    async def masters(self) -> list[Any]:
        """Return one client per master."""

    async def look_again(self, moved: exceptions.MovedError | None = None) -> None:
        """Discover the masters now. ``moved``: apply a server's redirection of one slot instead, and discover soon."""

    def suspect(self) -> None:
        """Schedule a discovery after a reply that suggests another master. Until then the known masters are used."""

    async def denied(self) -> list[str]:
        """Try the discovery commands of this topology, and return the denied ones. Never raises."""

    async def close(self) -> None: ...


def topology(url: str, *, patience: Patience, sentinel_password: str | None = None) -> Topology:
    """Return the topology of the store at ``url``. Raises StoreMismatchError for a URL that cannot be used."""
    try:
        address = parse_address(url)
        require_certificates(address)
    except StoreAddressError as error:
        raise StoreMismatchError(f"SIDECAR_REDIS_URL ({masked(url)}): {error}") from None
    pools = Pools(address, patience, sentinel_password)
    if address.kind is DeploymentKind.SINGLE:
        return SingleServer(pools, address.places[0] if address.places else None)
    if address.kind is DeploymentKind.CLUSTER:
        return FailoverTopology(
            pools,
            lambda _: read_cluster(address.places, pools),
            trial=lambda: denied_by_cluster(address.places, pools),
            partitions=CLUSTER_PARTITIONS,
        )
    return FailoverTopology(
        pools,
        lambda known: read_sentinels(address.master, known, pools),
        trial=lambda: denied_by_sentinels(address.master, pools),
        partitions=1,
    )


class SingleServer:
    """Single server at its address."""

    has_failover = False
    partitions = 1

    def __init__(self, pools: Pools, place: Place | None) -> None:
        self._pools = pools
        self._place = place
        self.only = pools.client(place)
        self.on_move: Callable[[], None] = lambda: None

    async def client(self, key: str, *, write: bool = False) -> Any:  # noqa: ARG002 (every key is there)
        return self._pools.client(self._place, write=write)

    async def listener(self, key: str, patience: float) -> Any:  # noqa: ARG002
        return self._pools.listener(self._place, patience)

    async def masters(self) -> list[Any]:
        return [self.only]

    async def look_again(self, moved: exceptions.MovedError | None = None) -> None:
        """No-op: a single server does not move."""

    def suspect(self) -> None:
        """No-op: there is no other server."""

    async def denied(self) -> list[str]:
        """Return nothing: a single server needs no discovery."""
        return []

    async def close(self) -> None:
        await self._pools.close()


class FailoverTopology:
    """Masters that Sentinels or a Cluster name. The sidecar uses few slots, and no command spans two of them.

    During a discovery, calls use the known masters, so that a failed master affects no other partition.
    """

    has_failover = True

    def __init__(self, pools: Pools, discover: Discovery, *, trial: Trial, partitions: int) -> None:
        self.partitions = partitions
        self.on_move: Callable[[], None] = lambda: None
        self._pools = pools
        self._discover = discover
        self._trial = trial
        self._slots: Slots = []
        self._moved: dict[int, Place] = {}
        self._discovering = asyncio.Lock()
        self._looked = float("-inf")
        self._soon: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def client(self, key: str, *, write: bool = False) -> Any:
        return self._pools.client(await self._place(key), write=write)

    async def listener(self, key: str, patience: float) -> Any:
        return self._pools.listener(await self._place(key), patience)

    async def masters(self) -> list[Any]:
        slots = self._slots or await self._look()
        return [self._pools.client(place) for place in sorted({place for _, _, place in slots})]

    async def look_again(self, moved: exceptions.MovedError | None = None) -> None:
        if moved is not None:
            self._moved[moved.slot_id] = (moved.host, moved.port)
            self.on_move()
            self.suspect()
        else:
            await self._look()

    def suspect(self) -> None:
        if self._soon is None or self._soon.done():
            self._soon = asyncio.create_task(self._look_soon())

    async def denied(self) -> list[str]:
        return await self._trial()

    async def close(self) -> None:
        tasks = [*self._leaving, *([self._soon] if self._soon else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pools.close()

    async def _place(self, key: str) -> Place:
        slot = key_slot(key.encode("utf-8"))
        if slot in self._moved:
            return self._moved[slot]
        for first, last, place in self._slots or await self._look():
            if first <= slot <= last:
                return place
        raise exceptions.ClusterDownError(f"no master has slot {slot}")

    async def _look_soon(self) -> None:
        await asyncio.sleep(max(0.0, self._looked + LOOK_SECONDS - _now()))
        with suppress(
            exceptions.RedisError, OSError, TimeoutError
        ):  # the next call fails and schedules another discovery
            await self._look()

    async def _look(self) -> Slots:
        """Discover the masters, one discovery at a time. Concurrent callers share its result."""
        wanted = _now()
        async with self._discovering:
            if self._slots and (self._looked >= wanted or _now() < self._looked + LOOK_SECONDS):
                return self._slots
            before = self._slots
            found = await self._discover(before[0][2] if before else None)
            self._looked, self._slots, self._moved = _now(), found, {}
        if before and found != before:
            self._forget({place for _, _, place in before} - {place for _, _, place in found})
            self.on_move()
        return found

    def _forget(self, places: Iterable[Place]) -> None:
        for place in places:
            task = asyncio.create_task(self._pools.leave(place))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)


def _now() -> float:
    return asyncio.get_running_loop().time()
