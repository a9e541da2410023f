"""Traefik ForwardAuth, Caddy forward_auth, HAProxy Lua: ``/check`` with X-Forwarded-Method and X-Forwarded-Uri.

Reads these headers alone. A fallback to X-Original-* would be under the client's control, because these gateways pass
it through.
"""

from sidecar.domain.access import Route
from sidecar.domain.decision import Reason
from sidecar.gateways.adapter import Family, GatewayCall, from_headers
from sidecar.http.headers import single_header

PATH = "/check"
METHOD_HEADER = b"x-forwarded-method"
URI_HEADER = b"x-forwarded-uri"


def read(call: GatewayCall) -> Route | Reason:
    return from_headers(call.headers, method_header=METHOD_HEADER, uri_header=URI_HEADER)


def uri(call: GatewayCall) -> str | None:
    return single_header(call.headers, URI_HEADER)


FAMILY = Family(PATH, read, uri=uri, page=URI_HEADER, rewrites=True)
