"""Roles in use, over all accounts: read before the activation of a policy that lacks one of them (R26).

No counter follows the changes of users. The users are read on demand, in calls so small that they delay no other call.
Frequent callers first read the roles that can be missing at all (policy_history.py): usually none.
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
"""Accounts per call."""

USERS: Final = 250
"""Users read per call: about 1 ms of server time. One million users take 7 s."""


class RoleHolders:
    """Counter of the users that hold a role."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def holding(self, roles: Collection[str]) -> Mapping[str, int]:
        """Return the number of users and unexpired invitations per role. Roles without holders are omitted.

        Exact for users that exist during the whole call. SSCAN may return a member twice while its account grows:
        a count may be too high, but is never 0 for a role in use. Raises StoreUnavailableError.
        """
        return await self._count(roles, "listed") if roles else {}

    async def undeclared(self, declared: Collection[str]) -> Mapping[str, int]:
        """Return the same numbers for all roles that are not in ``declared``. Reads every user."""
        return await self._count(declared, "others")

    async def _count(self, roles: Collection[str], which: str) -> Mapping[str, int]:
        counts: Counter[str] = Counter()
        async for batch in self._batches():
            counts.update(await self._look(batch, roles, which))
        return dict(counts)

    async def _look(self, accounts: Sequence[str], roles: Collection[str], which: str) -> Counter[str]:
        counts: Counter[str] = Counter()
        words, cursor = json.dumps(sorted(roles)), "0"
        while accounts:
            reply = await self._store.run("roles_held", accounts, [words, str(USERS), cursor, which])
            counts.update({role: integer(count) for role, count in items(reply["held"])})
            place, cursor = integer(reply["place"]), str(reply["cursor"])
            accounts = accounts[place - 1 :] if place else ()
        return counts

    async def _batches(self) -> AsyncIterator[Sequence[str]]:
        """Yield account keys, one partition per batch: the keys of one call share a slot."""
        waiting: dict[int, list[str]] = {}
        seen: set[AccountId] = set()
        async for account in self._accounts():
            if account in seen:  # HSCAN may return an account twice
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
