"""Attributes of the spans of incoming requests, by OpenTelemetry's conventions for HTTP servers.

``http.route`` is an endpoint of the sidecar. ``url.path``, ``client.address`` and ``user_agent.original`` are omitted:
they may identify a person. With SIDECAR_OTEL_PATHS ``url.path`` is the path that the check is about.
"""

from typing import Final

from sidecar.domain.access import RequestPath
from sidecar.gateways.adapter import GatewayRequest
from sidecar.telemetry.tracing import Span

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
OTHER: Final = "_OTHER"
MAX_PATH: Final = 1024
"""Characters of a recorded path."""


def name_request(span: Span, method: str, route: str) -> None:
    """Name a span after the method and the endpoint. ``route``: empty for a path without an endpoint."""
    method = method if method in METHODS else OTHER
    span.set("http.request.method", method)
    word = "HTTP" if method == OTHER else method
    if route:
        span.set("http.route", route)
    span.name = f"{word} {route}" if route else word


def name_check(span: Span, method: str) -> None:
    """Name the span of a decided gateway check. The recorder knows its endpoint."""
    name_request(span, method, span.endpoint)


def record_status(span: Span, status: int) -> None:
    """Record the status of the response. A denial is no error."""
    span.set("http.response.status_code", status)
    if status >= 500:
        span.fail(str(status))


def record_path(span: Span, call: GatewayRequest) -> None:
    """Record the path that a check is about, if the settings want paths in traces. Its query is not recorded."""
    requested = call.family.read(call)
    if isinstance(requested, RequestPath):
        span.set("url.path", requested.raw_path.partition("?")[0][:MAX_PATH].encode("utf-8", "replace").decode())
