"""SIDECAR_MAX_HEAD for a request head as a whole. aiohttp applies it per line and accepts 128 lines, 4 MB per client.

Bytes are counted as they arrive, and only those of an incomplete head: never a body's, nor a pipelined request's.
A read that also contains the end of another head or body is not counted, because only the parser knows the boundary. So
a head may exceed the limit by one read before its rejection. A complete head is measured again.
Trailers after a body have the same limit, because aiohttp buffers them as well.
"""

from typing import Any, Final

from aiohttp import EMPTY_PAYLOAD
from aiohttp.http import HttpProcessingError

FRAME: Final = len("  HTTP/1.1\r\n\r\n")
"""Bytes of a head besides method, target and header lines."""


class HeadTooLongError(HttpProcessingError):
    """The head exceeds the limit. aiohttp responds as to an unreadable head."""

    code = 400


class HeadLimit:
    """Wrapper of aiohttp's parser of one connection. Rejects a head that is longer than ``limit``."""

    def __init__(self, parser: Any, limit: int) -> None:
        self._parser = parser
        self._feed = parser.feed_data
        self._limit = limit
        self._counted = 0
        self._before = 0
        self._body: Any = EMPTY_PAYLOAD
        self._refused = False

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._parser, name)  # methods of the parser, cached because one is called per request
        setattr(self, name, value)
        return value

    def feed_data(self, data: bytes) -> Any:
        """Parse ``data``. Raises HeadTooLongError once; later input is discarded."""
        if self._refused:
            return (), False, b""
        body, in_body, had = self._body, not self._body.is_eof(), self._body.total_bytes
        result = self._feed(data)
        if heads := result[0]:
            if self._before + self._counted + len(data) > self._limit:  # else no head can be too long
                self._measure(heads)
            self._body = heads[-1][1]
            self._begin(data)
        elif in_body and (body.is_eof() or body.total_bytes > had):
            self._begin(data)
        else:
            self._counted += len(data)
            if self._counted > self._limit:
                self._refuse(in_body=in_body)
        return result

    def _begin(self, data: bytes) -> None:
        """Start counting the next head.

        Without ``data``, the parser continued with buffered input (it limits requests per call), and may have more of
        it.
        """
        self._counted = 0
        if data:
            self._before = len(data)

    def _measure(self, heads: Any) -> None:
        for head, _ in heads:
            # Assumes the usual form: a space after each colon.
            lines = sum([len(name) + len(value) + 4 for name, value in head.raw_headers])
            if len(head.method) + len(head.path) + FRAME + lines > self._limit:
                self._refuse(in_body=False)

    def _refuse(self, *, in_body: bool) -> None:
        self._refused = True
        if in_body:  # only the end of the connection can signal the error to the body's reader
            self._parser.protocol.force_close()
        raise HeadTooLongError
