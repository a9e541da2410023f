"""Bounded reader of Envoy's serialized CheckRequest: extracts the HTTP request without its body.

Parsing holds the interpreter lock, and a map costs 2 µs per entry: 2 MB of headers take 0.4 s. Therefore the field
lengths of a long message are checked first. A message with too many or too long headers is invalid.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

SHORT: Final = 8192
"""Bytes that are parsed without a check. SIDECAR_MAX_HEAD is never smaller."""

MAX_HEADERS: Final = 128
"""Headers per message, as aiohttp's limit (server/listeners.py)."""

_PATH: Final = (1, 4, 2)
"""CheckRequest.attributes, AttributeContext.request, Request.http."""

_SOURCE: Final = (1, 1, 1)
"""CheckRequest.attributes, AttributeContext.source, Peer.address."""

_MAX_ADDRESS: Final = 512

_MAX_FIELDS: Final = 64
"""Fields per message on that path besides headers. envoy.service.auth.v3 has at most 13."""

_BODIES: Final = frozenset({11, 12})
_HEADERS, _HEADER_MAP = 3, 13
_LENGTH_DELIMITED: Final = 2


class _Field(NamedTuple):
    """A field of a message, with the offsets of its key and of its content."""

    number: int
    wire_type: int
    start: int
    content: int
    end: int


def http_request(raw: bytes, max_head: int) -> bytes | None:
    """Return AttributeContext.HttpRequest of a serialized CheckRequest, without its bodies.

    Return None if it has more than MAX_HEADERS headers, has more than `max_head` bytes besides its bodies, or is
    malformed.
    """
    try:
        found = _find(raw, _PATH)
        return None if found is None else _head(raw, *found, max_head)
    except (IndexError, ValueError):
        return None


def source_address(raw: bytes) -> bytes:
    """Return the source's Address of a serialized CheckRequest; empty if there is none, or a malformed one."""
    try:
        found = _find(raw, _SOURCE)
    except (IndexError, ValueError):
        return b""
    return b"" if found is None or found[1] - found[0] > _MAX_ADDRESS else raw[found[0] : found[1]]


def _find(raw: bytes, path: tuple[int, ...]) -> tuple[int, int] | None:
    """Return the begin and end of a message on a path of fields, each of which occurs once."""
    start, end = 0, len(raw)
    for number in path:
        found = [field for field in _fields(raw, start, end, _MAX_FIELDS) if field.number == number]
        if len(found) != 1 or found[0].wire_type != _LENGTH_DELIMITED:
            return None
        start, end = found[0].content, found[0].end
    return start, end


def _head(raw: bytes, start: int, end: int, max_head: int) -> bytes | None:
    parts: list[bytes] = []
    size = headers = 0
    for field in _fields(raw, start, end, _MAX_FIELDS + MAX_HEADERS):
        if field.number in _BODIES:
            continue
        size += field.end - field.start
        if size > max_head:
            return None
        if field.number == _HEADERS:
            headers += 1
        elif field.number == _HEADER_MAP:
            headers += sum(1 for _ in _fields(raw, field.content, field.end, MAX_HEADERS))
        if headers > MAX_HEADERS:
            return None
        parts.append(raw[field.start : field.end])
    return b"".join(parts)


def _fields(raw: bytes, start: int, end: int, most: int) -> Iterator[_Field]:
    """Yield the fields of a message.

    Raises IndexError or ValueError for a malformed one, or for more than `most` fields.
    """
    at = start
    for _ in range(most + 1):
        if at == end:
            return
        key, content = _varint(raw, at, end)
        size = 0
        match key & 7:
            case 0:
                _, after = _varint(raw, content, end)
                size = after - content
            case 1:
                size = 8
            case 2:
                size, content = _varint(raw, content, end)
            case 5:
                size = 4
            case _:
                raise ValueError(key)
        if content + size > end:
            raise IndexError(content)
        yield _Field(key >> 3, key & 7, at, content, content + size)
        at = content + size
    raise ValueError(most)


def _varint(raw: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the number at `at`, and its end."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise IndexError(at)
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(value)
