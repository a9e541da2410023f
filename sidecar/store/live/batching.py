"""Batches of store lookups: lookups issued in one event-loop iteration share one script call per partition."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

MAX_BATCH: Final = 64
"""Lookups per script call. Redis runs nothing else meanwhile, about 15 µs per lookup. Further lookups form another
batch on another connection, without waiting for the first."""

Question = TypeVar("Question")


class Batcher(Generic[Question]):
    """Batcher of the lookups of one event-loop iteration, per partition.

    A round trip costs the client several times as much as its reply. Each caller waits for its own batch only, so a
    hung store delays each lookup by one timeout.
    """

    def __init__(self, send: Callable[[int, list[Question]], Coroutine[Any, Any, None]]) -> None:
        self._send = send
        self._pending: dict[int, list[Question]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def add(self, partition: int, question: Question) -> None:
        gathering = self._pending.get(partition)
        if gathering is not None and len(gathering) < MAX_BATCH:
            gathering.append(question)
            return
        self._pending[partition] = piece = [question]
        # Defer one iteration, so that lookups from newly created tasks join the batch.
        asyncio.get_running_loop().call_soon(self._flush, partition, piece)

    def _flush(self, partition: int, piece: list[Question]) -> None:
        task = asyncio.create_task(self._handed_on(partition, piece))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _handed_on(self, partition: int, piece: list[Question]) -> None:
        if self._pending.get(partition) is piece:
            del self._pending[partition]
        await self._send(partition, piece)
