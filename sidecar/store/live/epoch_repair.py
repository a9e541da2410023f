"""Epochs raised again after the store went back in time, so that what was revoked stays revoked, and
counts with them, so that the next change of the user is newer than all that was seen, and is believed.

Whoever sees a record behind what was already seen, or behind a token that we signed, says so here; it never waits. The
answer to that question is ``store_unavailable`` either way: healing is for those that come later, and for sidecars that
never saw the newer epoch. A loss that nobody remembers is not healed; ``sidecar restore`` raises every epoch.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.domain.users import UserId
from sidecar.store.errors import StoreUnavailable
from sidecar.store.outcomes import Changed
from sidecar.store.users import Users
from sidecar.telemetry.app_log import logger

MAX_WAITING: Final = 10_000
RETRY: Final = 0.25

_log = logger("store")


class Healing:
    """Every raise that was made is an error in the log: a change that had been acknowledged was lost."""

    def __init__(self, users: Users, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._users = users
        self._sleep = sleep
        self._waiting: dict[UserId, tuple[int, int]] = {}
        self._wake = asyncio.Event()

    def want(self, uid: UserId, epoch: int, revision: int = 0) -> None:
        """The user was seen at ``epoch`` and ``revision``: it must not stay below. Bounded: who asks again is heard."""
        if uid in self._waiting or len(self._waiting) < MAX_WAITING:
            known = self._waiting.get(uid, (0, 0))
            self._waiting[uid] = (max(epoch, known[0]), max(revision, known[1]))
            self._wake.set()

    async def run(self) -> None:
        """Raise what is wanted, until cancelled. Never raises for a store that is out: it is asked again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                uid, (epoch, revision) = next(iter(self._waiting.items()))
                try:
                    healed = await self._users.raise_epoch(uid, epoch, seen=revision)
                except StoreUnavailable:
                    await self._sleep(RETRY)
                    continue
                self._waiting.pop(uid)
                if isinstance(healed, Changed):
                    _log.error(
                        "the store went back in time: what it has lost of this user stays revoked",
                        user=uid,
                        epoch=healed.record.epoch,
                    )
