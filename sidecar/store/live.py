"""The live side of the store, put together: the feeds, the records that follow them, this sidecar's registration."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailable
from sidecar.store.feed import Change, Feed, Follower, Tail
from sidecar.store.fleet import Fleet
from sidecar.store.records import Records
from sidecar.vocabulary.people import UserId


class LiveCopy:
    """``records`` and ``fleet`` work before ``run`` too: every read is a direct one then, every wait a whole lease."""

    def __init__(
        self,
        store: Store,
        *,
        lease: float,
        clock: Callable[[], float] = time.monotonic,
        entropy: Callable[[int], bytes] = os.urandom,
        on_regression: Callable[[UserId], None] = lambda _uid: None,
    ) -> None:
        self._store = store
        self._lease = lease
        self._clock = clock
        self._began = clock()
        self._followers: list[Follower] = []
        self.records = Records(store, lease=lease, clock=clock, on_regression=on_regression)
        self.fleet = Fleet(store, self.records, id=f"sc_{entropy(8).hex()}", lease=lease, clock=clock)

    @property
    def lag(self) -> float:
        """Seconds since the feed's last word; since the start, when it has not spoken yet."""
        return min(self.records.lag(), self._clock() - self._began)

    def follow(self, follower: Follower) -> None:
        """Hear the changes too; before ``run``."""
        self._followers.append(follower)

    def on_change(self, kind: str, heard: Callable[[], None]) -> None:
        """Be called at each change of ``kind`` (``keys``, ``policy``) and whenever some may have been missed."""
        self.follow(_Listener(kind, heard))

    async def run(self) -> None:
        """Follow and register until cancelled; then take leave. The store's partitions have to be known by now."""
        followers: Sequence[Follower] = [self.records, *self._followers, self.fleet]
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.fleet.run())
                for partition in range(self._store.partitions):
                    feed = Feed(self._store, partition, followers, lease=self._lease, clock=self._clock)
                    tasks.create_task(feed.run())
        finally:
            with suppress(StoreUnavailable):
                await self.fleet.leave()


class _Listener:
    """A follower of one kind of change."""

    def __init__(self, kind: str, heard: Callable[[], None]) -> None:
        self._kind = kind
        self._told = heard

    def apply(self, _partition: int, change: Change) -> None:
        if change.kind == self._kind:
            self._told()

    def heard(self, partition: int, at: float) -> None:
        """Time alone changes nothing."""

    def flush(self, _tail: Tail) -> None:
        self._told()

    async def acknowledge(self, partition: int, n: int) -> None:
        """The fleet does."""
