"""The request line and headers of a head that llhttp has accepted; None when anything in it is unusual.

Split here and not by the parser's callbacks, which cost several times as much (measured); of an accepted head every
line is a name, a colon and a value with white space around. Most lines of most requests are the same, and decide
nothing: those are remembered whole, so that they cost one look-up.
"""

import re
from typing import Final

import msgspec

from sidecar.gateways.adapter import HTTP2_SETTINGS, UPGRADE
from sidecar.gateways.ext_authz import HEADERS_READ
from sidecar.http.request_id import FORM

Line = tuple[bytes, bytes]
Page = tuple[bytes, bytes]
"""A frame, which is a head without the line that names the page, and the page: see `unplaced`."""

MAX_HEADERS: Final = 100
"""Fewer than aiohttp takes, so that a head at the limit is judged by one program alone."""

READ: Final = HEADERS_READ - {HTTP2_SETTINGS, UPGRADE}

CLOSER_LOOK: Final = frozenset(
    {
        *(b"connection", b"content-length", b"content-type", b"host", b"user-agent"),
        *(b"content-location", b"content-range", b"etag", b"max-forwards", b"server"),
        *(b"expect", b"http2-settings", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
"""What changes how a request is framed, or may stand only once for aiohttp. A plain call has some of the first row,
once each. Of the headers that are neither these nor read by a check nothing depends."""

GET: Final = b"GET "
VERSION: Final = b" HTTP/1.1"
FOLDS: Final = b" \t"

MAX_KNOWN: Final = 4096
MAX_KNOWN_LINE: Final = 256
"""At most a megabyte of lines; when they are that many, all are forgotten."""


class PlainHead(msgspec.Struct, frozen=True, gc=False):
    """``headers``: those that a check reads, their names in lower case. ``request_ids``: as many as came."""

    target: str
    headers: tuple[Line, ...]
    request_ids: tuple[bytes, ...]


NUMBER_LINES: Final = (b"\r\nX-Request-Id: ", b"\r\nx-request-id: ", b"\r\nX-Request-ID: ")
"""As gateways write it; a line in other letters stays where it is."""

FORWARDED_LINES: Final = (b"\r\nX-Forwarded-Uri: ", b"\r\nx-forwarded-uri: ")
ORIGINAL_LINES: Final = (b"\r\nX-Original-URI: ", b"\r\nx-original-uri: ")
NGINX: Final = (b"GET /check/nginx ", b"GET /check/nginx?")
PLAIN_URI: Final = re.compile(rb"/[!-~]*")

MAX_AGAIN: Final = 4096
MAX_LINES: Final = 64


def unnumbered(head: bytes) -> tuple[bytes, bytes | None]:
    """A head without its request id, which alone is new in a call that comes again, and the id. Whole, and None, when
    there is none that could be echoed."""
    for line in NUMBER_LINES:
        at = head.find(line)
        if at >= 0:
            end = head.find(b"\r\n", at + len(line))
            given = head[at + len(line) : end]
            return (head[:at] + head[end:], given) if FORM.fullmatch(given) else (head, None)
    return head, None


def unplaced(key: bytes) -> Page | None:
    """A short head without the line that names the page, and what that line says. None when there is no such line, or
    there is more in it than visible ASCII, on which parsers differ."""
    if len(key) > MAX_AGAIN:
        return None
    for line in ORIGINAL_LINES if key.startswith(NGINX) else FORWARDED_LINES:
        at = key.find(line)
        if at >= 0:
            begin = at + len(line)
            end = key.find(b"\r\n", begin)
            uri = key[begin:end]
            return (key[:at] + key[end:], uri) if PLAIN_URI.fullmatch(uri) else None
    return None


def may_come_again(head: PlainHead, key: bytes, given: bytes | None) -> bool:
    """Whether every head that gives this key under `unnumbered` is as plain as ``head``: it differs from it in one
    well-formed line at most, which is the only one of its name."""
    alone = head.request_ids == (() if given is None else (given,))
    return alone and len(key) <= MAX_AGAIN and key.count(b"\r\n") <= MAX_LINES


class HeadReader:
    """One a listener. What it remembers of a line follows from the line alone."""

    def __init__(self) -> None:
        self._idle: set[bytes] = set()

    def read(self, head: bytes) -> PlainHead | None:
        """None: aiohttp should have it."""
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
        return PlainHead(target, tuple(found), tuple(request_ids))

    def _remember(self, line: bytes) -> bool:
        """A line that decides nothing; False for a continuation, which aiohttp joins to the line before or refuses."""
        if line[0] in FOLDS:
            return False
        if len(line) <= MAX_KNOWN_LINE:
            if len(self._idle) >= MAX_KNOWN:
                self._idle.clear()
            self._idle.add(line)
        return True


def _target(lines: list[bytes]) -> str | None:
    """Of a GET in HTTP/1.1 with not too many headers."""
    request = lines[0]
    if not request.endswith(VERSION) or not request.isascii():
        return None
    if len(lines) > MAX_HEADERS + 3:  # the request line, and the two pieces behind the last header
        return None
    target = request[len(GET) : -len(VERSION)].decode("ascii")
    # llhttp takes several spaces before the version, and a bare line feed for the end of a request line without one.
    return target if target.isprintable() and " " not in target else None


def _is_usual(name: bytes, value: bytes) -> bool:
    """A header that a plain call may have, once."""
    match name:
        case b"host" | b"user-agent" | b"content-type":
            return True
        case b"content-length":
            return value == b"0"
        case b"connection":
            return value.lower() == b"keep-alive"
        case _:
            return False
