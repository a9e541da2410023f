"""Restore of a validated backup: writes its accounts over those in the store.

Names are read once for all accounts. E-mail hints are written per batch, before the accounts to which they lead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.domain.users import AccountId, Actor
from sidecar.store import keys
from sidecar.store.accounts import claim_name, settle_name
from sidecar.store.codec import integer
from sidecar.store.connection import Store
from sidecar.store.errors import gather_all
from sidecar.store.integrity.data_set import replace
from sidecar.store.maintenance.archive import ArchiveHead
from sidecar.store.maintenance.archive_records import ArchivedAccount, flat
from sidecar.store.maintenance.restore_mark import clear_mark, set_mark
from sidecar.store.scripting import run_write
from sidecar.tokens.opaque import Pepper

ROWS: Final = 200
"""Audit rows per script call."""
BATCH: Final = 16
"""Accounts restored concurrently."""

Progress = Callable[[int, int], None]
"""Callback for the numbers of completed and of all accounts."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Result of a restore. ``skipped``: accounts left out because another account here has their name."""

    accounts: int
    users: int
    skipped: tuple[str, ...] = ()


class Restore:
    def __init__(self, store: Store, pepper: Pepper | None, head: ArchiveHead, progress: Progress) -> None:
        self._store = store
        self._pepper = pepper
        self._taken = str(head.taken)
        self._progress = progress

    async def run(self, wanted: Sequence[ArchivedAccount]) -> Restored:
        """Restore ``wanted`` except accounts with a name that another account has, then set a new data set id.

        An interrupted restore leaves its mark (restore_mark.py).
        """
        await set_mark(self._store)
        free = await self._take_names(wanted)
        users: dict[AccountId, int] = {}
        for start in range(0, len(free), BATCH):
            batch = free[start : start + BATCH]
            await self._hint(batch)
            for one, count in zip(batch, await gather_all(*map(self._restore, batch)), strict=True):
                if count is not None:
                    users[one.account] = count
            self._progress(start + len(batch), len(free))
        await replace(self._store, self._pepper)
        await clear_mark(self._store)
        skipped = tuple(one.account for one in wanted if one.account not in users)
        return Restored(len(users), sum(users.values()), skipped)

    async def _take_names(self, wanted: Sequence[ArchivedAccount]) -> list[ArchivedAccount]:
        """Return the accounts with a name that is free or their own, and release their older names.

        A name is also free if another of the accounts releases it."""
        claims = {folded: value.split() for folded, value in await self._store.pairs("HGETALL", keys.names())}
        owners = {folded: AccountId(claim[0]) for folded, claim in claims.items()}
        names = {one.account: keys.folded(one.name) for one in wanted}
        settled = {
            folded: owners[folded] for folded, claim in claims.items() if len(claim) == 1
        }  # `_restore` settles the others
        while taken := [one for one, name in names.items() if settled.get(name, one) not in names]:
            for account in taken:
                del names[account]
        older = [folded for folded, account in owners.items() if names.get(account, folded) != folded]
        for start in range(0, len(older), ROWS):
            await self._store.change("HDEL", keys.names(), *older[start : start + ROWS])
        return [one for one in wanted if one.account in names]

    async def _hint(self, batch: Sequence[ArchivedAccount]) -> None:
        """Write e-mail hints in one series of script calls per partition of the e-mails."""
        hints: dict[str, dict[str, str]] = {}
        for one in batch:
            for email in one.emails:
                key = keys.email_hint(email, self._store.partitions)
                written = hints.setdefault(key.partition("}")[0], {})
                written[key] = f"{written[key]} {one.account}" if key in written else one.account
        for written in hints.values():
            names = list(written)
            for start in range(0, len(names), ROWS):
                some = names[start : start + ROWS]
                await self._store.run("hints_add", some, [written[name] for name in some], write=True)

    async def _restore(self, one: ArchivedAccount) -> int | None:
        """Restore one account. Returns its number of users; None when another account has taken its name."""
        if await claim_name(self._store, one.name, one.account) is not None:
            return None
        operator = Actor.operator()
        reply = await run_write(self._store, "restore_account", one.account, operator, data=one.data)
        kept = [[f"{row.seq}-0", flat(row.fields)] for row in one.rows] if reply["fresh"] == "1" else []
        pieces = [kept[start : start + ROWS] for start in range(0, len(kept), ROWS)] or [[]]
        for number, rows in enumerate(pieces, 1):
            done = number == len(pieces) or None
            await run_write(self._store, "restore_rows", one.account, operator, rows=rows, taken=self._taken, done=done)
        await settle_name(self._store, one.name, one.account, "keep")
        return integer(reply["users"])
