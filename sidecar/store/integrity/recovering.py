"""Recovery of a partition that has lost entries: hold users, raise epochs, set another data set (R48).

Called by the recovery task of a sidecar, and by ``sidecar fsck --accept-loss``. Every step is repeatable: an
interruption leaves the partition closed, and the next process starts again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sidecar.domain.users import AccountId, Actor
from sidecar.store import keys
from sidecar.store.codec import integer
from sidecar.store.connection import Store
from sidecar.store.integrity.data_set import DataSetChange, digest_of
from sidecar.store.integrity.feed_entries import fields_of
from sidecar.store.integrity.journal import JournalEntry, decode
from sidecar.store.integrity.losses import AccountLoss, by_account, missing
from sidecar.store.integrity.recovered import Ranges, RecoveryRecord, Seal, encode
from sidecar.store.scripting import run_write

USERS: Final = 200
"""Users per script call."""
LEADER_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class LostEntries:
    """Sidecars' reports on a partition. ``base``: number of the last kept entry, None when no sidecar knows it."""

    partition: int
    marks: tuple[JournalEntry, ...]
    base: int | None
    top: int
    after: str
    data_sets: tuple[str, ...]

    @property
    def missing(self) -> Ranges:
        """Return the lost entries that no sidecar knows."""
        return missing(self.base, self.top, self.marks)


@dataclass(frozen=True, slots=True)
class RecoveredUsers:
    """Numbers of users. ``users``: with a raised epoch. ``held``: waiting for a review."""

    users: int = 0
    held: int = 0

    def __add__(self, other: "RecoveredUsers") -> "RecoveredUsers":
        return RecoveredUsers(self.users + other.users, self.held + other.held)


async def read_pairs(store: Store, *words: str | int) -> list[tuple[str, str]]:
    """Return a map, read past the gate (Store.read_anyway)."""
    return list(fields_of(await store.read_anyway(*words)).items())


async def read_lost(store: Store, partition: int) -> LostEntries | None:
    """Return the reports on a partition; None without any. Raises StoreUnavailableError."""
    key = keys.lost(partition)
    meta = dict(await read_pairs(store, "HGETALL", f"{key}:meta"))
    if not meta:
        return None
    marks = tuple(decode(text) for _, text in await read_pairs(store, "HGETALL", key))
    sets = tuple(field.removeprefix("set:") for field in meta if field.startswith("set:"))
    base = int(meta["base"]) if "base" in meta else None
    return LostEntries(partition, marks, base, int(meta["top"]), meta["after"], sets)


class PartitionRecovery:
    """Steps of a recovery. ``id`` names this process; ``dry`` only counts; ``everyone`` holds all users for review."""

    def __init__(self, store: Store, *, id: str, dry: bool = False, everyone: bool = False) -> None:  # noqa: A002
        self._store = store
        self._id = id
        self._dry = dry
        self._everyone = everyone

    async def leads(self, partition: int) -> bool:
        """Take or renew the leader lease: one process at a time updates the users. Returns whether it has the lease."""
        key = f"{keys.lost(partition)}:leader"
        if await self._store.change("SET", key, self._id, "NX", "PX", LEADER_MS):
            return True
        if await self._store.read_anyway("GET", key) != self._id:
            return False
        await self._store.change("PEXPIRE", key, LEADER_MS)
        return True

    async def users(self, lost: LostEntries) -> RecoveredUsers:
        """Update the users of every account of the partition. Raises StoreUnavailableError."""
        losses, touched = by_account(lost.marks), RecoveredUsers()
        for account in sorted({*await self._accounts(lost.partition), *losses}):
            touched += await self._account(AccountId(account), losses.get(account, AccountLoss()))
            if not self._dry:
                await self.leads(lost.partition)
        return touched

    async def late(self, marks: Sequence[JournalEntry]) -> RecoveredUsers:
        """Update the users of lost entries reported after the recovery, while the partition serves."""
        touched = RecoveredUsers()
        for account, loss in by_account(marks).items():
            whole = loss.restored or loss.status in {"suspended", "deleted"}
            only = None if whole else sorted(loss.users)
            touched += await self._account(AccountId(account), loss, only=only, live=True)
        return touched

    async def finish(self, lost: LostEntries, seal: Seal) -> bool:
        """Set the new data set. Returns False when more was reported meanwhile or another process was faster."""
        feed, home = keys.feed(lost.partition), keys.partition_meta(lost.partition)
        before = await self._store.read_anyway("GET", f"{feed}:gen") or ""
        digest = digest_of(dict(await read_pairs(self._store, "HGETALL", home)))
        reply = await self._store.run(
            "recover_finish",
            [feed, keys.lost(lost.partition)],
            {
                "before": before,
                "after": lost.after,
                "top": str(lost.top),
                "marks": len(lost.marks),
                "digest": digest,
                "code": seal(DataSetChange(lost.partition, before, lost.after, digest, digest)),
                "records": [[one.before, encode(one)] for one in self._records(lost, before, seal)],
            },
            write=True,
        )
        return bool(reply["o"] == "finished")

    @staticmethod
    def _records(lost: LostEntries, before: str, seal: Seal) -> list[RecoveryRecord]:
        names = sorted({before, *lost.data_sets})
        base = lost.base or 0
        return [
            RecoveryRecord(lost.partition, name, lost.after, base, lost.top, lost.missing).signed(seal)
            for name in names
        ]

    async def _accounts(self, partition: int) -> Sequence[str]:
        indexed = await self._store.read_anyway("SMEMBERS", keys.accounts(partition))
        named = [AccountId(claim.split()[0]) for _, claim in await read_pairs(self._store, "HGETALL", keys.names())]
        partitions = self._store.partitions
        return [*map(str, indexed), *(one for one in named if keys.partition_of(one, partitions) == partition)]

    async def _account(
        self, account: AccountId, loss: AccountLoss, *, only: Sequence[str] | None = None, live: bool = False
    ) -> RecoveredUsers:
        home = keys.account(account, self._store.partitions)
        if not await self._store.read_anyway("EXISTS", home):
            return RecoveredUsers()
        uids = list(only) if only is not None else await self._uids(home)
        pages = [uids[start : start + USERS] for start in range(0, len(uids), USERS)] or [[]]
        held = 0
        for number, page in enumerate(pages):
            held += await self._page(account, loss, page, head=number == 0, live=live)
        return RecoveredUsers(len(uids), held)

    async def _uids(self, home: str) -> list[str]:
        members = await self._store.read_anyway("SMEMBERS", f"{home}:members")
        return sorted({*members, *await self._store.read_anyway("ZRANGE", f"{home}:inv", 0, -1)})

    async def _page(self, account: AccountId, loss: AccountLoss, uids: Sequence[str], *, head: bool, live: bool) -> int:
        users = {uid: loss.users[uid].argument() for uid in uids if uid in loss.users}
        arguments: Mapping[str, Any] = {
            "uids": uids,
            "users": users,
            "seq": str(loss.seq),
            "peps": sorted(loss.peps),
            "status": loss.status,
            "restored": loss.restored or None,
            "lost": len(loss.users),
            "head": head or None,
            "live": live or None,
            "dry": self._dry or None,
            "everyone": self._everyone or None,
        }
        reply = await run_write(self._store, "recover_account", account, Actor.operator(), **arguments)
        return integer(reply["held"])


def line_of(mark: JournalEntry) -> list[str]:
    """Return field and value for the hash of lost entries. Two lost entries can have the same number."""
    return [f"{mark.n} {mark.entry}", msgspec.json.encode(mark).decode()]
