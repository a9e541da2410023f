"""Repair of user epochs after the store loses acknowledged changes.

Raises the epoch again, so that revoked tokens stay revoked, and the revision, so that later changes are accepted.
Readers request a repair for a record that is older than one seen before, or than a token that we signed. A request
never waits, and the current check is ``store_unavailable`` in any case. The repair serves later checks, and sidecars
that never saw the newer epoch. A loss unknown to all sidecars is not repaired; ``sidecar restore`` raises every epoch.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.domain.users import UserId
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.outcomes import Changed
from sidecar.store.users import Users
from sidecar.telemetry.app_log import logger

MAX_WAITING: Final = 10_000
RETRY: Final = 0.25

_log = logger("store")


class EpochRepair:
    """Queue of repairs. Each repair is logged as an error, because an acknowledged change was lost."""

    def __init__(self, users: Users, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._users = users
        self._sleep = sleep
        self._waiting: dict[UserId, tuple[int, int]] = {}
        self._wake = asyncio.Event()

    def request(self, uid: UserId, epoch: int, revision: int = 0) -> None:
        """Request that the user's epoch and revision reach at least these values.

        With MAX_WAITING users queued, a request for another user is dropped; a later read repeats it."""
        if uid in self._waiting or len(self._waiting) < MAX_WAITING:
            known = self._waiting.get(uid, (0, 0))
            self._waiting[uid] = (max(epoch, known[0]), max(revision, known[1]))
            self._wake.set()

    async def run(self) -> None:
        """Repair the queued users until cancelled. Retries while the store is unavailable."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                uid, (epoch, revision) = next(iter(self._waiting.items()))
                try:
                    healed = await self._users.raise_epoch(uid, epoch, seen=revision)
                except StoreUnavailableError:
                    await self._sleep(RETRY)
                    continue
                self._waiting.pop(uid)
                if isinstance(healed, Changed):
                    _log.error(
                        "user epoch repaired after the store regressed",
                        user=uid,
                        epoch=healed.record.epoch,
                    )
