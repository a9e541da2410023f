"""Denials in the application log: one warning per minute and kind of cause, with a count. The last ones are kept."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from sidecar.http.denial_causes import Cause, CauseKind
from sidecar.pdp.health import RecentDenial
from sidecar.telemetry.app_log import logger

SECONDS: Final = 60.0

_log = logger("http")


@dataclass(slots=True)
class _Denials:
    """Denials of one kind: the last one, their number, and the number since the last line. Times are monotonic."""

    last: Cause
    endpoint: str
    at: float
    total: int = 0
    since: int = 0
    logged: float = float("-inf")


class DenialLog:
    """Rate-limited log of denials. One per process. ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._kinds: dict[CauseKind, _Denials] = {}

    def cause(self, cause: Cause, endpoint: str) -> None:
        """Log the first cause of its kind at once, and later ones together, at most one line per minute."""
        now = self._clock()
        found = self._kinds.get(cause.kind)
        if found is None:
            found = self._kinds[cause.kind] = _Denials(cause, endpoint, now)
        found.last, found.endpoint, found.at = cause, endpoint, now
        found.total += 1
        found.since += 1
        if now - found.logged < SECONDS:
            return
        count, found.since, found.logged = found.since, 0, now
        _log.warning("requests denied", kind=cause.kind.value, count=count, endpoint=endpoint, detail=cause.detail)

    def recent(self) -> list[RecentDenial]:
        """Return the last denial of each kind, the newest first."""
        now = self._clock()
        newest = sorted(self._kinds.values(), key=lambda one: one.at, reverse=True)
        return [
            RecentDenial(one.last.kind.value, one.endpoint, one.last.detail, one.total, round(now - one.at, 1))
            for one in newest
        ]


DENIAL_LOG: Final = DenialLog()
