"""Request head: request line and headers of a head that llhttp accepted, or None if it is unusual.

Splitting here is several times cheaper than the parser's callbacks (measured). In an accepted head, each line is a
name, a colon and a value with optional white space around it. Most lines recur and do not affect the decision, so a set
of them makes each cost one lookup.
"""

import re
from collections.abc import Hashable
from typing import Final

import msgspec

from sidecar.gateways.adapter import HTTP2_SETTINGS, UPGRADE
from sidecar.gateways.ext_authz import HEADERS_READ
from sidecar.http.request_id import FORM

Line = tuple[bytes, bytes]
UriParts = tuple[Hashable, bytes]
"""A head without its URI line, and the URI: see `key_without_uri`. A network class can be part of the first."""

MAX_HEADERS: Final = 100
"""Fewer than aiohttp's limit, so that a head at that limit is decided by one program alone."""

READ: Final = HEADERS_READ - {HTTP2_SETTINGS, UPGRADE}

CLOSER_LOOK: Final = frozenset(
    {
        *(b"connection", b"content-length", b"content-type", b"host", b"user-agent"),
        *(b"content-location", b"content-range", b"etag", b"max-forwards", b"server"),
        *(b"expect", b"http2-settings", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
"""Headers that change the framing of a request, or that aiohttp accepts only once.

A plain check has some of the first row, once each. Headers that are neither listed here nor read by a check have no
effect.
"""

GET: Final = b"GET "
VERSION: Final = b" HTTP/1.1"
FOLDS: Final = b" \t"

MAX_KNOWN: Final = 4096
MAX_KNOWN_LINE: Final = 256
"""At most 1 MB of lines. All are dropped when the limit is reached."""


class SimpleRequest(msgspec.Struct, frozen=True, gc=False):
    """A plain request. ``headers``: those that a check reads, in lower case. ``request_ids``: all that were sent."""

    target: str
    headers: tuple[Line, ...]
    request_ids: tuple[bytes, ...]


NUMBER_LINES: Final = (b"\r\nX-Request-Id: ", b"\r\nx-request-id: ", b"\r\nX-Request-ID: ")
"""Spellings that gateways use. Other spellings remain in the key."""

FORWARDED_LINES: Final = (b"\r\nX-Forwarded-Uri: ", b"\r\nx-forwarded-uri: ")
ORIGINAL_LINES: Final = (b"\r\nX-Original-URI: ", b"\r\nx-original-uri: ")
NGINX: Final = (b"GET /check/nginx ", b"GET /check/nginx?")
PLAIN_URI: Final = re.compile(rb"/[!-~]*")

MAX_AGAIN: Final = 4096
MAX_LINES: Final = 64


def key_without_request_id(head: bytes) -> tuple[bytes, bytes | None]:
    """Return a head without its request id, which differs in each repeated check, and the id.

    Without a well-formed request id, return the whole head and None.
    """
    for line in NUMBER_LINES:
        at = head.rfind(line)  # in a head without it, find may take four times as long, depending on the token
        if at >= 0:
            end = head.find(b"\r\n", at + len(line))
            request_id = head[at + len(line) : end]
            return (head[:at] + head[end:], request_id) if FORM.fullmatch(request_id) else (head, None)
    return head, None


def key_without_uri(key: bytes) -> UriParts | None:
    """Return a short head without its URI line, and the URI.

    Return None if there is no such line, or if the URI contains other than visible ASCII, on which parsers differ.
    """
    if len(key) > MAX_AGAIN:
        return None
    for line in ORIGINAL_LINES if key.startswith(NGINX) else FORWARDED_LINES:
        at = key.rfind(line)
        if at >= 0:
            begin = at + len(line)
            end = key.find(b"\r\n", begin)
            uri = key[begin:end]
            return (key[:at] + key[end:], uri) if PLAIN_URI.fullmatch(uri) else None
    return None


def is_cacheable(head: SimpleRequest, key: bytes, request_id: bytes | None) -> bool:
    """Return True if all heads with this key under `unnumbered` are as plain as ``head``.

    They differ in at most one well-formed line, which is the only one of its name.
    """
    alone = head.request_ids == (() if request_id is None else (request_id,))
    return alone and len(key) <= MAX_AGAIN and key.count(b"\r\n") <= MAX_LINES


class HeadReader:
    """Reader of plain heads. One per listener. Its memory of a line depends on the line alone."""

    def __init__(self) -> None:
        self._idle: set[bytes] = set()

    def read(self, head: bytes) -> SimpleRequest | None:
        """Read a plain request. Return None if aiohttp must serve it."""
        lines = head.split(b"\r\n")
        target = _target(lines)
        if target is None:
            return None
        idle = self._idle
        found: list[Line] = []
        request_ids: list[bytes] = []
        singles: list[bytes] = []
        for line in lines[1:-2]:
            if line in idle:
                continue
            name, _, value = line.partition(b":")
            lowered = name.lower()
            if lowered in READ:
                found.append((lowered, value.strip(b" \t")))
            elif lowered == b"x-request-id":
                request_ids.append(value.strip(b" \t"))
            elif lowered in CLOSER_LOOK:
                if lowered in singles or not _is_usual(lowered, value.strip(b" \t")):
                    return None
                singles.append(lowered)
            elif not self._remember(line):
                return None
        if b"host" not in singles:
            return None
        return SimpleRequest(target, tuple(found), tuple(request_ids))

    def _remember(self, line: bytes) -> bool:
        """Remember a line without effect.

        Return False for a continuation, which aiohttp joins to the previous line or rejects.
        """
        if line[0] in FOLDS:
            return False
        if len(line) <= MAX_KNOWN_LINE:
            if len(self._idle) >= MAX_KNOWN:
                self._idle.clear()
            self._idle.add(line)
        return True


def _target(lines: list[bytes]) -> str | None:
    """Return the target of an HTTP/1.1 GET with at most MAX_HEADERS headers, else None."""
    request = lines[0]
    if not request.endswith(VERSION) or not request.isascii():
        return None
    if len(lines) > MAX_HEADERS + 3:  # the request line, and two empty strings after the last header
        return None
    target = request[len(GET) : -len(VERSION)].decode("ascii")
    # llhttp accepts several spaces before the version, and a bare line feed as the end of a request line without
    # version.
    return target if target.isprintable() and " " not in target else None


def _is_usual(name: bytes, value: bytes) -> bool:
    """Return True for a header that a plain check may have, once."""
    match name:
        case b"host" | b"user-agent" | b"content-type":
            return True
        case b"content-length":
            return value == b"0"
        case b"connection":
            return value.lower() == b"keep-alive"
        case _:
            return False
