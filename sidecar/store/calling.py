"""One call to redis-py, made safe: outages become ours, and a cancellation is never lost."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from sidecar.store.errors import outage_or_bug

Answer = TypeVar("Answer")


async def called(call: Awaitable[Answer]) -> Answer:
    """The answer, or StoreUnavailable, or the bug as it is.

    redis-py sends through ``asyncio.wait_for``, which before Python 3.12 loses a cancellation that meets the end of the
    send: the task would go on for ever. So whoever was cancelled meanwhile is told so after all.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        answer = await call
    except Exception as error:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise outage_or_bug(error) from error
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return answer


@dataclass(frozen=True, slots=True)
class Server:
    """One server by itself."""

    client: Any

    async def command(self, *words: str | int) -> Any:
        return await called(self.client.execute_command(*words))


async def gathered(*calls: Any) -> list[Any]:
    """All of them at once; the first failure is raised after all have ended, so that none runs on unseen."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)
