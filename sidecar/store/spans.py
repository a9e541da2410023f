"""Spans of store calls, with the attributes of OpenTelemetry for databases. Keys and arguments are never recorded."""

from sidecar.telemetry.tracing import NO_SPAN, NoSpan, Span, SpanKind, current


def store_span(command: str, script: str = "") -> Span | NoSpan:
    """Return a span for one command. ``script``: name of the Lua script that it runs."""
    parent = current()
    if parent is None:
        return NO_SPAN
    span = parent.child(f"{command} {script}" if script else command, SpanKind.CLIENT)
    span.set("db.system.name", "redis")
    span.set("db.operation.name", command)
    if script:
        span.set("db.stored_procedure.name", script)
    return span
