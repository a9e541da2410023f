"""Which roles somebody holds, over all accounts: asked before a policy is put in force that lacks one (R26).

Nothing counts roles while people come and go; the users are looked at when it matters, in calls so small that nobody
waits for them. Who may ask for it often asks first which roles can be missed at all (generations.py): mostly none.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Final

from sidecar.domain.users import AccountId
from sidecar.store import keys
from sidecar.store.codec import integer, items
from sidecar.store.connection import Store

ACCOUNTS: Final = 50
"""Accounts named in one call."""

USERS: Final = 250
"""Users looked at in one call: about a millisecond of the server's time. A million take seven seconds."""


class RoleHolders:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def holding(self, roles: Collection[str]) -> Mapping[str, int]:
        """How many users and unexpired invitations hold each of ``roles``; those that nobody holds are left out.

        Exact for whoever was there before it was asked and still is when it answers. SSCAN may show a member twice
        while its account grows: a count can be too high, never 0 for a role that is held.
        """
        held: Counter[str] = Counter()
        if roles:
            async for batch in self._batches():
                held.update(await self._look(batch, roles))
        return dict(held)

    async def _look(self, accounts: Sequence[str], roles: Collection[str]) -> Counter[str]:
        held: Counter[str] = Counter()
        words, cursor = json.dumps(sorted(roles)), "0"
        while accounts:
            reply = await self._store.run("roles_held", accounts, [words, str(USERS), cursor])
            held.update({role: integer(count) for role, count in items(reply["held"])})
            place, cursor = integer(reply["place"]), str(reply["cursor"])
            accounts = accounts[place - 1 :] if place else ()
        return held

    async def _batches(self) -> AsyncIterator[Sequence[str]]:
        """The accounts' keys, a partition at a time: one call's keys share a slot."""
        waiting: dict[int, list[str]] = {}
        seen: set[AccountId] = set()
        async for account in self._accounts():
            if account in seen:  # HSCAN may show one twice
                continue
            seen.add(account)
            partition = keys.partition_of(account, self._store.partitions)
            batch = waiting.setdefault(partition, [])
            batch.append(keys.account(account, self._store.partitions))
            if len(batch) == ACCOUNTS:
                yield waiting.pop(partition)
        for batch in waiting.values():
            yield batch

    async def _accounts(self) -> AsyncIterator[AccountId]:
        cursor = "0"
        while True:
            cursor, flat = await self._store.command("HSCAN", keys.names(), cursor, "COUNT", 1000)
            values = flat.values() if isinstance(flat, Mapping) else list(flat)[1::2]
            for value in values:
                yield AccountId(str(value).split()[0])
            if str(cursor) == "0":
                return
