"""Subjects of outside issuers that have no user here, remembered: a stranger's token costs the store one look-up.

An entry holds while the feed reports no change of an account that was looked into, while copies of those accounts may
be used, and for 30 s at most (R47). It only ever denies: forgetting one costs a look-up, never an allow.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sidecar.domain.caching import ENTRY_OVERHEAD, SizedFifoCache
from sidecar.domain.users import AccountId
from sidecar.store.live.change_feed import Change, Tail

MAX_AGE: Final = 30.0
MAX_BYTES: Final = 8 * 1024 * 1024
MAX_ACCOUNTS: Final = 10_000
"""As many as an issuers file can name; past it all entries are dropped."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """The accounts of a look-up, and what had been heard of them before it. ``complete``: every name of the issuer's
    entry was an account's; one that was not may become one."""

    accounts: tuple[AccountId, ...]
    complete: bool
    heard: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    party: object
    horizon: Horizon
    until: float


class UnlinkedSubjects:
    """A follower of the feed. ``live``: may copies of this account be used at this instant? ``clock`` is monotonic."""

    def __init__(self, *, live: Callable[[AccountId], bool], clock: Callable[[], float]) -> None:
        self._live = live
        self._clock = clock
        self._entries: SizedFifoCache[str, _Entry] = SizedFifoCache(MAX_BYTES)
        self._changes: dict[AccountId, int] = {}
        self._elsewhere = 0
        self._all = 0

    def horizon(self, accounts: Iterable[AccountId], *, complete: bool) -> Horizon:
        """To be taken before the look-up: a change that comes meanwhile is one that it may not have seen."""
        named = tuple(accounts)
        if len(self._changes) > MAX_ACCOUNTS:
            self._changes.clear()
            self._all += 1
        for account in named:
            self._changes.setdefault(account, 0)
        return Horizon(named, complete, self._heard(named, complete))

    def put(self, name: str, party: object, horizon: Horizon) -> None:
        """The look-up that began at ``horizon`` has found no user. ``party``: as ``knows`` will be asked."""
        self._entries.set(name, _Entry(party, horizon, self._clock() + MAX_AGE), len(name) + ENTRY_OVERHEAD)

    def knows(self, name: str, party: object) -> bool:
        """Was this name looked up for the very same ``party``, and can nothing have changed since?"""
        entry = self._entries.get(name)
        if entry is None:
            return False
        horizon = entry.horizon
        if (
            entry.party is party
            and self._clock() < entry.until
            and horizon.heard == self._heard(horizon.accounts, horizon.complete)
            and all(self._live(account) for account in horizon.accounts)
        ):
            return True
        self._entries.drop(name)
        return False

    def _heard(self, accounts: tuple[AccountId, ...], complete: bool) -> tuple[int, ...]:
        elsewhere = 0 if complete else self._elsewhere
        return (self._all, elsewhere, *(self._changes.get(account, -1) for account in accounts))

    # As a follower of the feed ---------------------------------------------------------------------------------------

    def apply(self, _partition: int, change: Change) -> None:
        if change.kind in {"account", "restored"}:
            self._all += 1
        elif change.account in self._changes:
            self._changes[change.account] += 1
        else:
            self._elsewhere += 1

    def heard(self, _partition: int, _at: float) -> None:
        """The records keep the lease; ``live`` asks them."""

    def flush(self, _tail: Tail) -> None:
        self._all += 1

    async def acknowledge(self, _partition: int, _n: int) -> None:
        """Not ours to say: the fleet does."""
