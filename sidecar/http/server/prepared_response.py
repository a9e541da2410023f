"""Serialized responses: the same status, headers and body that aiohttp would write.

A response that depends on the decision alone is serialized once and cached. Only request id and date change.
"""

from email.utils import formatdate
from http import HTTPStatus
from time import time

import msgspec

from sidecar.domain.caching import FifoCache
from sidecar.domain.decision import Decision
from sidecar.http.response import RawResponse, gateway_response

MAX_KEPT = 20_000

Key = tuple[object, ...]


class PreparedResponse(msgspec.Struct, frozen=True, gc=False):
    """A serialized response without request id and date: the bytes before, between and after them."""

    head: bytes
    middle: bytes
    rest: bytes

    def complete(self, request_id: bytes) -> bytes:
        return b"%b%b%b%b%b" % (self.head, request_id, self.middle, _date(), self.rest)


_second = 0
_written = b""


def _date() -> bytes:
    """Return the value of the Date header, formatted once per second (RFC 9110 section 6.6.1)."""
    global _second, _written
    now = int(time())
    if now != _second:
        _second, _written = now, formatdate(now, usegmt=True).encode("ascii")
    return _written


class ResponseEncoder:
    """Encoder of HTTP/1.1 responses for persistent connections. ``unavailable``: see ``gateway_response``."""

    def __init__(self, *, unavailable: int) -> None:
        self._unavailable = unavailable
        self._kept: FifoCache[Key, PreparedResponse] = FifoCache(MAX_KEPT)

    def kept(self, decision: Decision, detail: str = "") -> PreparedResponse:
        """Return the cached response, which depends on ``decision`` and ``detail`` alone. Both have few values."""
        user = decision.user
        user_key = (user.id, user.role, user.email, user.email_verified) if user else None
        key = (
            decision.reason,
            decision.generation,
            user_key,
            decision.section,
            decision.action,
            detail,
            decision.missing,
        )
        prepared = self._kept.get(key)
        if prepared is None:
            prepared = prepare(gateway_response(decision, unavailable=self._unavailable, detail=detail))
            self._kept.set(key, prepared)
        return prepared


def prepare(answer: RawResponse) -> PreparedResponse:
    """Serialize a response that may contain request data.

    Raises ValueError if a value would start a new header line.
    """
    values = "".join([value for _, value in answer.headers])
    if "\r" in values or "\n" in values or "\0" in values:
        raise ValueError("a header value contains a line end")
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    head = "\r\n".join([*lines, "X-Request-ID: "]).encode("utf-8")
    middle = f"\r\nServer: sidecar\r\nContent-Length: {len(answer.body)}\r\nDate: ".encode("ascii")
    return PreparedResponse(head, middle, b"\r\n\r\n" + answer.body)
