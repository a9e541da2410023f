"""Revision status: applied here, not applied yet, or unknown to the feed (R30).

A revision is a number of an account's feed. Once it is applied here, no copy is older, and the record cache rejects
older direct reads. Reaching the revision is therefore sufficient for a response that is no older.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

from sidecar.domain.users import AccountId
from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.live.record_cache import RecordCache

PATIENCE: Final = 0.4
"""Seconds. Entries arrive within milliseconds; after this time, the process counts as cut off from the feed."""

FIRST_POLL: Final = 0.0005
LONGEST_POLL: Final = 0.01


class RevisionStatus(Enum):
    """Status of a revision in this process."""

    REACHED = "reached"
    UNKNOWN = "beyond"
    """Revision above the feed's count: the caller has the number from another source."""

    LATE = "late"
    """Revision in the store but not applied here: this process must not respond."""


class RevisionChecker:
    def __init__(
        self,
        store: Store,
        records: RecordCache,
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
        """Return whether the revision is applied here, without waiting."""
        return self._records.position(account) >= revision

    async def reach(self, account: AccountId, revision: int) -> RevisionStatus:
        """Wait until the revision is applied, if the feed has it. Raises StoreUnavailableError for an unreadable
        count."""
        if self.has(account, revision):
            return RevisionStatus.REACHED
        counter = f"{keys.feed(keys.partition_of(account, self._store.partitions))}:n"
        if int(await self._store.command("GET", counter) or 0) < revision:
            return RevisionStatus.UNKNOWN
        until, pause = self._clock() + self._patience, FIRST_POLL
        while not self.has(account, revision):
            if self._clock() >= until:
                return RevisionStatus.LATE
            await self._sleep(pause)
            pause = min(pause * 2, LONGEST_POLL)
        return RevisionStatus.REACHED
