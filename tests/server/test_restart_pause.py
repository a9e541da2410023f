"""Pauses of restarts: condition, duration, and certain resumption. Time is an argument."""

import pytest

from sidecar.server.workers.restart_pause import (
    CRASH_WINDOW,
    CRASHES,
    FIRST_LONG_PAUSE,
    LONGEST_LONG_PAUSE,
    RestartPause,
)


def crash(pause: RestartPause, *times: float) -> list[float | None]:
    return [pause.record_crash(time) for time in times]


def ten(pause: RestartPause, now: float) -> float | None:
    *none, last = crash(pause, *(now + number for number in range(CRASHES)))
    assert none == [None] * (CRASHES - 1)
    return last


def test_nine_crashes_are_no_pause_and_ten_are() -> None:
    pause = RestartPause()
    assert ten(pause, 0.0) == FIRST_LONG_PAUSE
    assert pause.remaining(CRASHES - 1) == FIRST_LONG_PAUSE
    assert pause.remaining(CRASHES - 1 + FIRST_LONG_PAUSE) == 0


def test_ten_crashes_over_half_a_minute_are_none() -> None:
    pause = RestartPause()
    apart = CRASH_WINDOW / (CRASHES - 1)
    assert crash(pause, *(number * apart for number in range(100))) == [None] * 100


def test_a_pause_doubles_and_has_an_end() -> None:
    pause, now, found = RestartPause(), 0.0, []
    for _ in range(7):
        seconds = ten(pause, now)
        assert seconds is not None
        found.append(seconds)
        now += CRASHES + seconds
    assert found == [30, 60, 120, 240, 300, 300, 300]


@pytest.mark.parametrize(("well", "seconds"), [(LONGEST_LONG_PAUSE - CRASHES - 1, 60), (LONGEST_LONG_PAUSE + 1, 30)])
def test_a_pause_long_ago_is_forgotten(well: float, seconds: float) -> None:
    pause = RestartPause()
    ten(pause, 0.0)
    assert ten(pause, CRASHES - 1 + FIRST_LONG_PAUSE + well) == seconds


def test_crashes_during_a_pause_begin_no_other() -> None:
    pause = RestartPause()
    ten(pause, 0.0)
    assert crash(pause, *(CRASHES + number for number in range(20))) == [None] * 20
    assert ten(pause, CRASHES + FIRST_LONG_PAUSE) == 2 * FIRST_LONG_PAUSE


def test_the_end_of_a_pause_is_reported_once() -> None:
    pause = RestartPause()
    assert not pause.resume(0.0)
    ten(pause, 0.0)
    assert not pause.resume(CRASHES)
    assert pause.resume(CRASHES + FIRST_LONG_PAUSE)
    assert not pause.resume(CRASHES + FIRST_LONG_PAUSE)
