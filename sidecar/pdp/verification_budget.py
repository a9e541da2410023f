"""How much of the loop's time tokens that were never seen may take (R8): a flood of them must not starve those known.

A bucket of seconds: every verification takes out what it cost, the clock puts some back. Empty means ``overloaded``,
which is a denial. What is remembered never asks.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Final

SHARE: Final = 0.75
"""Of the loop's time. A never-seen token costs two thirds of its request in verification, so honest load fits."""

BURST: Final = 1.0
"""Seconds of verification at once: about ten thousand tokens after a restart."""


class Budget:
    """Not for threads. ``timer`` is monotonic, in seconds."""

    def __init__(
        self, *, share: float = SHARE, burst: float = BURST, timer: Callable[[], float] = perf_counter
    ) -> None:
        self._share = share
        self._burst = burst
        self._timer = timer
        self._left = burst
        self._at = timer()

    def is_spent(self) -> bool:
        now = self._timer()
        self._left = min(self._burst, self._left + (now - self._at) * self._share)
        self._at = now
        return self._left <= 0

    def charge(self, since: float) -> None:
        """A verification that began at ``since`` (by the same timer) has ended."""
        self._left -= self._timer() - since

    def take(self, seconds: float) -> None:
        """Work whose cost is known beforehand: its wall time would count what the loop did for others meanwhile."""
        self._left -= seconds

    def now(self) -> float:
        return self._timer()
