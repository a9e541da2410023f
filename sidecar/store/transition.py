"""One account's script, called: its keys, who does it, and a request id under which it is not executed twice; and
questions that are asked together."""

import asyncio
from typing import Any, Final

from sidecar.store import keys
from sidecar.store.connection import Call, Store
from sidecar.vocabulary.people import AccountId, Actor


async def look(store: Store, script: str, account: AccountId, /, **args: object) -> dict[str, Any]:
    """A script that only reads."""
    return await store.run(script, _keys(store, account), {"acct": account, **args})


MOST_TOGETHER: Final = 64
"""Questions in one write: what more there is does not wait for the answer, it takes a connection of its own."""


class Looks:
    """``look`` with one script, for whoever asks again and again: what is asked in one turn of the loop is sent in one
    write. A round trip costs the client several times what its answer does (measured: 90 µs for one, 15 for each of
    sixteen). Every answer is of an instant after its question."""

    def __init__(self, store: Store, script: str) -> None:
        self._store = store
        self._script = script
        self._waiting: dict[int, list[tuple[Call, asyncio.Future[dict[str, Any]]]]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def ask(self, account: AccountId, /, **args: object) -> dict[str, Any]:
        """As ``look``."""
        partition = keys.partition_of(account, self._store.partitions)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        asked = ((_keys(self._store, account), {"acct": account, **args}), answer)
        waiting = self._waiting.get(partition)
        if waiting is not None and len(waiting) < MOST_TOGETHER:
            waiting.append(asked)
        else:
            self._send(partition, [asked])
        return await answer

    def _send(self, partition: int, batch: list[tuple[Call, "asyncio.Future[dict[str, Any]]"]]) -> None:
        self._waiting[partition] = batch
        task = asyncio.create_task(self._sent(partition, batch))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _sent(self, partition: int, batch: list[tuple[Call, "asyncio.Future[dict[str, Any]]"]]) -> None:
        await asyncio.sleep(0)  # once more around: requests that have just arrived get here by way of tasks of their own
        if self._waiting.get(partition) is batch:  # whoever asks from now on is too late for this write
            del self._waiting[partition]
        try:
            replies = await self._replies([call for call, _ in batch])
        except Exception as problem:
            replies = [problem for _ in batch]
        for (_, answer), reply in zip(batch, replies, strict=True):
            if answer.done():  # its asker has gone away
                continue
            if isinstance(reply, Exception):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

    async def _replies(self, calls: list[Call]) -> list[dict[str, Any] | Exception]:
        if len(calls) == 1:
            return [await self._store.run(self._script, *calls[0])]
        return await self._store.run_together(self._script, calls)


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
