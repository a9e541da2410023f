"""From a request to its row of the table and back to bytes. One place knows aiohttp; it decides nothing.

Order: request id, gateway call or table row, guard, body, handler. An exception that is nobody's becomes a denial to a
gateway and a problem without details to everybody else; its traceback goes to the log.
"""

from collections.abc import Iterable
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from sidecar.edge.address import client_address
from sidecar.edge.answers import Answer
from sidecar.edge.bodies import BadBody, decode
from sidecar.edge.call import Call, Endpoint, RawBody, Reply
from sidecar.edge.checks import answer_check, gateway_call, is_check
from sidecar.edge.guard import admit
from sidecar.edge.parts import Parts
from sidecar.edge.problems import problem_answer
from sidecar.edge.request_id import request_id_of
from sidecar.edge.table import Table
from sidecar.store.connection import StoreUnavailable
from sidecar.telemetry.logs import logger
from sidecar.vocabulary.problems import Code, Problem

_log = logger("edge")


class TooLarge(Exception):
    """The body is over the limit; what came is thrown away."""


class Dispatcher:
    """The handler of one listener: ``aiohttp.web.Server(dispatcher)``."""

    def __init__(self, parts: Parts, endpoints: Iterable[Endpoint], *, checks: bool, store: bool = True) -> None:
        """``checks``: the gateway endpoints are served here. ``store``: the rows need the store to be ours."""
        self._parts = parts
        self._table = Table(endpoints)
        self._checks = checks
        self._store = store

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        request_id = request_id_of(request.raw_headers)
        if self._checks and is_check(path):
            call = gateway_call(request.method, path, query, request.raw_headers)
            answer = await answer_check(self._parts, call, request_id)
        else:
            answer = await self._answer(request, path, query, request_id)
        return _response(answer, request_id)

    async def _answer(self, request: web.BaseRequest, path: str, query: str, request_id: str) -> Answer:
        label = "unknown"
        try:
            found = self._table.find(request.method, path)
            if isinstance(found, Problem):
                answer = problem_answer(found)
            elif self._store and not self._parts.vitals.proven:
                answer = problem_answer(_STORE_UNAVAILABLE)
            else:
                endpoint, names = found
                label = endpoint.path
                answer = await self._call(endpoint, names, request, query, request_id)
        except StoreUnavailable:
            answer = problem_answer(_STORE_UNAVAILABLE)
        except TooLarge:
            answer = problem_answer(_too_large(self._parts.surface.max_body))
        except Exception:
            _log.exception("a request failed", endpoint=label, request_id=request_id)
            answer = problem_answer(_INTERNAL)
        self._parts.metrics.requests.labels(label, str(answer.status)).inc()
        return answer

    async def _call(
        self, endpoint: Endpoint, names: dict[str, str], request: web.BaseRequest, query: str, request_id: str
    ) -> Answer:
        parts = self._parts
        generation = parts.policy.generation
        caller = await admit(endpoint.guard, parts, generation, request.method, request.raw_headers)
        if isinstance(caller, Problem):
            return problem_answer(caller)
        try:
            body = await _body(endpoint, request, parts.surface.max_body)
        except BadBody as error:
            return problem_answer(Problem(Code.BAD_REQUEST, str(error)))
        call = Call(
            parts=parts,
            body=body,
            names=names,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers=request.raw_headers,
            address=client_address(_peer(request), request.raw_headers, parts.surface.trusted_proxies),
            request_id=request_id,
            generation=generation,
            known=caller,
        )
        outcome = await endpoint.handler(call)
        return problem_answer(outcome) if isinstance(outcome, Problem) else reply_answer(outcome)


def reply_answer(reply: Reply) -> Answer:
    """JSON unless the handler brings bytes and their type. Nothing of ours may be kept by a cache unless it says so."""
    headers = list(reply.headers)
    named = {name for name, _ in headers}
    if "Cache-Control" not in named:
        headers.append(("Cache-Control", "no-store"))
    if reply.body is None or isinstance(reply.body, bytes):
        return Answer(reply.status, tuple(headers), reply.body or b"")
    if "Content-Type" not in named:
        headers.append(("Content-Type", "application/json"))
    return Answer(reply.status, tuple(headers), msgspec.json.encode(reply.body))


async def _body(endpoint: Endpoint, request: web.BaseRequest, limit: int) -> object:
    if endpoint.body is None:
        return None
    content = await _read(request, limit)
    if endpoint.body is RawBody:
        return RawBody(request.headers.get("Content-Type", ""), content)
    return decode(content, endpoint.body)


async def _read(request: web.BaseRequest, limit: int) -> bytes:
    if request.content_length is not None and request.content_length > limit:
        raise TooLarge
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise TooLarge
        chunks.append(chunk)
    return b"".join(chunks)


def _response(answer: Answer, request_id: str) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body or None)
    for name, value in answer.headers:
        response.headers.add(name, value)
    response.headers["X-Request-ID"] = request_id
    response.headers["Server"] = "sidecar"
    return response


def _peer(request: web.BaseRequest) -> str | None:
    transport = request.transport
    peer = transport.get_extra_info("peername") if transport is not None else None
    return peer[0] if isinstance(peer, tuple) else None


def _too_large(limit: int) -> Problem:
    return Problem(Code.TOO_LARGE, f"the body is over {limit} bytes; send less or raise SIDECAR_MAX_BODY")


_STORE_UNAVAILABLE = Problem(
    Code.STORE_UNAVAILABLE,
    "the store does not answer; nothing was changed that was not confirmed, try again shortly",
    {"reason": Code.STORE_UNAVAILABLE.value},
    retry_after=1,
)
_INTERNAL = Problem(Code.INTERNAL_ERROR, "the sidecar failed at this request; its log has the request id")
