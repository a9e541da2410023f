"""Export of spans by OTLP over HTTP. The only importer of opentelemetry, loaded while tracing is on (extra ``[otel]``).

Spans wait in a bounded queue. When it is full, or an export fails, spans are dropped and counted. Requests never wait.
The standard variables (``OTEL_EXPORTER_OTLP_…``, ``OTEL_BSP_…``, ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``)
are read by the SDK, or here in its place.
"""

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from sidecar.telemetry import tracing
from sidecar.telemetry.app_log import logger
from sidecar.telemetry.trace_context import TraceContext

SERVICE: Final = "policy-sidecar"
SWITCH_SECONDS: Final = 0.0005
"""Longest time that the export keeps the interpreter from a waiting check. Encoding a batch takes about 10 ms."""

CLOSE_SECONDS: Final = 2.0
"""Longest wait for the last export at a stop."""

_KINDS: Final = {
    tracing.SpanKind.INTERNAL: SpanKind.INTERNAL,
    tracing.SpanKind.SERVER: SpanKind.SERVER,
    tracing.SpanKind.CLIENT: SpanKind.CLIENT,
}
_UNSET: Final = Status(StatusCode.UNSET)

_log = logger("telemetry")

Dropped = Callable[[str, int], None]
"""Receives the reason, ``queue_full`` or ``export_failed``, and the number of lost spans."""


class SpanQueue:
    """Bounded queue of spans and its thread. Put spans from one thread only. ``env``: the process' environment."""

    def __init__(
        self,
        *,
        version: str,
        instance: str,
        env: Mapping[str, str],
        dropped: Dropped,
        exporter: SpanExporter | None = None,
    ) -> None:
        self._most = _number(env, "OTEL_BSP_MAX_QUEUE_SIZE", 2048)
        self._batch = min(_number(env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512), self._most)
        self._delay = _number(env, "OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000
        self._dropped = dropped
        self._spans: deque[tracing.Span] = deque()
        self._wake = threading.Event()
        self._stop = False
        self._failing = False
        for library in ("opentelemetry", "urllib3"):  # their messages may contain a response
            logging.getLogger(library).setLevel(logging.CRITICAL)
        self._resource = _resource(version, instance)
        self._scope = InstrumentationScope("sidecar", version)
        self._exporter = OTLPSpanExporter() if exporter is None else exporter
        self._usual = sys.getswitchinterval()
        sys.setswitchinterval(min(SWITCH_SECONDS, self._usual))
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def put(self, span: tracing.Span) -> None:
        """Queue an ended span, or drop it. Never blocks, never raises."""
        spans = self._spans
        if len(spans) >= self._most:
            self._dropped("queue_full", 1)
            return
        spans.append(span)
        if len(spans) == self._batch:
            self._wake.set()

    def close(self) -> None:
        """Export the queued spans, then stop. Waits at most ``CLOSE_SECONDS``."""
        self._stop = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)
        sys.setswitchinterval(self._usual)
        self._exporter.shutdown()  # also ends the retries of an export in progress

    def _run(self) -> None:
        while not self._stop:
            self._wake.wait(self._delay)
            self._wake.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while self._spans:
            batch = [self._spans.popleft() for _ in range(min(self._batch, len(self._spans)))]
            if not self._sent(batch):
                self._dropped("export_failed", len(batch))

    def _sent(self, batch: Sequence[tracing.Span]) -> bool:
        """Export a batch. Log the first failure and the recovery. An exception is a failure: the thread goes on."""
        error = ""
        try:
            result = self._exporter.export([self._converted(span) for span in batch])
        except Exception as problem:
            result, error = SpanExportResult.FAILURE, type(problem).__name__
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            _log.error("spans not exported: check OTEL_EXPORTER_OTLP_ENDPOINT and the collector", error=error)
        elif self._failing and not failed:
            _log.info("spans are exported again")
        self._failing = failed
        return not failed

    def _converted(self, span: tracing.Span) -> ReadableSpan:
        return ReadableSpan(
            span.name,
            _context(span.context),
            parent=None if span.parent is None else _context(span.parent, remote=span.remote),
            resource=self._resource,
            attributes=span.attributes,
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR) if span.error else _UNSET,
            start_time=span.started,
            end_time=span.ended,
            instrumentation_scope=self._scope,
        )


def _context(position: TraceContext, *, remote: bool = False) -> SpanContext:
    state = TraceState.from_header([position.state]) if position.state else None
    trace_id, span_id = int(position.trace_id, 16), int(position.span_id, 16)
    return SpanContext(trace_id, span_id, remote, TraceFlags(position.flags), state)


def _resource(version: str, instance: str) -> Resource:
    """Return the attributes of this process. Those of the environment win."""
    own = {"service.name": SERVICE, "service.version": version, "service.instance.id": instance}
    named = OTELResourceDetector().detect().attributes
    return Resource.create({name: value for name, value in own.items() if name not in named})


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    """Return a positive number of a standard variable. An invalid one is ignored with a warning, as OpenTelemetry
    demands."""
    text = env.get(name, "").strip()
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    if text:
        _log.warning(
            "not a positive whole number: the default is used", variable=name, value=text[:40], default=default
        )
    return default
