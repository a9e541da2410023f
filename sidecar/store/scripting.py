"""Calls of the scripts of one account: keys, actor, and a request id under which a script executes once."""

from collections.abc import Sequence
from typing import Any

from sidecar.domain.users import AccountId, Actor, UserId
from sidecar.store import keys
from sidecar.store.codec import integer
from sidecar.store.connection import Store


async def run_read(store: Store, script: str, account: AccountId, /, **args: object) -> dict[str, Any]:
    """Run a read-only script. Raises StoreUnavailableError in an outage, and for a store behind the changes applied
    here."""
    applied = store.gate.applied(keys.partition_of(account, store.partitions))
    reply = await store.run(script, _keys(store, account), {"acct": account, **args})
    store.gate.require_current(integer(reply.pop("feed")), applied)
    return reply


async def read_records(store: Store, users: Sequence[tuple[AccountId, UserId]]) -> dict[str, Any]:
    """Read the live records of users in accounts of ONE partition. Raises StoreUnavailableError as ``run_read`` does.

    Returns the reply of ``record.lua``: ``found``, in the order of ``users``.
    """
    first, _ = users[0]
    partition = keys.partition_of(first, store.partitions)
    applied = store.gate.applied(partition)
    at = [keys.feed(partition)]
    at += [keys.account(account, store.partitions) for account, _ in users]
    reply = await store.run("record", at, {"uids": [uid for _, uid in users]})
    store.gate.require_current(integer(reply["feed"]), applied)
    return reply


async def run_write(store: Store, script: str, account: AccountId, actor: Actor, /, **args: object) -> dict[str, Any]:
    """Run a writing script. Arguments that are None are omitted: Lua reads nil. Raises StoreUnavailable.

    A user's change is also rejected if the reply is of a store behind the changes applied here: "not found" of an
    emptied store is no result.
    """
    by = {
        "uid": actor.user or "",
        "role": actor.role,
        "tv": str(actor.epoch),
        "sid": actor.session or "",
        "addr": actor.address,
        "req": actor.request_id,
    }
    present = {name: value for name, value in args.items() if value is not None}
    places = _keys(store, account)
    partition = keys.partition_of(account, store.partitions)
    applied = store.gate.applied(partition)
    if actor.user:  # the reply is a read too, for example of a session or a link
        store.gate.admit(script, places[0])
    reply = await store.run(
        script, places, {"acct": account, "rid": store.request_id(), "by": by, **present}, write=True
    )
    if actor.user:
        store.gate.require_current(integer(reply["feed"]), applied)
    reply["partition"] = partition
    return reply


def _keys(store: Store, account: AccountId) -> list[str]:
    return [
        keys.feed(keys.partition_of(account, store.partitions)),
        keys.account(account, store.partitions),
    ]


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
