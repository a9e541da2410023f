"""The dashboard's request as a gateway describes it: method and path. Missing, empty or doubled is a bad request."""

from sidecar.edge.credentials import RawHeaders
from sidecar.policy.routes import split_target
from sidecar.vocabulary.access import Route
from sidecar.vocabulary.decision import Reason

OVERRIDES = frozenset({b"x-http-method", b"x-http-method-override", b"x-method-override"})
"""A back end that honours one of these runs another method than the one judged (R2)."""


def overrides_method(headers: RawHeaders) -> bool:
    return any(name.lower() in OVERRIDES for name, _ in headers)


def from_headers(headers: RawHeaders, *, method_header: bytes, uri_header: bytes) -> Route | Reason:
    """One header family; every other header is none of its business."""
    methods: list[bytes] = []
    uris: list[bytes] = []
    for name, value in headers:
        lowered = name.lower()
        if lowered == method_header:
            methods.append(value)
        elif lowered == uri_header:
            uris.append(value)
    if len(methods) != 1 or len(uris) != 1 or not methods[0]:
        return Reason.BAD_REQUEST
    return from_parts(_text(methods[0]), _text(uris[0]))


def from_parts(method: str, uri: str) -> Route | Reason:
    """A request target in origin form; another form has no path to judge."""
    raw_path = split_target(uri)
    if raw_path is None:
        return Reason.BAD_REQUEST
    return Route(method, raw_path)


def _text(value: bytes) -> str:
    """Bytes that are no UTF-8 stay visible as surrogates, which no path and no method may hold."""
    return value.decode("utf-8", "surrogateescape")
