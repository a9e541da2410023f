"""Denials in the application log: one warning per minute and kind of cause, with a count."""

from collections.abc import Callable
from time import monotonic
from typing import Final

from sidecar.http.denial_causes import Cause, CauseKind
from sidecar.telemetry.app_log import logger

SECONDS: Final = 60.0

_log = logger("http")


class DenialLog:
    """Rate-limited log of denials. One per process. ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._logged: dict[CauseKind, float] = {}
        self._since: dict[CauseKind, int] = {}

    def cause(self, cause: Cause, endpoint: str) -> None:
        """Log the first cause of its kind at once, and later ones together, at most one line per minute."""
        kind, now = cause.kind, self._clock()
        count = self._since.get(kind, 0) + 1
        last = self._logged.get(kind)
        if last is not None and now - last < SECONDS:
            self._since[kind] = count
            return
        self._since[kind], self._logged[kind] = 0, now
        _log.warning("requests denied", kind=kind.value, count=count, endpoint=endpoint, detail=cause.detail)


DENIAL_LOG: Final = DenialLog()
