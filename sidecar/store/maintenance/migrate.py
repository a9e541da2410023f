"""Migration of a store from an older schema. Resumable: a repeated step changes nothing.

Schema 2: each partition has a copy of the meta record and an index of its accounts. Feed entries hold role, status and
password change; held users have a field of their own (R48).
Schema 3: sessions hold their proofs, and accounts their labels. Each session of an older schema began by a password.

Partitions are migrated first, then sessions, ``sc:meta`` last. Until then every sidecar rejects the store and names
both schemas. A running sidecar of the older schema detects the migration at its next registration (R46). A session that
it opens until then has proven nothing.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from sidecar.domain.users import AccountId, Actor
from sidecar.store import keys
from sidecar.store.codec import integer
from sidecar.store.connection import Store
from sidecar.store.errors import StoreMismatchError
from sidecar.store.integrity.data_set import replace_partition
from sidecar.store.maintenance.startup_checks import SCHEMA
from sidecar.store.scripting import run_write
from sidecar.tokens.opaque import Pepper

OLDER: Final = ("1", "2")
SCAN_COUNT: Final = 1000
BATCH: Final = 500
USERS: Final = 100
"""Users per script, each with up to 20 sessions."""
_ACCOUNT: Final = re.compile(r"sc:\{p(\d\d)\}:a:(acc_[a-z2-7]{12})")


@dataclass(frozen=True, slots=True)
class Migrated:
    """Result of a migration. ``before``: the schema found. ``accounts``: number of indexed accounts. ``sessions``: of
    those that got their proofs."""

    before: str
    accounts: int
    sessions: int = 0


async def migrate(store: Store, pepper: Pepper) -> Migrated | None:
    """Migrate the store. Returns None when its schema is current or it is empty.

    Raises StoreUnavailableError and StoreMismatchError."""
    meta = dict(await store.pairs("HGETALL", keys.META))
    if not meta or meta.get("schema") == SCHEMA:
        return None
    before = meta.get("schema", "")
    if before not in OLDER:
        raise StoreMismatchError(
            f"the store at {store.where} has schema {before}, this sidecar migrates {' and '.join(OLDER)} to {SCHEMA}: "
            "use the sidecar version that wrote it"
        )
    if meta.get("pepper", pepper.identity) != pepper.identity:
        raise StoreMismatchError(
            f"the store at {store.where} holds passwords made with another pepper: "
            "point SIDECAR_KEYS_DIR at the keys that belong to this store"
        )
    store.partitions = int(meta["P"])
    wanted = {**meta, "schema": SCHEMA}
    await _index(store)
    for partition in range(store.partitions):
        if await store.command("HGET", keys.partition_meta(partition), "schema") != SCHEMA:
            await replace_partition(store, pepper, partition, wanted, remedy="run `sidecar migrate` again")
    accounts = await _index(store)  # again: a sidecar of the older schema may have created accounts meanwhile
    sessions = [await _prove_sessions(store, partition) for partition in range(store.partitions)]
    await store.change("HSET", keys.META, "schema", SCHEMA)
    return Migrated(before, accounts, sum(sessions))


async def _prove_sessions(store: Store, partition: int) -> int:
    """Give every session without proofs the password, at its start. Returns the number of these sessions."""
    sessions = 0
    for name in sorted(await store.command("SMEMBERS", keys.accounts(partition))):
        account = AccountId(name)
        members = sorted(await store.command("SMEMBERS", f"{keys.account(account, store.partitions)}:members"))
        for start in range(0, len(members), USERS):
            uids = members[start : start + USERS]
            reply = await run_write(store, "sessions_migrate", account, Actor.operator(), uids=uids)
            sessions += integer(reply["sessions"])
    return sessions


async def _index(store: Store) -> int:
    """Add every account to the index of its partition. Returns the number of accounts."""
    found: dict[int, set[str]] = {}
    async for key in _keys(store):
        if match := _ACCOUNT.fullmatch(key):
            found.setdefault(int(match[1]), set()).add(match[2])
    for partition, accounts in found.items():
        listed = sorted(accounts)
        for start in range(0, len(listed), BATCH):
            await store.change("SADD", keys.accounts(partition), *listed[start : start + BATCH])
    return sum(map(len, found.values()))


async def _keys(store: Store) -> AsyncIterator[str]:
    for server in await store.servers():
        cursor = "0"
        while True:
            cursor, found = await server.command(
                "SCAN", cursor, "MATCH", "sc:{p*}:a:acc_????????????", "COUNT", SCAN_COUNT
            )
            for key in found:
                yield str(key)
            if str(cursor) == "0":
                break
