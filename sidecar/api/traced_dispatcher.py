"""Dispatcher while tracing is on: traced requests have a span, and all requests continue the trace they came with."""

from typing import Final

from aiohttp import web

from sidecar.api import browser_sessions, second_factor
from sidecar.api.console import LABEL
from sidecar.api.dispatcher import Dispatcher
from sidecar.api.oauth.token_endpoint import TOKEN
from sidecar.api.session_cookies import SESSION
from sidecar.domain.problems import Problem
from sidecar.gateways.ext_authz import family_of, gateway_call, is_check
from sidecar.gateways.request_spans import MAX_PATH, name_request, record_path, record_status
from sidecar.telemetry.trace_context import TraceContext, context_of
from sidecar.telemetry.tracing import Span, Tracer, attach, detach

SIGN_INS: Final = frozenset(
    {
        TOKEN,
        SESSION,
        browser_sessions.REFRESH,
        *(endpoint.path for endpoint in second_factor.ENDPOINTS),
    }
)
"""Endpoints that are always traced, unless the caller's trace is not sampled."""


class TracedDispatcher(Dispatcher):
    """Dispatcher of one listener whose requests are traced. ``tracer`` is set before the first request."""

    tracer: Tracer

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        parent = context_of(request.raw_headers)
        path, _, query = request.raw_path.partition("?")
        span = self.tracer.server(parent, always=path in SIGN_INS)
        if span is None:
            return await self._continued(request, parent)
        name_request(span, request.method, self._route(request.method, path))
        if self.tracer.paths:
            self._record_path(span, request, path, query)
        with span:
            response = await super().__call__(request)
            record_status(span, response.status)
            return response

    async def _continued(self, request: web.BaseRequest, parent: TraceContext | None) -> web.StreamResponse:
        """Serve a request without a span. An unsampled trace goes on in requests to other servers."""
        if parent is None:
            return await super().__call__(request)
        token = attach(parent)
        try:
            return await super().__call__(request)
        finally:
            detach(token)

    def _route(self, method: str, path: str) -> str:
        """Return the endpoint as the metrics name it; empty for an unknown path."""
        if self._checks and is_check(path):
            return family_of(path).label
        if self._console is not None and self._console.owns(path):
            return LABEL
        found = self._table.find(method, path)
        return "" if isinstance(found, Problem) else found[0].path

    def _record_path(self, span: Span, request: web.BaseRequest, path: str, query: str) -> None:
        if self._checks and is_check(path):
            lines = tuple([(name.lower(), value) for name, value in request.raw_headers])
            record_path(span, gateway_call(request.method, path, query, lines))
        else:
            span.set("url.path", path[:MAX_PATH].encode("utf-8", "replace").decode())
