"""One account's script, called: its keys, who does it, and a request id under which it is not executed twice."""

from collections.abc import Sequence
from typing import Any

from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.vocabulary.people import AccountId, Actor, UserId


async def look(store: Store, script: str, account: AccountId, /, **args: object) -> dict[str, Any]:
    """A script that only reads."""
    return await store.run(script, _keys(store, account), {"acct": account, **args})


async def look_up(store: Store, whom: Sequence[tuple[AccountId, UserId]]) -> dict[str, Any]:
    """The live records of users in accounts of ONE partition, as ``record.lua`` tells them: ``found``, in the same
    order, and ``n``."""
    first, _ = whom[0]
    at = [keys.feed(keys.partition_of(first, store.partitions))]
    at += [keys.account(account, store.partitions) for account, _ in whom]
    return await store.run("record", at, {"uids": [uid for _, uid in whom]})


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
    reply = await store.run(
        script, _keys(store, account), {"acct": account, "rid": store.request_id(), "by": by, **given}, write=True
    )
    reply["partition"] = keys.partition_of(account, store.partitions)
    return reply


def _keys(store: Store, account: AccountId) -> list[str]:
    return [
        keys.feed(keys.partition_of(account, store.partitions)),
        keys.account(account, store.partitions),
    ]


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
