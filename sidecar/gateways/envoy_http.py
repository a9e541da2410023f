"""Envoy ext_authz over HTTP: ``/check/envoy/…`` with ``path_prefix: /check/envoy``. The request line is the original's.

Whatever follows the prefix was written by the client, and is a path of the dashboard and nothing else: ``/../livez``
arrives as ``/check/envoy/../livez`` and is an ambiguous path, not another endpoint. No header names a method or a path
here. Envoy leaves the client's own headers in place unless told to remove them, hence ``removes``.
"""

from sidecar.domain.access import Route
from sidecar.domain.decision import Reason
from sidecar.gateways.adapter import Family, GatewayCall, asks_otherwise, from_parts

PREFIX = "/check/envoy"


def read(call: GatewayCall) -> Route | Reason:
    if asks_otherwise(call.headers):
        return Reason.BAD_REQUEST
    return from_parts(call.method, call.path.removeprefix(PREFIX))


def uri(call: GatewayCall) -> str | None:
    path = call.path.removeprefix(PREFIX)
    return f"{path}?{call.query}" if call.query else path


FAMILY = Family(PREFIX, read, uri=uri, rewrites=True, removes=True)
