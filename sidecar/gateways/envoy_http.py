"""Envoy ext_authz over HTTP: ``/check/envoy/…`` with ``path_prefix: /check/envoy``. The request line is the original's.

The client wrote everything after the prefix. It is a path of the dashboard, never another endpoint: ``/../livez``
arrives as ``/check/envoy/../livez`` and is an ambiguous path. Headers with a method or a path are ignored.
Envoy keeps the client's headers unless the response lists them for removal, hence ``removes``.
"""

from sidecar.domain.access import RequestPath
from sidecar.domain.decision import Reason
from sidecar.gateways.adapter import GatewayAdapter, GatewayRequest, alters_request, from_parts

PREFIX = "/check/envoy"


def read(call: GatewayRequest) -> RequestPath | Reason:
    if alters_request(call.headers):
        return Reason.BAD_REQUEST
    return from_parts(call.method, call.path.removeprefix(PREFIX))


def uri(call: GatewayRequest) -> str | None:
    path = call.path.removeprefix(PREFIX)
    return f"{path}?{call.query}" if call.query else path


FAMILY = GatewayAdapter(PREFIX, read, uri=uri, forwards_cookie=True, lists_headers_to_remove=True)
