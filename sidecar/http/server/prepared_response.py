"""Answers as bytes, for both lanes: the same status, headers and body that aiohttp would write.

What follows from a decision alone is prepared once and kept; from one request to the next only the request id and the
date change.
"""

from email.utils import formatdate
from http import HTTPStatus
from time import time

import msgspec

from sidecar.domain.caching import FifoCache
from sidecar.domain.decision import Decision
from sidecar.http.response import Answer, gateway_answer

MAX_KEPT = 20_000

Key = tuple[object, ...]


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """A response without request id and date: up to the one, up to the other, the rest."""

    head: bytes
    middle: bytes
    rest: bytes

    def complete(self, request_id: bytes) -> bytes:
        return b"%b%b%b%b%b" % (self.head, request_id, self.middle, _date(), self.rest)


_second = 0
_written = b""


def _date() -> bytes:
    """The value of the Date header, formatted once a second (RFC 9110 section 6.6.1)."""
    global _second, _written
    now = int(time())
    if now != _second:
        _second, _written = now, formatdate(now, usegmt=True).encode("ascii")
    return _written


class Wire:
    """HTTP/1.1 responses on connections that stay open. ``unavailable`` as in ``gateway_answer``."""

    def __init__(self, *, unavailable: int) -> None:
        self._unavailable = unavailable
        self._kept: FifoCache[Key, Prepared] = FifoCache(MAX_KEPT)

    def kept(self, decision: Decision, detail: str = "") -> Prepared:
        """The answer that follows from ``decision`` and ``detail``, one of few, and nothing else."""
        user = decision.user
        who = (user.id, user.role, user.email, user.email_verified) if user else None
        key = (decision.reason, decision.generation, who, decision.section, decision.action, detail)
        prepared = self._kept.get(key)
        if prepared is None:
            prepared = prepare(gateway_answer(decision, unavailable=self._unavailable, detail=detail))
            self._kept.set(key, prepared)
        return prepared


def prepare(answer: Answer) -> Prepared:
    """An answer in which something of the request may show. ValueError when that would make a header of its own."""
    values = "".join([value for _, value in answer.headers])
    if "\r" in values or "\n" in values or "\0" in values:
        raise ValueError("a header's value holds a line end")
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    head = "\r\n".join([*lines, "X-Request-ID: "]).encode("utf-8")
    middle = f"\r\nServer: sidecar\r\nContent-Length: {len(answer.body)}\r\nDate: ".encode("ascii")
    return Prepared(head, middle, b"\r\n\r\n" + answer.body)
