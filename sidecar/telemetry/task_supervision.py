"""Background tasks: a failed task is logged, counted and restarted. A task never ends the process."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any, Final

from sidecar.telemetry.app_log import logger

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""Run time after which a failed task restarts with the first pause."""

Work = Callable[[], Coroutine[Any, Any, None]]

_log = logger("tasks")


async def supervised(
    name: str,
    work: Work,
    *,
    failed: Callable[[str], None] = lambda _name: None,
    clock: Callable[[], float] = monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run ``work()`` until it returns or is cancelled. After an exception, run it again after a growing pause.

    ``failed`` receives the name at each failure, for the metric ``sidecar_task_restarts_total``.
    """
    pause = FIRST_PAUSE
    while True:
        begun = clock()
        try:
            await work()
        except Exception:
            if clock() - begun >= STEADY_SECONDS:
                pause = FIRST_PAUSE
            _log.exception("background task failed, restarting", task=name, pause_s=pause)
            failed(name)
            await sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            return
