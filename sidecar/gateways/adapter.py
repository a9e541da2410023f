"""Original request as a gateway describes it: method and path. A missing, empty or repeated value is a bad request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from sidecar.domain.access import RequestPath, Target
from sidecar.domain.decision import Reason
from sidecar.http.client_ip import Address
from sidecar.http.headers import RawHeaders, decode_header
from sidecar.policy.routes import split_target

OVERRIDES = frozenset({b"x-http-method", b"x-http-method-override", b"x-method-override"})
"""Headers that override the method: a back end that honours one runs another method than the decided one (R2)."""

UPGRADE: Final = b"upgrade"
HTTP2_SETTINGS: Final = b"http2-settings"
WEBSOCKET: Final = b"websocket"

SUSPECT: Final = OVERRIDES | {UPGRADE, HTTP2_SETTINGS}


MAX_PATH: Final = 8192
"""Characters of a path without its query. Web servers accept no longer request line by default."""


class GatewayRequest(msgspec.Struct, frozen=True, gc=False):
    """A gateway's check request, as received.

    ``path`` and ``query`` are the check request's own, undecoded. Only the adapter interprets them and the headers.
    ``client``: the user's own address, None if it is not known or the policy has no condition of networks.
    """

    family: "GatewayAdapter"
    method: str
    path: str
    query: str
    headers: RawHeaders
    client: Address | None = None


@dataclass(frozen=True, slots=True)
class GatewayAdapter:
    """Adapter of the gateways that share one protocol. ``read`` is the only source of the original request.

    ``uri``: returns the original request target with its query, for gateways that pass a redirect on to the browser.
    ``page``: lower-case name of the header with the original URI, if no other part of the check contains it.
    ``rewrites``: the gateway takes the back end's Cookie header from the response.
    ``removes``: the response must list the client headers to remove (Envoy).
    """

    label: str
    read: Callable[[GatewayRequest], RequestPath | Target | Reason]
    uri: Callable[[GatewayRequest], str | None] | None = None
    uri_header: bytes | None = None
    forwards_cookie: bool = False
    lists_headers_to_remove: bool = False


def method_overrides(headers: RawHeaders) -> set[bytes]:
    """Return the lower-case names of the headers that override the method."""
    return {lowered for name, _ in headers if (lowered := name.lower()) in OVERRIDES}


def alters_request(headers: RawHeaders) -> bool:
    """Return True if the back end would process another request than the decided one (R2, R6).

    All adapters call this.
    """
    found = [lowered for name, _ in headers if (lowered := name.lower()) in SUSPECT]
    return bool(found) and (not OVERRIDES.isdisjoint(found) or has_denied_upgrade(headers))


def has_denied_upgrade(headers: RawHeaders) -> bool:
    """Return True for any upgrade other than one `websocket`, and for HTTP2-Settings, which only h2c sends (R6).

    A gateway copies bytes both ways after a 101: with h2c those bytes are requests that bypass the check. Only ASCII
    letters are compared without regard to case: the Kelvin sign is no `k`.
    """
    found = False
    for name, value in headers:
        lowered = name.lower()
        if lowered == UPGRADE:
            if found or value.strip(b" \t").lower() != WEBSOCKET:
                return True
            found = True
        elif lowered == HTTP2_SETTINGS:
            return True
    return False


def from_headers(headers: RawHeaders, *, method_header: bytes, uri_header: bytes) -> RequestPath | Reason:
    """Return the route in two headers.

    Other headers are ignored, except those that change the request for the back end.
    """
    methods: list[bytes] = []
    uris: list[bytes] = []
    suspect = False
    for name, value in headers:
        lowered = name.lower()
        if lowered == method_header:
            methods.append(value)
        elif lowered == uri_header:
            uris.append(value)
        elif lowered in SUSPECT:
            suspect = True
    if suspect and alters_request(headers):
        return Reason.BAD_REQUEST
    if len(methods) != 1 or len(uris) != 1:
        return Reason.BAD_REQUEST
    return from_parts(decode_header(methods[0]), decode_header(uris[0]))


def from_parts(method: str, uri: str) -> RequestPath | Reason:
    """Return the route of a request target in origin form. Other forms have no path."""
    raw_path = split_target(uri)
    if raw_path is None or not method or len(raw_path) > MAX_PATH:
        return Reason.BAD_REQUEST
    return RequestPath(method, raw_path)
