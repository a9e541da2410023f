"""nginx auth_request: ``/check/nginx`` with X-Original-Method and X-Original-URI, which its configuration sets.

Reads that family alone. nginx forwards every client header, so a client's X-Forwarded-Uri stands beside ours. It turns
every answer but 2xx, 401 and 403 into a 500, so it is never sent a redirect: its configuration makes one of a 401.
"""

from sidecar.edge.original import Family, GatewayCall, from_headers
from sidecar.vocabulary.access import Route
from sidecar.vocabulary.decision import Reason

PATH = "/check/nginx"


def read(call: GatewayCall) -> Route | Reason:
    return from_headers(call.headers, method_header=b"x-original-method", uri_header=b"x-original-uri")


FAMILY = Family(PATH, read)
