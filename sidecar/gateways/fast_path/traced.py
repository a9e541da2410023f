"""Fast path while tracing is on. Without tracing nothing here is used, and no head is searched for trace headers.

The trace context is cut out of a head before the look-up, as the request id is: it differs in each request, and the
response does not depend on it. A head whose trace headers are unusual keeps them.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from sidecar.gateways.ext_authz import gateway_call
from sidecar.gateways.fast_path.protocol import FastPathListener, FastPathProtocol
from sidecar.gateways.request_spans import name_check, record_path, record_status
from sidecar.http.context import AppContext
from sidecar.http.server.prepared_response import PreparedResponse
from sidecar.telemetry.trace_context import parse
from sidecar.telemetry.tracing import Span, Tracer, attach, current, detach

PARENT_LINES: Final = (b"\r\ntraceparent: ", b"\r\nTraceparent: ")
STATE_LINES: Final = (b"\r\ntracestate: ", b"\r\nTracestate: ")
"""Spellings that gateways use."""

LENGTH: Final = 55
DIGITS: Final = b"0123456789abcdef-"
SAMPLED: Final = b"13579bdf"
STATE: Final = re.compile(rb"[ -~]{0,512}")


def without_context(head: bytes) -> tuple[bytes, bytes | None, bytes]:
    """Return a head without its trace context, the ``traceparent`` (None without one), and the ``tracestate``."""
    for line in PARENT_LINES:
        at = head.find(line)
        if at >= 0:
            begin = at + len(line)
            end = head.find(b"\r\n", begin)
            value = head[begin:end]
            if len(value) != LENGTH or value.translate(None, DIGITS):
                return head, None, b""
            bare = head[:at] + head[end:]
            if any(other in bare for other in PARENT_LINES):
                return head, None, b""
            return _without_state(bare, value)
    return head, None, b""


def _without_state(head: bytes, value: bytes) -> tuple[bytes, bytes | None, bytes]:
    for line in STATE_LINES:
        at = head.find(line)
        if at >= 0:
            end = head.find(b"\r\n", at + len(line))
            state = head[at + len(line) : end]
            return (head[:at] + head[end:], value, state) if STATE.fullmatch(state) else (head, value, b"")
    return head, value, b""


class TracedFastPathListener(FastPathListener):
    """Fast-path connections whose checks are traced."""

    def __init__(
        self, app: AppContext, slow: Callable[[], asyncio.Protocol], *, max_head: int, idle: float, tracer: Tracer
    ) -> None:
        super().__init__(app, slow, max_head=max_head, idle=idle)
        self.tracer = tracer

    def __call__(self) -> FastPathProtocol:
        return TracedFastPathProtocol(self)


class TracedFastPathProtocol(FastPathProtocol):
    """One connection. A traced check is decided as any other, in the context of its span."""

    def __init__(self, listener: TracedFastPathListener) -> None:
        super().__init__(listener)
        self._tracer = listener.tracer

    def _take(self, head: bytes, started: float) -> bool:
        if len(head) > self._listener.max_head:
            return False
        bare, value, state = without_context(head)
        if value is None:
            span = self._tracer.server(None)
        else:
            span = self._tracer.server(parse(value, state)) if value[54:] in SAMPLED else None
        if span is None:
            return super()._take(bare, started)
        if self._tracer.paths:
            self._record_path(span, bare)
        token = attach(span)
        try:
            return super()._take(bare, started)  # False: aiohttp serves it, with a span of its own
        finally:
            detach(token)

    def _write(self, prepared: PreparedResponse, request_id: bytes) -> None:
        super()._write(prepared, request_id)
        span = current()
        if span is not None:
            name_check(span, "GET")
            record_status(span, int(prepared.head[9:12]))
            span.end()

    def _resume(self) -> None:
        attach(None)  # called by the task of a traced check, whose span has ended
        super()._resume()

    def _record_path(self, span: Span, head: bytes) -> None:
        plain = self._listener.heads.read(head)
        if plain is not None:
            path, _, query = plain.target.partition("?")
            record_path(span, gateway_call("GET", path, query, plain.headers))
