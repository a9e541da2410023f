"""aiohttp's server with its own words taken away.

aiohttp answers a head it cannot parse with the offending line, and logs it as well: a token in a damaged Authorization
header would be repeated to whoever reads either (measured with 3.14). Ours say what is wrong and nothing of what came.
It also closes at once, while the rest of such a head is still arriving: the kernel then resets the connection, the
answer is lost, and a gateway that is told to fail open lets the request pass (Envoy). So ours stays to the end.
"""

import asyncio
from typing import Any, Final

from aiohttp import web

from sidecar.domain.problems import Code, Problem
from sidecar.http.problems import problem_answer
from sidecar.http.response import Answer
from sidecar.http.server.header_limit import HeadLimit
from sidecar.telemetry.app_log import logger

_log = logger("http")

_MALFORMED = Problem(Code.BAD_REQUEST, "the request is not well-formed HTTP, or its head is over SIDECAR_MAX_HEAD")
_FAULT = Problem(Code.INTERNAL_ERROR, "the sidecar failed at this request")


def http_response(answer: Answer) -> web.Response:
    """An answer for aiohttp to write. Strangers need not know which library does."""
    response = web.Response(status=answer.status, body=answer.body or None)
    for name, value in answer.headers:
        response.headers.add(name, value)
    response.headers["Server"] = "sidecar"
    return response


LINGER_SECONDS: Final = 1.0
"""How long the rest of what could not be read is taken and thrown away before the connection closes."""


class _Lingering:
    """A transport that says goodbye before it hangs up: no more is written, what still comes is read for a moment."""

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
        self._protocol.close()  # what comes from here on is not parsed
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.close)


class Connection(web.RequestHandler):
    """One connection in aiohttp's hands."""

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
        """A client that does not take its answers is hung up on, as in the fast lane. aiohttp would wait for it without
        end, and so would a polite close."""
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
        _log.info("a request could not be read", error=type(exc).__name__, status=status)
        if exc is not None:
            exc.__traceback__ = None  # it holds the bytes that were refused, and is held by them until a collection
        response = http_response(problem_answer(_MALFORMED if status < 500 else _FAULT))
        response.force_close()
        if status < 500 and self.transport is not None:
            self.transport = _Lingering(self.transport, self)  # type: ignore[assignment]
        return response


class Server(web.Server):
    """``web.Server`` that makes our connections."""

    @property
    def open(self) -> int:
        """How many there are; ``connections`` would copy them."""
        return len(self._connections)

    def __call__(self) -> web.RequestHandler:
        options: dict[str, Any] = self._kwargs
        return Connection(self, loop=self._loop, **options)
