"""Denials in the application log: a warning a minute per kind of cause, with a count; at debug level every denial."""

from collections.abc import Callable
from time import monotonic
from typing import Final

from sidecar.domain.access import Route
from sidecar.domain.decision import Decision
from sidecar.edge.denials.causes import Cause, Kind
from sidecar.edge.original import GatewayCall
from sidecar.telemetry.app_log import debugging, logger

SECONDS: Final = 60.0
MAX_SHOWN: Final = 512
"""Characters of a path in the log."""

_log = logger("edge")


class Report:
    """One per process. ``clock``: seconds that only rise."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._logged: dict[Kind, float] = {}
        self._since: dict[Kind, int] = {}

    def cause(self, cause: Cause, endpoint: str) -> None:
        """Log the first of its kind at once, later ones together, at most one line a minute."""
        kind, now = cause.kind, self._clock()
        count = self._since.get(kind, 0) + 1
        last = self._logged.get(kind)
        if last is not None and now - last < SECONDS:
            self._since[kind] = count
            return
        self._since[kind], self._logged[kind] = 0, now
        _log.warning("requests denied", kind=kind.value, count=count, endpoint=endpoint, detail=cause.detail)


REPORT: Final = Report()


def log_denial(call: GatewayCall, decision: Decision, request_id: bytes) -> None:
    """At debug level: method and path of a denied request. Its query, headers and user stay out of the log."""
    if not debugging():
        return
    asked = call.family.read(call)
    method, path = (asked.method, asked.raw_path) if isinstance(asked, Route) else (call.method, call.path)
    _log.debug(
        "request denied",
        reason=decision.reason.value,
        method=_shown(method),
        path=_shown(path),
        endpoint=call.family.label,
        request_id=request_id.decode("ascii", "replace"),
    )


def _shown(text: str) -> str:
    """Printable ASCII: a line end must not begin a line of its own."""
    return text[:MAX_SHOWN].encode("unicode_escape").decode("ascii")
