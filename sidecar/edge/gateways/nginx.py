"""nginx auth_request: ``/check/nginx`` with X-Original-Method and X-Original-URI, which its configuration sets.

Reads that family alone. nginx forwards every client header, so a client's X-Forwarded-Uri stands beside ours.
"""

from sidecar.edge.credentials import RawHeaders
from sidecar.edge.original import from_headers
from sidecar.vocabulary.access import Route
from sidecar.vocabulary.decision import Reason


def read(headers: RawHeaders) -> Route | Reason:
    return from_headers(headers, method_header=b"x-original-method", uri_header=b"x-original-uri")
