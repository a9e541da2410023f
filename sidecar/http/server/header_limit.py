"""SIDECAR_MAX_HEAD for a head as a whole. aiohttp holds each line of it to that, and takes 128 lines: 4 MB of anybody.

Bytes are counted as they come in, and only those of a head that has not ended: never a body's, nor those of another
request in the pipe. What comes in one read with the end of another head or body is not counted, for where one ends only
the parser knows; so a head may be longer by one read before it is given up. It is measured again when it is whole.
What a body may have behind it (trailers) is held to the same: aiohttp keeps that, too.
"""

from typing import Any, Final

from aiohttp import EMPTY_PAYLOAD
from aiohttp.http import HttpProcessingError

FRAME: Final = len("  HTTP/1.1\r\n\r\n")
"""Of a head, what is neither method, target nor header lines."""


class HeadTooLongError(HttpProcessingError):
    """aiohttp answers it as it answers a head that it cannot read."""

    code = 400


class HeadLimit:
    """aiohttp's parser of one connection, which gives up on a head that is longer than ``limit``."""

    def __init__(self, parser: Any, limit: int) -> None:
        self._parser = parser
        self._feed = parser.feed_data
        self._limit = limit
        self._counted = 0
        self._before = 0
        self._body: Any = EMPTY_PAYLOAD
        self._refused = False

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._parser, name)  # its methods; kept, for one of them is called with each request
        setattr(self, name, value)
        return value

    def feed_data(self, data: bytes) -> Any:
        """As the parser's. Raises HeadTooLongError once; whatever comes after that is thrown away."""
        if self._refused:
            return (), False, b""
        body, in_body, had = self._body, not self._body.is_eof(), self._body.total_bytes
        result = self._feed(data)
        if heads := result[0]:
            if self._before + self._counted + len(data) > self._limit:  # else none of them can be too long
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
        """From here on another head may come. Without ``data`` the parser went on with what it had kept (it takes so
        many requests at a time), and may have more of it."""
        self._counted = 0
        if data:
            self._before = len(data)

    def _measure(self, heads: Any) -> None:
        for head, _ in heads:
            # As it is usually written: a space behind each colon.
            lines = sum([len(name) + len(value) + 4 for name, value in head.raw_headers])
            if len(head.method) + len(head.path) + FRAME + lines > self._limit:
                self._refuse(in_body=False)

    def _refuse(self, *, in_body: bool) -> None:
        self._refused = True
        if in_body:  # whoever reads it can be told only by the end of the connection
            self._parser.protocol.force_close()
        raise HeadTooLongError
