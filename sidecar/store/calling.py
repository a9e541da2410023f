"""One call to redis-py, made safe: outages become ours, and a cancellation is never lost."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

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
        raise outage_or_bug(error) from error
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return answer
