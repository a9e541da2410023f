"""Recovery task: reports lost entries to the store that lost them, and reopens it when all are known (R48).

Each sidecar reports entries from its journal. After the longest lease, one sidecar updates the users (recovering.py).
The others follow by the signed record that it writes (recovered.py, change_feed.py).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.store import keys
from sidecar.store.codec import integer
from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.integrity.journal import MAX_ENTRIES, Journal, JournalEntry, read_feed
from sidecar.store.integrity.losses import shown, split
from sidecar.store.integrity.partition_state import PartitionState, PartitionStates
from sidecar.store.integrity.proof import FeedPosition
from sidecar.store.integrity.recovered import RecoveryRecord, Seal
from sidecar.store.integrity.recovering import LostEntries, PartitionRecovery, line_of, read_lost
from sidecar.telemetry.app_log import logger

TURN_SECONDS: Final = 0.25
MARKS: Final = 500
"""Entries per script call."""

_log = logger("store")


class RecoveryTask:
    """Recovery task. ``lease`` in seconds; ``id`` names this process. Without ``seal`` a partition stays closed."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        states: PartitionStates,
        *,
        id: str,  # noqa: A002 (the word for it)
        lease: float,
        seal: Seal | None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._journal = journal
        self._states = states
        self._recovering = PartitionRecovery(store, id=id)
        self._lease = lease
        self._seal = seal
        self._sleep = sleep
        self._reported: dict[int, tuple[str, FeedPosition]] = {}
        self._late: list[list[JournalEntry]] = []

    async def run(self) -> None:
        """Take turns until cancelled. Retries while the store is unavailable."""
        while True:
            await self._sleep(TURN_SECONDS)
            try:
                await self.turn()
            except StoreUnavailableError:
                continue

    async def turn(self) -> None:
        """Take one turn. Raises StoreUnavailableError."""
        for partition, status in self._states.all().items():
            if status.state in {PartitionState.REGRESSED, PartitionState.RECOVERING} and self._seal is not None:
                await self._recover(partition, status.state, self._seal)
        while self._late:
            touched = await self._recovering.late(self._late[0])
            self._late.pop(0)
            _log.error("lost changes reported after the recovery", users=touched.users, held=touched.held)

    def adopted(self, partition: int, recovered: RecoveryRecord) -> None:
        """Queue the lost entries that only this sidecar knows, because the feed follows an already recovered store."""
        known = [mark for mark in self._journal.marks(partition) if mark.n > recovered.base]
        if late := [mark for mark in known if not recovered.covers(mark.n)]:
            self._late.append(late)

    async def _recover(self, partition: int, state: PartitionState, seal: Seal) -> None:
        here = await self._store.read_anyway("GET", f"{keys.feed(partition)}:gen") or ""
        if await read_lost(self._store, partition) is None:
            self._reported.pop(partition, None)
        if state is PartitionState.REGRESSED:
            wait = await self._report_losses(partition, here)
        else:  # the reporting sidecars may be gone: their reports suffice
            wait = await self._send_report(partition, FeedPosition(here, 0, ""), here, None, [])
        lost = await read_lost(self._store, partition) if wait == 0 else None
        if lost is None:
            return
        if gaps := lost.missing:
            what = f"lost changes {shown(gaps)} are known to no sidecar: start those that were stopped, or "
            self._states.note(partition, what + "run `sidecar fsck --accept-loss`")
        elif await self._recovering.leads(partition):
            await self._go_over(lost, seal)

    async def _go_over(self, lost: LostEntries, seal: Seal) -> None:
        touched = await self._recovering.users(lost)
        if await self._recovering.finish(lost, seal):
            _log.error(
                "store recovered after lost changes: every user of the partition must sign in again",
                partition=f"{lost.partition:02d}",
                changes=len(lost.marks),
                users=touched.users,
                held=touched.held,
            )

    async def _report_losses(self, partition: int, here: str) -> int | None:
        """Report lost entries. Returns the milliseconds until leases from before the loss end; None without a loss."""
        position = self._journal.position(partition)
        if position is None or here not in {position.data_set, *position.ancestors}:
            return None
        base, lost = None, list[JournalEntry]()
        if self._reported.get(partition) != (here, position):
            stored = await read_feed(self._store, partition)
            if any((mark.n, mark.entry) == (position.n, position.entry) for mark in stored):
                return None  # recovered meanwhile and followed here: the state and the journal are not up to date yet
            oldest = (stored[-1].n if len(stored) < MAX_ENTRIES else 0) if stored else None
            kept = {mark.n: mark.entry for mark in stored}
            base, lost = split(self._journal.marks(partition), kept, oldest, self._journal.start(partition))
            if not lost:
                return None
        wait: int | None = None
        for piece in [lost[start : start + MARKS] for start in range(0, len(lost), MARKS)] or [[]]:
            wait = await self._send_report(partition, position, here, base, piece)
            if wait is None:
                return None
        self._reported[partition] = (here, position)
        return wait

    async def _send_report(
        self, partition: int, position: FeedPosition, here: str, base: int | None, marks: list[JournalEntry]
    ) -> int | None:
        reply = await self._store.run(
            "lost_tell",
            [keys.lost(partition)],
            {
                "data_set": position.data_set,
                "here": here,
                "base": "" if base is None else str(base),
                "top": str(position.n),
                "lease": str(round(self._lease * 1000)),
                "after": self._store.request_id() * 2,
                "marks": [line_of(mark) for mark in marks],
            },
            write=True,
        )
        return integer(reply["wait"]) if reply["o"] == "told" else None
