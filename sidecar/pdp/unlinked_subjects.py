"""Cache of external subjects without a local user: an unknown subject's token costs the store one look-up.

An entry is valid for at most 30 s (R47). It ends earlier if the feed reports a change in a searched account, or if
cached records of those accounts are no longer usable. An entry only denies: losing one costs a look-up, never an allow.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sidecar.domain.caching import ENTRY_OVERHEAD, SizedFifoCache
from sidecar.domain.users import AccountId
from sidecar.store.live.change_feed import FeedEntry, FeedReset

MAX_AGE: Final = 30.0
MAX_BYTES: Final = 8 * 1024 * 1024
MAX_ACCOUNTS: Final = 10_000
"""Maximum accounts in an issuers file. Above it, all entries are dropped."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """Accounts of a look-up, and their change counters before it. ``complete``: every name in the issuer's entry was an
    account; a missing account may be created later."""

    accounts: tuple[AccountId, ...]
    complete: bool
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    party: object
    horizon: Horizon
    until: float


class UnlinkedSubjects:
    """Follower of the feed. ``live`` returns True while cached records of an account are usable. ``clock`` is
    monotonic."""

    def __init__(self, *, live: Callable[[AccountId], bool], clock: Callable[[], float]) -> None:
        self._live = live
        self._clock = clock
        self._entries: SizedFifoCache[str, _Entry] = SizedFifoCache(MAX_BYTES)
        self._changes: dict[AccountId, int] = {}
        self._elsewhere = 0
        self._all = 0

    def horizon(self, accounts: Iterable[AccountId], *, complete: bool) -> Horizon:
        """Return the change counters. Call this before the look-up, because the look-up may miss a change during it."""
        named = tuple(accounts)
        if len(self._changes) > MAX_ACCOUNTS:
            self._changes.clear()
            self._all += 1
        for account in named:
            self._changes.setdefault(account, 0)
        return Horizon(named, complete, self._counts(named, complete))

    def put(self, name: str, party: object, horizon: Horizon) -> None:
        """Record that the look-up that began at ``horizon`` found no user. ``knows`` compares ``party`` by identity."""
        self._entries.set(name, _Entry(party, horizon, self._clock() + MAX_AGE), len(name) + ENTRY_OVERHEAD)

    def knows(self, name: str, party: object) -> bool:
        """Return True if ``name`` was looked up for the identical ``party`` and no change is possible since."""
        entry = self._entries.get(name)
        if entry is None:
            return False
        horizon = entry.horizon
        if (
            entry.party is party
            and self._clock() < entry.until
            and horizon.counts == self._counts(horizon.accounts, horizon.complete)
            and all(self._live(account) for account in horizon.accounts)
        ):
            return True
        self._entries.drop(name)
        return False

    def _counts(self, accounts: tuple[AccountId, ...], complete: bool) -> tuple[int, ...]:
        elsewhere = 0 if complete else self._elsewhere
        return (self._all, elsewhere, *(self._changes.get(account, -1) for account in accounts))

    # Interface for the feed ------------------------------------------------------------------------------------------

    def apply(self, _partition: int, change: FeedEntry) -> None:
        if change.kind in {"account", "restored"}:
            self._all += 1
        elif change.account in self._changes:
            self._changes[change.account] += 1
        else:
            self._elsewhere += 1

    def on_heartbeat(self, _partition: int, _at: float) -> None:
        """No-op: the records hold the lease, and ``live`` reads them."""

    def flush(self, _tail: FeedReset) -> None:
        self._all += 1

    async def acknowledge(self, _partition: int, _n: int) -> None:
        """No-op: the fleet acknowledges changes."""
