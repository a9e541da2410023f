"""Budget of loop time for never-seen tokens (R8), so that a flood of them cannot starve known tokens.

Token bucket in seconds: each verification takes its cost, and the clock refills it. Empty means ``overloaded``, a
denial. Cached tokens bypass the budget.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Final

SHARE: Final = 0.75
"""Share of loop time. Verification is two thirds of the cost of a never-seen token's request, so honest load fits."""

BURST: Final = 1.0
"""Burst in seconds of verification: about ten thousand tokens after a restart."""


class VerificationBudget:
    """Token bucket of seconds. Not thread-safe. ``timer`` is monotonic, in seconds."""

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
        """Take the time since ``since`` (same timer): the cost of a finished verification."""
        self._left -= self._timer() - since

    def take(self, seconds: float) -> None:
        """Take a known cost. Measured wall time would include other work of the loop."""
        self._left -= seconds

    def now(self) -> float:
        return self._timer()
