"""Traefik ForwardAuth, Caddy forward_auth, HAProxy Lua: ``/check`` with X-Forwarded-Method and X-Forwarded-Uri.

Reads these headers alone. A fallback to X-Original-* would be under the client's control, because these gateways pass
it through.
"""

from sidecar.domain.access import RequestPath
from sidecar.domain.decision import Reason
from sidecar.gateways.adapter import GatewayAdapter, GatewayRequest, from_headers
from sidecar.http.headers import single_header

PATH = "/check"
METHOD_HEADER = b"x-forwarded-method"
URI_HEADER = b"x-forwarded-uri"


def read(call: GatewayRequest) -> RequestPath | Reason:
    return from_headers(call.headers, method_header=METHOD_HEADER, uri_header=URI_HEADER)


def uri(call: GatewayRequest) -> str | None:
    return single_header(call.headers, URI_HEADER)


FAMILY = GatewayAdapter(PATH, read, uri=uri, uri_header=URI_HEADER, forwards_cookie=True)
