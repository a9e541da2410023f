"""Failed sign-ins and step-ups in the application log, for fail2ban and a SIEM: one bounded line per failure.

A line has outcome, client address and request id. The e-mail is left out: it may be a password, typed into
the wrong field. The audit has the users.
"""

from collections.abc import Callable
from enum import StrEnum
from time import monotonic
from typing import Final

from sidecar.telemetry.app_log import logger

WINDOW_SECONDS: Final = 60.0
MAX_PER_ADDRESS: Final = 20
"""Lines per window and address: more than fail2ban needs for a ban."""
MAX_LINES: Final = 1000
"""Lines per window. Failures that cost no hash, such as rejected ones, must not fill a disk."""

_log = logger("sign-in")


class FailureEvent(StrEnum):
    """Name of a log event."""

    SIGN_IN = "sign_in_failed"
    STEP_UP = "step_up_failed"


class FailureLog:
    """Bounded log of failures. One per process. ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._lines: dict[str, int] = {}
        self._total = 0
        self._dropped = 0

    def failed(self, event: FailureEvent, outcome: str, *, address: str, request_id: str) -> None:
        """Log one failure. The fields are texts of the sidecar; ``request_id`` is well-formed."""
        now = self._clock()
        if now - self._since >= WINDOW_SECONDS:
            self._begin(now)
        lines = self._lines.get(address, 0)
        if lines >= MAX_PER_ADDRESS or self._total >= MAX_LINES:
            self._dropped += 1
            return
        self._lines[address] = lines + 1
        self._total += 1
        _log.warning(event.value, outcome=outcome, address=address, request_id=request_id)

    def _begin(self, now: float) -> None:
        """Start a window, and log the number of failures that had no line in the last one."""
        if self._dropped:
            _log.warning("failed sign-ins without a line", count=self._dropped)
        self._since, self._lines, self._total, self._dropped = now, {}, 0, 0


FAILURE_LOG: Final = FailureLog()
