"""Responder to Envoy's gRPC checks while tracing is on. Loaded only with gRPC's libraries.

Envoy's own trace context, in the metadata of its call, precedes that of the user's headers. The key of a cached
response has neither, so it is the same as without tracing.
"""

from time import perf_counter
from typing import Final

from sidecar.gateways.envoy_grpc import FAMILY
from sidecar.gateways.fast_path.grpc_responder import WANTED, GrpcResponder
from sidecar.gateways.request_spans import record_path
from sidecar.http.context import AppContext
from sidecar.http.headers import RawHeaders
from sidecar.telemetry.trace_context import TRACEPARENT, TRACESTATE, context_of
from sidecar.telemetry.tracing import Tracer

METHOD: Final = FAMILY.label.removeprefix("/")


class TracedGrpcResponder(GrpcResponder):
    """Responder whose traced checks have a span."""

    wanted = WANTED | {TRACEPARENT.decode(), TRACESTATE.decode()}

    def __init__(self, app: AppContext, *, max_head: int, tracer: Tracer) -> None:
        super().__init__(app, max_head=max_head)
        self._tracer = tracer

    async def respond_in_trace(self, raw: bytes, metadata: RawHeaders) -> bytes:
        """Return the serialized CheckResponse to a serialized CheckRequest. ``metadata``: of the call."""
        started = perf_counter()
        sent = self._read(raw)
        span = self._tracer.server(context_of(metadata) or context_of(sent.headers), METHOD)
        if span is None:
            return await self._answer(sent, started)
        span.set("rpc.system.name", "grpc")
        span.set("rpc.method", METHOD)
        if self._tracer.paths:
            record_path(span, sent)
        with span:
            return await self._answer(sent, started)
