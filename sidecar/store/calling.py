"""Wrapper of redis-py calls: converts outages to StoreUnavailableError and preserves cancellation."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from sidecar.store.errors import outage_or_bug

Answer = TypeVar("Answer")


async def guarded_call(call: Awaitable[Answer]) -> Answer:
    """Return the reply. Raises StoreUnavailableError in an outage, and a bug unchanged.

    redis-py sends through ``asyncio.wait_for``, which before Python 3.12 loses a cancellation at the end of the send:
    the task would never end. So a task that was cancelled during the call raises CancelledError.
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


async def gather_all(*calls: Any) -> list[Any]:
    """Return the results of concurrent calls. Raises the first failure after all have ended, so that none runs on."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)
