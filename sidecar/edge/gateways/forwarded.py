"""Traefik ForwardAuth, Caddy forward_auth, HAProxy Lua: ``/check`` with X-Forwarded-Method and X-Forwarded-Uri.

Reads that family alone. A fallback to X-Original-* would be the client's to write: these gateways pass it through.
"""

from sidecar.edge.credentials import RawHeaders
from sidecar.edge.original import from_headers
from sidecar.vocabulary.access import Route
from sidecar.vocabulary.decision import Reason


def read(headers: RawHeaders) -> Route | Reason:
    return from_headers(headers, method_header=b"x-forwarded-method", uri_header=b"x-forwarded-uri")
