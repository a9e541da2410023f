"""Which server has a key: the only one, the master that Sentinel names, or the Cluster's master of the key's slot.

Reads never go to a replica. redis-py's retries are off everywhere. Nothing here decides what an error means.

Not redis-py's RedisCluster: Redis 7, a master killed: other partitions' slowest call is 0.03 s here, 0.52 s there, both
deny 2.5 s. A master frozen: its slowest call is 0.43 s here, 2.8 s there (0.82 s without retries).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final, Protocol

from redis import exceptions
from redis.crc import key_slot

from sidecar.store.errors import StoreRefused
from sidecar.store.servers.address import AddressError, Kind, masked, parse_address
from sidecar.store.servers.connection_pools import Patience, Pools, require_certificates
from sidecar.store.servers.discovery import Place, Slots, ask_cluster, ask_sentinels

CLUSTER_PARTITIONS: Final = 16
LOOK_SECONDS: Final = 0.1
"""Least time between two looks at who has what."""
Look = Callable[[Place | None], Awaitable[Slots]]


class Topology(Protocol):
    """Clients of the masters. ``watched_over``: a replica may be promoted. ``partitions``: of a new store."""

    watched_over: bool
    partitions: int
    on_move: Callable[[], None]

    async def client(self, key: str, *, write: bool = False) -> Any:
        """Whose connections go to the master of ``key``."""

    async def listener(self, key: str, patience: float) -> Any:
        """A client of one connection to the master of ``key``, for its user to close."""

    async def masters(self) -> list[Any]:
        """One client for each server that has keys of its own."""

    async def look_again(self, moved: exceptions.MovedError | None = None) -> None:
        """Ask now who has what. ``moved``: a server's own word for one slot."""

    def suspect(self) -> None:
        """An answer says that a master may be another one by now: ask soon, and use what is known until then."""

    async def close(self) -> None: ...


def topology(url: str, *, patience: Patience, sentinel_password: str | None = None) -> Topology:
    """For the store at ``url``. Raises StoreRefused."""
    try:
        address = parse_address(url)
        require_certificates(address)
    except AddressError as error:
        raise StoreRefused(f"SIDECAR_REDIS_URL ({masked(url)}): {error}") from None
    pools = Pools(address, patience, sentinel_password)
    if address.kind is Kind.SINGLE:
        return Single(pools, address.places[0] if address.places else None)
    if address.kind is Kind.CLUSTER:
        return Watched(pools, lambda _: ask_cluster(address.places, pools), partitions=CLUSTER_PARTITIONS)
    return Watched(pools, lambda known: ask_sentinels(address.master, known, pools), partitions=1)


class Single:
    """One server, at its address."""

    watched_over = False
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
        """A single server is where it was."""

    def suspect(self) -> None:
        """There is no other one."""

    async def close(self) -> None:
        await self._pools.close()


class Borrowed:
    """A client that another part made and closes."""

    watched_over = False
    partitions = 1

    def __init__(self, client: Any) -> None:
        self.only = client
        self.on_move: Callable[[], None] = lambda: None

    async def client(self, key: str, *, write: bool = False) -> Any:  # noqa: ARG002
        return self.only

    async def listener(self, key: str, patience: float) -> Any:  # noqa: ARG002
        return self.only.client()

    async def masters(self) -> list[Any]:
        return [self.only]

    async def look_again(self, moved: exceptions.MovedError | None = None) -> None:
        """There is one client."""

    def suspect(self) -> None:
        """There is one client."""

    async def close(self) -> None:
        """Not ours to close."""


class Watched:
    """Masters that a Sentinel or a Cluster names. Our keys lie in few slots, and no command spans two of them.

    While it looks again, calls go on to the masters that are known: one partition's trouble is no other's.
    """

    watched_over = True

    def __init__(self, pools: Pools, look: Look, *, partitions: int) -> None:
        self.partitions = partitions
        self.on_move: Callable[[], None] = lambda: None
        self._pools = pools
        self._ask = look
        self._slots: Slots = []
        self._moved: dict[int, Place] = {}
        self._looking = asyncio.Lock()
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
        with suppress(exceptions.RedisError, OSError, TimeoutError):  # whoever calls meets it, and suspects again
            await self._look()

    async def _look(self) -> Slots:
        """One look at a time; who waited for another's takes its answer."""
        wanted = _now()
        async with self._looking:
            if self._slots and (self._looked >= wanted or _now() < self._looked + LOOK_SECONDS):
                return self._slots
            before = self._slots
            found = await self._ask(before[0][2] if before else None)
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
