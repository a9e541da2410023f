"""aiohttp's server with its own words taken away.

aiohttp answers a head it cannot parse with the offending line, and logs it as well: a token in a damaged Authorization
header would be repeated to whoever reads either (measured with 3.14). Ours say what is wrong and nothing of what came.
"""

from typing import Any

from aiohttp import web

from sidecar.edge.answers import Answer
from sidecar.edge.problems import problem_answer
from sidecar.telemetry.logs import logger
from sidecar.vocabulary.problems import Code, Problem

_log = logger("edge")

_MALFORMED = Problem(Code.BAD_REQUEST, "the request is not well-formed HTTP, or its head is over SIDECAR_MAX_HEAD")
_FAULT = Problem(Code.INTERNAL_ERROR, "the sidecar failed at this request")


def http_response(answer: Answer) -> web.Response:
    """An answer for aiohttp to write. Strangers need not know which library does."""
    response = web.Response(status=answer.status, body=answer.body or None)
    for name, value in answer.headers:
        response.headers.add(name, value)
    response.headers["Server"] = "sidecar"
    return response


class Connection(web.RequestHandler):
    """One connection in aiohttp's hands."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        _log.info("a request could not be read", error=type(exc).__name__, status=status)
        response = http_response(problem_answer(_MALFORMED if status < 500 else _FAULT))
        response.force_close()
        return response


class Server(web.Server):
    """``web.Server`` that makes our connections."""

    def __call__(self) -> web.RequestHandler:
        options: dict[str, Any] = self._kwargs
        return Connection(self, loop=self._loop, **options)
