"""nginx auth_request: ``/check/nginx`` with X-Original-Method and X-Original-URI, which nginx's configuration sets.

Reads these headers alone. nginx forwards all client headers, so a client's X-Forwarded-Uri may be present. nginx turns
each response other than 2xx, 401 and 403 into a 500. Therefore a redirect is configured in nginx, for a 401.

Kubernetes' ingress-nginx sets X-Original-URI only with the ``auth-method`` annotation; otherwise a client's value would
be read. It always sets X-Sent-From and X-Original-URL, so X-Original-URI must agree with X-Original-URL.
"""

from sidecar.domain.access import RequestPath
from sidecar.domain.decision import Reason
from sidecar.gateways.adapter import GatewayAdapter, GatewayRequest, from_headers
from sidecar.http.headers import RawHeaders, header_values

PATH = "/check/nginx"
URI_HEADER = b"x-original-uri"
INGRESS = (b"x-sent-from", b"nginx-ingress-controller")


def read(call: GatewayRequest) -> RequestPath | Reason:
    if not ingress_agrees(call.headers):
        return Reason.BAD_REQUEST
    return from_headers(call.headers, method_header=b"x-original-method", uri_header=URI_HEADER)


def ingress_agrees(headers: RawHeaders) -> bool:
    """Return True unless ingress-nginx sent the check, and its two URL headers differ."""
    if not any(name.lower() == INGRESS[0] and value == INGRESS[1] for name, value in headers):
        return True
    urls = header_values(headers, b"x-original-url")
    uris = header_values(headers, URI_HEADER)
    if len(urls) != 1 or len(uris) != 1:
        return False
    _, _, after_scheme = urls[0].partition(b"://")
    host, slash, rest = after_scheme.partition(b"/")
    return bool(host) and slash + rest == uris[0]


FAMILY = GatewayAdapter(PATH, read, uri_header=URI_HEADER)
