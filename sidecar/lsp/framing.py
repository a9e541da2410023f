"""Frames of the Language Server Protocol: headers and bodies in a stream of any bytes.

A fault is an item of its own, and the reader continues behind it. Memory is bounded by `MAX_BODY`.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

MAX_HEADER: Final = 4 * 1024
"""Maximum bytes of a header line. A longer line is no header."""
MAX_BODY: Final = 64 * 1024 * 1024
_LENGTH: Final = re.compile(rb"content-length[ \t]*:[ \t]*(.*?)[ \t]*", re.IGNORECASE)
_NUMBER: Final = re.compile(rb"[0-9]{1,10}")


class FrameFault(StrEnum):
    """Fault of the stream, as the text of the error response."""

    LENGTH = "Content-Length is no number of bytes"
    TOO_LARGE = f"the message is larger than {MAX_BODY // 2**20} MiB"
    NO_LENGTH = "the message has no Content-Length"


class FrameDecoder:
    """Decoder of frames from chunks of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None
        self._in_body = False
        self._skip = 0

    def feed(self, chunk: bytes) -> Iterator[bytes | FrameFault]:
        """Add a chunk, and yield the complete bodies and the faults."""
        self._buffer += chunk
        while True:
            item = self._body() if self._in_body else self._header()
            if item is None:
                return
            if item is not _CONTINUE:
                yield item

    def _body(self) -> bytes | FrameFault | None:
        if self._skip:
            dropped = min(self._skip, len(self._buffer))
            del self._buffer[:dropped]
            self._skip -= dropped
            self._in_body = self._skip > 0
            return None if self._skip else _CONTINUE
        length = self._length or 0
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._in_body, self._length = False, None
        return body

    def _header(self) -> bytes | FrameFault | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > MAX_HEADER:
                self._buffer.clear()
            return None
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        if not line:
            return self._end_of_headers()
        match = _LENGTH.fullmatch(line)
        if match is None:
            return _CONTINUE  # another header, or none at all
        if not _NUMBER.fullmatch(match[1]):
            self._length = None
            return FrameFault.LENGTH
        self._length = int(match[1])
        return _CONTINUE

    def _end_of_headers(self) -> bytes | FrameFault:
        if self._length is None:
            return FrameFault.NO_LENGTH if self._buffer[:1] == b"{" else _CONTINUE
        self._in_body = True
        if self._length > MAX_BODY:
            self._skip, self._length = self._length, None
            return FrameFault.TOO_LARGE
        return _CONTINUE


_CONTINUE: Final = b""
"""Nothing to yield yet. An empty body is no message either."""
