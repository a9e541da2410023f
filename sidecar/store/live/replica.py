"""Live side of the store in one process: feeds, record cache, fleet and epoch repair.

Before ``run`` no feed is followed: ``records`` reads directly, and the fleet does not count this process.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.integrity.data_set import DataSetChange
from sidecar.store.integrity.journal import Journal, JournalFiles
from sidecar.store.integrity.partition_state import PartitionStates
from sidecar.store.integrity.recovery import RecoveryTask
from sidecar.store.integrity.same_store import require_same_store
from sidecar.store.integrity.store_watch import StoreWatch
from sidecar.store.live.change_feed import Feed, FeedLineage, FeedListener
from sidecar.store.live.epoch_repair import EpochRepair
from sidecar.store.live.fleet import Fleet
from sidecar.store.live.record_cache import RecordCache
from sidecar.store.servers.connection_pools import DRAIN_SECONDS
from sidecar.store.servers.topology import Topology
from sidecar.store.users import Users
from sidecar.telemetry.task_supervision import Work, supervised


class RecordReplica:
    """Replica in one process. ``id`` names the process in the fleet; ``clock`` is monotonic; ``lease`` in seconds
    (SIDECAR_LEASE). ``journal``: files of the feed's last entries, which survive a restart."""

    def __init__(
        self,
        store: Store,
        *,
        id: str,  # noqa: A002 (the word for it)
        lease: float,
        clock: Callable[[], float],
        leeway: float = 5.0,
        seal: Callable[[DataSetChange], str] | None = None,
        journal: JournalFiles | None = None,
    ) -> None:
        self._store = store
        self._lease = lease
        self._clock = clock
        self.states = PartitionStates(clock=clock)
        store.gate.require = self.states.require
        self.epoch_repair = EpochRepair(Users(store))
        self.records = RecordCache(
            store, lease=lease, clock=clock, states=self.states, on_regression=self.epoch_repair.request
        )
        self.fleet = Fleet(store, self.records, id=id, lease=lease, clock=clock, states=self.states)
        self.watch = StoreWatch(store, self.fleet, leeway=leeway)
        self.on_task_failure: Callable[[str], None] = lambda _name: None
        """Callback for the name of a failed task, which is restarted."""
        self._seal = seal
        self._registering: asyncio.Task[None] | None = None
        self._draining: set[asyncio.Task[None]] = set()
        self.journal = Journal(store, journal)
        self.recovery = RecoveryTask(store, self.journal, self.states, id=id, lease=lease, seal=seal)
        self.followers: list[FeedListener] = [self.records, self.fleet, self.journal]
        """Followers of the feed, in call order. Add to the list before ``run``."""

    def close_until_proven(self) -> None:
        """Reject reads of a partition until its first proof, so that an older store is detected first (R48)."""
        self.states.strict = True

    async def run(self) -> None:
        """Follow the feeds until cancelled, then leave the fleet, so that no change waits for this process."""
        await self.journal.load()
        feeds = {partition: self._feed(partition) for partition in range(self._store.partitions)}
        self.fleet.feeds = feeds
        self._store.on_move = self._follow_move
        work: list[tuple[str, Work]] = [("feed", feed.run) for feed in feeds.values()]
        work += [("registration", self.fleet.run), ("store watch", self.watch.run), ("healing", self.epoch_repair.run)]
        work += [("journal", self.journal.run), ("recovery", self.recovery.run)]
        try:
            async with asyncio.TaskGroup() as group:
                for name, run in work:
                    group.create_task(supervised(name, run, failed=self.on_task_failure))
        finally:
            self._store.on_move = lambda: None
            if self._registering is not None:
                self._registering.cancel()
            self.records.left()  # before leaving the fleet, because listeners may serve a while longer
            self.journal.close()
            with suppress(StoreUnavailableError):
                await self.fleet.leave()

    async def take_over(self, other: Store) -> None:
        """Switch to the connections of ``other`` after proving that they lead to the same store.

        Raises StoreUnavailableError or StoreMismatchError. Then nothing has changed, and the caller closes ``other``.
        """
        feeds = self.fleet.feeds
        if feeds:  # without feeds, the start-up check is still to come
            await require_same_store(other, self._store, {n: feed.position for n, feed in feeds.items()})
        draining = asyncio.create_task(_drain(self._store.take_over(other)))
        self._draining.add(draining)
        draining.add_done_callback(self._draining.discard)
        self._follow_move()

    def _follow_move(self) -> None:
        """Reconnect the feeds and register at once: a new master is another server and must be proven."""
        for feed in self.fleet.feeds.values():
            feed.doubt()
        self._registering = asyncio.create_task(self.fleet.register())

    def _feed(self, partition: int) -> Feed:
        return Feed(
            self._store,
            partition,
            self.followers,
            lease=self._lease,
            clock=self._clock,
            report=self.states.report,
            connected=self.watch.look_soon,
            lineage=FeedLineage(self._seal, self.journal.position(partition), self.recovery.adopted),
        )


async def _drain(left: Topology) -> None:
    """Close connections after the calls in progress have ended."""
    try:
        await asyncio.sleep(DRAIN_SECONDS)
    finally:
        await left.close()
