"""Repeated work on the store: after each change, in intervals, and soon again after a failure."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from sidecar.store.connection import StoreUnavailableError

LOOK_SECONDS: Final = 10.0
"""Interval without any event."""
RETRY_SECONDS: Final = 0.25


async def repeat(work: Callable[[], Awaitable[None]], changed: asyncio.Event, is_settled: Callable[[], bool]) -> None:
    """Run ``work`` after each change, every LOOK_SECONDS, and soon again while it fails or is not settled."""
    while True:
        changed.clear()
        try:
            await work()
            pause = LOOK_SECONDS if is_settled() else RETRY_SECONDS
        except StoreUnavailableError:
            pause = RETRY_SECONDS
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), pause)
