"""The pause of worker restarts after too many crashes. Pure: the time is an argument, in seconds that only grow.

Whatever crashes workers faster than they start (a bug that a request triggers, a machine without memory) costs less
while nothing is restarted, and a sidecar that exits would be gone until somebody starts it. So restarts pause, twice as
long each time, and are resumed always.
"""

from collections import deque
from typing import Final

CRASHES: Final = 10
CRASH_WINDOW: Final = 30.0
"""As many crashes of all workers in so many seconds begin a pause."""

FIRST_LONG_PAUSE: Final = 30.0
LONGEST_LONG_PAUSE: Final = 300.0
"""A pause after which nothing paused for as long is the first one again."""


class RestartPause:
    """The recent crashes of all workers, and the pause that they began."""

    def __init__(self) -> None:
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._until = float("-inf")
        self._next = FIRST_LONG_PAUSE
        self._announced = False

    def record_crash(self, now: float) -> float | None:
        """Count a crash; return the seconds of the pause that it begins. Crashes during a pause begin no other."""
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
        """Return the seconds until restarts are resumed, 0 when they are not paused."""
        return max(0.0, self._until - now)

    def resume(self, now: float) -> bool:
        """Return True once for each pause that has ended."""
        ended = self._announced and self.remaining(now) == 0
        if ended:
            self._announced = False
        return ended
