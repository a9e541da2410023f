"""Questions of many askers that go to the store in one script."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

MOST: Final = 64
"""Questions in one script: Redis does nothing else meanwhile, about 15 µs for each. What more there is takes a
connection of its own, and waits for no answer."""

Question = TypeVar("Question")


class Together(Generic[Question]):
    """Questions that are asked in one turn of the loop are handed on in one piece, those of a partition to each.

    A round trip costs the client several times what its answer does. Nobody waits for an answer that is not its own
    piece's, so a store that hangs delays each question by its own timeout and not by those of others.
    """

    def __init__(self, ask: Callable[[int, list[Question]], Coroutine[Any, Any, None]]) -> None:
        self._ask = ask
        self._gathering: dict[int, list[Question]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    def add(self, partition: int, question: Question) -> None:
        gathering = self._gathering.get(partition)
        if gathering is not None and len(gathering) < MOST:
            gathering.append(question)
            return
        self._gathering[partition] = piece = [question]
        # Once more around: requests that have just arrived get here by way of tasks of their own.
        asyncio.get_running_loop().call_soon(self._hand_on, partition, piece)

    def _hand_on(self, partition: int, piece: list[Question]) -> None:
        task = asyncio.create_task(self._handed_on(partition, piece))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _handed_on(self, partition: int, piece: list[Question]) -> None:
        if self._gathering.get(partition) is piece:
            del self._gathering[partition]
        await self._ask(partition, piece)
