"""A background task that fails is started again, after a growing pause, and never ends the process (R50)."""

import asyncio

import pytest

from sidecar.telemetry.task_supervision import FIRST_PAUSE, LONGEST_PAUSE, STEADY_SECONDS, supervised


class Timeline:
    """A clock that a pause moves; records the pauses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


async def test_a_failing_task_is_started_again_with_growing_pauses() -> None:
    time, counted, runs = Timeline(), [], 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs <= 12:
            raise RuntimeError("broken")

    await supervised("feed", work, failed=counted.append, clock=time.clock, sleep=time.sleep)

    assert counted == ["feed"] * 12
    assert time.pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert time.pauses[-1] == LONGEST_PAUSE
    assert time.pauses == sorted(time.pauses)


async def test_a_task_that_ran_long_restarts_with_the_first_pause() -> None:
    time, runs = Timeline(), 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 4:
            return
        if runs == 3:
            time.now += STEADY_SECONDS
        raise RuntimeError("broken")

    await supervised("feed", work, clock=time.clock, sleep=time.sleep)

    assert time.pauses == [FIRST_PAUSE, 2 * FIRST_PAUSE, FIRST_PAUSE]


async def test_a_cancelled_task_is_not_started_again() -> None:
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(supervised("feed", work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert runs == 1
