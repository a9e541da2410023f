"""One account's script, called: its keys, who does it, and a request id under which it is not executed twice."""

from collections.abc import Sequence
from typing import Any

from sidecar.domain.users import AccountId, Actor, UserId
from sidecar.store import keys
from sidecar.store.codec import integer
from sidecar.store.connection import Store


async def look(store: Store, script: str, account: AccountId, /, **args: object) -> dict[str, Any]:
    """A script that only reads. Raises StoreUnavailable when the store is behind what was applied here."""
    applied = store.gate.applied(keys.partition_of(account, store.partitions))
    reply = await store.run(script, _keys(store, account), {"acct": account, **args})
    store.gate.judge(integer(reply.pop("feed")), applied)
    return reply


async def look_up(store: Store, whom: Sequence[tuple[AccountId, UserId]]) -> dict[str, Any]:
    """The live records of users in accounts of ONE partition, as ``record.lua`` tells them: ``found``, in the same
    order. Raises StoreUnavailable as ``look`` does."""
    first, _ = whom[0]
    partition = keys.partition_of(first, store.partitions)
    applied = store.gate.applied(partition)
    at = [keys.feed(partition)]
    at += [keys.account(account, store.partitions) for account, _ in whom]
    reply = await store.run("record", at, {"uids": [uid for _, uid in whom]})
    store.gate.judge(integer(reply["feed"]), applied)
    return reply


async def transition(store: Store, script: str, account: AccountId, actor: Actor, /, **args: object) -> dict[str, Any]:
    """A script that changes. Arguments that are None are left out: Lua sees nil."""
    by = {
        "uid": actor.user or "",
        "role": actor.role,
        "tv": str(actor.epoch),
        "sid": actor.session or "",
        "addr": actor.address,
        "req": actor.request_id,
    }
    given = {name: value for name, value in args.items() if value is not None}
    places = _keys(store, account)
    if actor.user:  # its answer is a read, too: whether a session lives, whether a link is good
        store.gate.admit(script, places[0])
    reply = await store.run(script, places, {"acct": account, "rid": store.request_id(), "by": by, **given}, write=True)
    reply["partition"] = keys.partition_of(account, store.partitions)
    return reply


def _keys(store: Store, account: AccountId) -> list[str]:
    return [
        keys.feed(keys.partition_of(account, store.partitions)),
        keys.account(account, store.partitions),
    ]


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
