"""Has this process applied the change that a caller knows of? (R30)

A revision is a number of an account's feed. Once it is applied here, no copy is older than it, and a direct read that
is older is refused by the records themselves. So to reach a revision is all that an answer needs to be no older.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

from sidecar.domain.users import AccountId
from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.live.record_cache import Records

PATIENCE: Final = 0.4
"""Seconds. An entry is heard within milliseconds; who has not heard it by then is cut off from the feed."""

FIRST_POLL: Final = 0.0005
LONGEST_POLL: Final = 0.01


class Reach(Enum):
    """How far this process has got."""

    REACHED = "reached"
    BEYOND = "beyond"
    """The feed has no such revision yet: whoever names it has it from somewhere else."""

    LATE = "late"
    """The store has it, this process does not: it must not answer."""


class Freshness:
    def __init__(
        self,
        store: Store,
        records: Records,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        patience: float = PATIENCE,
    ) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._sleep = sleep
        self._patience = patience

    def has(self, account: AccountId, revision: int) -> bool:
        """Without waiting: is the revision applied here?"""
        return self._records.position(account) >= revision

    async def reach(self, account: AccountId, revision: int) -> Reach:
        """Wait until it is, if the feed has it. Raises StoreUnavailable when nobody can tell."""
        if self.has(account, revision):
            return Reach.REACHED
        counter = f"{keys.feed(keys.partition_of(account, self._store.partitions))}:n"
        if int(await self._store.command("GET", counter) or 0) < revision:
            return Reach.BEYOND
        until, pause = self._clock() + self._patience, FIRST_POLL
        while not self.has(account, revision):
            if self._clock() >= until:
                return Reach.LATE
            await self._sleep(pause)
            pause = min(pause * 2, LONGEST_POLL)
        return Reach.REACHED
