"""Fast path while tracing is on. Without tracing nothing here is used, and no head is searched for trace headers.

The trace context is cut out of a head before the look-up, as the request id is: it differs in each request, and the
response does not depend on it. A head whose trace headers are unusual keeps them. After a head without a trace context,
the next one is looked up first, because a search takes as long as a look-up: a cached head has no trace context.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from sidecar.gateways.adapter import GatewayRequest
from sidecar.gateways.ext_authz import gateway_call
from sidecar.gateways.fast_path.check_responder import CheckResponder
from sidecar.gateways.fast_path.protocol import FastPathListener, FastPathProtocol
from sidecar.gateways.fast_path.request_head import SimpleRequest, UriParts
from sidecar.gateways.fast_path.response_cache import CachedResponse
from sidecar.gateways.request_spans import name_check, record_path, record_status
from sidecar.http.context import AppContext
from sidecar.http.server.prepared_response import PreparedResponse
from sidecar.pdp.decision_point import PendingDecision
from sidecar.telemetry.check_recorder import CheckRecorder
from sidecar.telemetry.trace_context import TraceContext, parse
from sidecar.telemetry.tracing import Span, Tracer, attach, current, detach

NAME: Final = b"raceparent: "
"""Common part of the two spellings that gateways use."""

LINES: Final = (b"\r\ntraceparent: ", b"\r\nTraceparent: ")
STATE_LINES: Final = (b"\r\ntracestate: ", b"\r\nTracestate: ")
BEFORE: Final = len(LINES[0]) - len(NAME)
LENGTH: Final = 55
DIGITS: Final = b"0123456789abcdef-"
SAMPLED: Final = b"13579bdf"
STATE: Final = re.compile(rb"[ -~]{0,512}")


def find_context(head: bytes, expected: int = 0) -> int:
    """Return the position of a well-formed ``traceparent`` line, -1 without one.

    ``expected``: its position in the previous head, which is compared first.
    """
    at = expected
    if not head.startswith(LINES, at):
        at = head.find(NAME) - BEFORE
        if at < 0 or not head.startswith(LINES, at):
            return -1
    begin = at + len(LINES[0])
    value = head[begin : begin + LENGTH]
    plain = not value.translate(None, DIGITS) and head.startswith(b"\r\n", begin + LENGTH)
    return at if plain else -1


def cut_context(head: bytes, at: int) -> tuple[bytes, bytes]:
    """Return a head without the ``traceparent`` line at this position, and the value of the line."""
    begin = at + len(LINES[0])
    end = begin + LENGTH
    return head[:at] + head[end:], head[begin:end]


def cut_state(head: bytes, at: int) -> tuple[bytes, bytes]:
    """Return a head without its ``tracestate`` line, and the value. ``at``: position of the line, -1: search."""
    if at < 0 or not head.startswith(STATE_LINES, at):
        at = max(head.find(line) for line in STATE_LINES)
        if at < 0:
            return head, b""
    end = head.find(b"\r\n", at + 2)
    value = head[at + len(STATE_LINES[0]) : end]
    return (head[:at] + head[end:], value) if STATE.fullmatch(value) else (head, b"")


class TracedFastPathListener(FastPathListener):
    """Fast-path connections whose checks are traced. ``untraced``: responder to the other checks; one cache serves
    both."""

    def __init__(
        self, app: AppContext, slow: Callable[[], asyncio.Protocol], *, max_head: int, idle: float, tracer: Tracer
    ) -> None:
        super().__init__(app, slow, max_head=max_head, idle=idle)
        self.tracer = tracer
        self.responder = UntracedResponder(app)
        self.traced = TracedResponder(app)
        self.traced.cache, self.traced.networks = self.responder.cache, self.responder.networks

    def __call__(self) -> FastPathProtocol:
        return TracedFastPathProtocol(self)


class UntracedResponder(CheckResponder):
    """Responder to checks without a span, except those that waited for the store: their task has one, if traced."""

    def __init__(self, app: AppContext) -> None:
        super().__init__(app)
        self._replayed = CheckRecorder.record.__get__(app.recorder)

    async def decide_async(
        self, question: PendingDecision, call: GatewayRequest, request_id: bytes, started: float
    ) -> PreparedResponse:
        return _ended(await super().decide_async(question, call, request_id, started))


class TracedResponder(CheckResponder):
    """Responder to checks in their span. It ends the span with the response."""

    def replay(self, known: CachedResponse, request_id: bytes, started: float) -> PreparedResponse:
        return _ended(super().replay(known, request_id, started))

    def decide(
        self, key: object, call: GatewayRequest, request_id: bytes, started: float, page: UriParts | None = None
    ) -> PreparedResponse | PendingDecision:
        outcome = super().decide(key, call, request_id, started, page)
        return outcome if isinstance(outcome, PendingDecision) else _ended(outcome)


def _ended(prepared: PreparedResponse) -> PreparedResponse:
    span = current()
    if span is not None:
        name_check(span, "GET")
        record_status(span, int(prepared.head[9:12]))
        span.end()
    return prepared


class TracedFastPathProtocol(FastPathProtocol):
    """One connection. A traced check is decided as any other, in the context of its span."""

    _decide = FastPathProtocol._take  # noqa: SLF001 - of the base class
    """Without ``super()``, which costs a tenth of a microsecond per check."""

    def __init__(self, listener: TracedFastPathListener) -> None:
        super().__init__(listener)
        self._tracer = listener.tracer
        self._traced = listener.traced
        self._begins = listener.tracer.begins
        self._expected = 0
        self._carries = False
        self._found = False

    def _take(self, head: bytes, started: float) -> bool:
        begins = self._begins()
        if not (self._carries or begins):
            if self._decide(head, started):
                return True
            if not self._found:
                return False
            self._found = False
        if len(head) > self._listener.max_head:
            return False
        at = find_context(head, self._expected)
        self._carries = at >= 0
        if at < 0:
            return self._take_traced(head, started, None) if begins else super()._take(head, started)
        self._expected = at
        bare, value = cut_context(head, at)
        if value[54] in SAMPLED and find_context(bare) < 0:
            bare, state = cut_state(bare, at)
            return self._take_traced(bare, started, parse(value, state))
        return self._decide(cut_state(bare, at)[0] if bare.startswith(STATE_LINES, at) else bare, started)

    def _take_traced(self, head: bytes, started: float, parent: TraceContext | None) -> bool:
        span = self._tracer.server(parent, always=True)
        if span is None:
            return super()._take(head, started)
        if self._tracer.paths:
            self._record_path(span, head)
        token, untraced = attach(span), self._responder
        self._responder = self._traced
        try:
            return super()._take(head, started)  # False: aiohttp serves it, with a span of its own
        finally:
            self._responder = untraced
            detach(token)

    def _parse(self, head: bytes) -> SimpleRequest | None:
        """Parse as without tracing, unless a head that was looked up whole has a trace context: it is cut out first."""
        if not self._carries and current() is None and find_context(head) >= 0:
            self._found = True
            return None
        return super()._parse(head)

    def _resume(self) -> None:
        attach(None)  # called by the task of a traced check, whose span has ended
        super()._resume()

    def _record_path(self, span: Span, head: bytes) -> None:
        plain = self._listener.heads.read(head)
        if plain is not None:
            path, _, query = plain.target.partition("?")
            record_path(span, gateway_call("GET", path, query, plain.headers))
