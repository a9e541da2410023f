"""The live side of the store, put together: feeds, records, fleet and healing of one process.

A sidecar that is starting follows nothing yet: ``records`` then read directly, and the fleet does not count it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailable
from sidecar.store.feed import Feed, Follower
from sidecar.store.fleet import Fleet
from sidecar.store.healing import Healing
from sidecar.store.records import Records
from sidecar.store.users import Users


class LiveCopy:
    """``id`` names this process in the fleet; ``clock`` is monotonic; ``lease`` in seconds (SIDECAR_LEASE)."""

    def __init__(
        self,
        store: Store,
        *,
        id: str,  # noqa: A002 (the word for it)
        lease: float,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._lease = lease
        self._clock = clock
        self.healing = Healing(Users(store))
        self.records = Records(store, lease=lease, clock=clock, on_regression=self.healing.want)
        self.fleet = Fleet(store, self.records, id=id, lease=lease, clock=clock)
        self.followers: list[Follower] = [self.records, self.fleet]
        """Who hears the feed, in this order. To be added to before ``run``."""

    async def run(self) -> None:
        """Follow until cancelled, then leave the fleet, so that nobody waits for us."""
        feeds = [
            Feed(self._store, partition, self.followers, lease=self._lease, clock=self._clock)
            for partition in range(self._store.partitions)
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for feed in feeds:
                    group.create_task(feed.run())
                group.create_task(self.fleet.run())
                group.create_task(self.healing.run())
        finally:
            self.records.left()  # before anybody learns that we are gone: listeners may answer for a while yet
            with suppress(StoreUnavailable):
                await self.fleet.leave()
