"""Check recorder while tracing is on: a traced check has its decision on the span, and its trace id in the log."""

from typing import Final

from sidecar.domain.decision import Decision, Reason
from sidecar.telemetry.check_recorder import CheckRecorder, LogEntryTemplate
from sidecar.telemetry.decision_log import with_trace
from sidecar.telemetry.tracing import Span, current

NAMES: Final = ("sidecar.decision", "sidecar.reason", "sidecar.generation", "sidecar.section", "sidecar.action")
"""Attributes of one decision."""


class TracedCheckRecorder(CheckRecorder):
    """Recorder that looks for the current span of each check."""

    def record(self, reported: LogEntryTemplate, request_id: bytes, started: float, ended: float) -> None:
        span = current()
        if span is not None:
            describe(span, reported)
            request_id = with_trace(request_id, span.context.trace_id)
        super().record(reported, request_id, started, ended)

    def _template(self, endpoint: str, decision: Decision, label: str, line: bytes) -> LogEntryTemplate:
        counter = self._checks.counter(endpoint, decision, label)
        return LogEntryTemplate(counter, line, decision.allowed, decision, endpoint, _attributes(decision, label))


def describe(span: Span, reported: LogEntryTemplate) -> None:
    """Put a decision on the span of its request. Of several decisions only their number remains."""
    span.endpoint = reported.endpoint
    span.decisions += 1
    if span.decisions == 1:
        span.attributes.update(reported.attributes)
        return
    for name in NAMES:
        span.attributes.pop(name, None)
    span.set("sidecar.decisions", span.decisions)


def _attributes(decision: Decision, label: str) -> tuple[tuple[str, str], ...]:
    """Return the attributes of a decision: names that the policy defines, never text of the request."""
    found = [
        ("sidecar.decision", "allow" if decision.allowed else "deny"),
        ("sidecar.reason", decision.reason.value),
        ("sidecar.generation", decision.generation),
    ]
    if label:
        found.append(("sidecar.section", label))
        if decision.reason is not Reason.UNKNOWN_ACTION:
            found.append(("sidecar.action", decision.action))
    return tuple(found)
