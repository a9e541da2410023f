"""Pause of worker restarts after too many crashes. Pure: ``now`` is an argument, in monotonic seconds.

The pause limits the cost of workers that crash faster than they start (a bug triggered by a request, a machine without
memory). Exiting instead would require a manual start. Each pause is twice as long as the last, and restarts always
resume.
"""

from collections import deque
from typing import Final

CRASHES: Final = 10
CRASH_WINDOW: Final = 30.0
"""CRASHES crashes of all workers within CRASH_WINDOW seconds begin a pause."""

FIRST_LONG_PAUSE: Final = 30.0
LONGEST_LONG_PAUSE: Final = 300.0
"""Limits of a pause, in seconds. After LONGEST_LONG_PAUSE without a pause, the next one is the first again."""


class RestartPause:
    """Recent crashes of all workers, and the current pause."""

    def __init__(self) -> None:
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._until = float("-inf")
        self._next = FIRST_LONG_PAUSE
        self._announced = False

    def record_crash(self, now: float) -> float | None:
        """Count a crash. Return the seconds of the pause that it begins. Crashes during a pause begin no other."""
        if self.remaining(now) > 0:
            return None
        self._crashes.append(now)
        if len(self._crashes) < CRASHES or now - self._crashes[0] >= CRASH_WINDOW:
            return None
        self._crashes.clear()
        seconds = FIRST_LONG_PAUSE if now - self._until > LONGEST_LONG_PAUSE else self._next
        self._until, self._next = now + seconds, min(2 * seconds, LONGEST_LONG_PAUSE)
        self._announced = True
        return seconds

    def remaining(self, now: float) -> float:
        """Return the seconds until restarts resume, 0 when they are not paused."""
        return max(0.0, self._until - now)

    def resume(self, now: float) -> bool:
        """Return True once for each ended pause."""
        ended = self._announced and self.remaining(now) == 0
        if ended:
            self._announced = False
        return ended
