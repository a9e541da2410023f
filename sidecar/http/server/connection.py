"""aiohttp server subclass whose error responses and logs never echo request bytes.

aiohttp returns and logs the offending line of a head that it cannot parse. A token in a damaged Authorization header
would leak (measured with 3.14).
aiohttp also closes at once, while the rest of such a head is still arriving. The kernel then resets the connection and
the response is lost. A fail-open gateway (Envoy) would let the request pass. Therefore this server closes with a delay.
"""

import asyncio
from typing import Any, Final

from aiohttp import web

from sidecar.domain.problems import Code, Problem
from sidecar.http.problems import problem_answer
from sidecar.http.response import RawResponse
from sidecar.http.server.header_limit import HeadLimit
from sidecar.telemetry.app_log import logger

_log = logger("http")

_MALFORMED = Problem(Code.BAD_REQUEST, "the request is not well-formed HTTP, or its head is over SIDECAR_MAX_HEAD")
_FAULT = Problem(Code.INTERNAL_ERROR, "internal error; the sidecar's log has details")


def http_response(answer: RawResponse) -> web.Response:
    """Convert a response to aiohttp's. The Server header hides the library."""
    response = web.Response(status=answer.status, body=answer.body or None)
    for name, value in answer.headers:
        response.headers.add(name, value)
    response.headers["Server"] = "sidecar"
    return response


LINGER_SECONDS: Final = 1.0
"""Seconds during which the rest of an unreadable request is discarded before the connection closes."""


class _Lingering:
    """Transport with a lingering close: stop writing, and discard input for LINGER_SECONDS before closing."""

    def __init__(self, transport: Any, protocol: "Connection") -> None:
        self._transport = transport
        self._protocol = protocol
        self._closing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        if self._closing or self._transport.is_closing():
            self._transport.close()
            return
        self._closing = True
        self._protocol.close()  # further input is not parsed
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.close)


class Connection(web.RequestHandler):
    """One connection that aiohttp serves."""

    __slots__ = ("_unread",)

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._unread: asyncio.TimerHandle | None = None
        self._parser: Any = HeadLimit(self._parser, self.max_line_size)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reader()

    def resume_writing(self) -> None:
        self._stop_expecting()
        super().resume_writing()

    def force_close(self) -> None:
        if self.transport is not None and self.transport.get_write_buffer_size():
            self._expect_reader()
        super().force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._stop_expecting()

    def _expect_reader(self) -> None:
        """Abort the connection after the keep-alive timeout if the client does not read its responses.

        The fast path does the same. aiohttp would wait forever, and so would an orderly close.
        """
        transport: Any = self.transport
        if transport is not None and self._unread is None:
            self._unread = self._loop.call_later(self.keepalive_timeout, transport.abort)

    def _stop_expecting(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        _log.info("unreadable request", error=type(exc).__name__, status=status)
        if exc is not None:
            exc.__traceback__ = None  # it references the rejected bytes, and a cycle would keep it until a collection
        response = http_response(problem_answer(_MALFORMED if status < 500 else _FAULT))
        response.force_close()
        if status < 500 and self.transport is not None:
            self.transport = _Lingering(self.transport, self)  # type: ignore[assignment]
        return response


class HttpServer(web.Server):
    """``web.Server`` that creates `Connection` objects."""

    @property
    def open(self) -> int:
        """Number of open connections, without copying ``connections``."""
        return len(self._connections)

    def __call__(self) -> web.RequestHandler:
        options: dict[str, Any] = self._kwargs
        return Connection(self, loop=self._loop, **options)
