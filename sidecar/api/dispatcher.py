"""Dispatcher from a request to its endpoint and back to bytes. The only module with aiohttp requests; decides nothing.

Order: request id, gateway check or endpoint, authorization, body, handler. An unexpected exception becomes a denial to
a gateway, and a problem without details to other clients. Its traceback is logged.
"""

import asyncio
from collections.abc import Iterable
from functools import lru_cache
from time import perf_counter

import msgspec
from aiohttp import ClientPayloadError, web
from aiohttp.web import RequestPayloadError

from sidecar.api.console import LABEL, Console, secured
from sidecar.api.repeated_checks import MAX_BODY, PATHS, RepeatableCheck, RepeatedChecks, repeatable
from sidecar.domain.decision import Reason
from sidecar.domain.problems import Code, Problem
from sidecar.gateways.ext_authz import HEADERS_READ, answer_check, client_of, gateway_call, is_check, network_of
from sidecar.gateways.fast_path.check_responder import CheckResponder
from sidecar.gateways.fast_path.response_cache import is_short
from sidecar.http.allowed_hosts import NOT_OUR_NAME, is_ours
from sidecar.http.authorization import admit
from sidecar.http.context import AppContext
from sidecar.http.endpoint import Endpoint
from sidecar.http.json_body import InvalidBodyError, decode
from sidecar.http.min_revision import admit_at_least
from sidecar.http.problems import of_reason, problem_answer
from sidecar.http.query import read_query
from sidecar.http.request import RawBody, Request, Response
from sidecar.http.request_id import repeated_request_id, request_id_of
from sidecar.http.response import RawResponse
from sidecar.http.router import Router, Row
from sidecar.http.server.connection import http_response
from sidecar.http.server.prepared_response import PreparedResponse, prepare
from sidecar.http.server.raw_response import fits, written
from sidecar.pdp.decision_point import PendingDecision
from sidecar.store.connection import StoreUnavailableError
from sidecar.telemetry.app_log import logger

AUTHZEN = "/access/v1/"

SHORT = 160
"""Bytes of a response that may recur: a decision with its reason."""

BODY_SECONDS = 10.0

_log = logger("api")


class BodyTooLargeError(Exception):
    """The body exceeds the limit. Received bytes are discarded."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is over {limit} bytes; send less")


class Dispatcher:
    """Request handler of one listener: ``aiohttp.web.Server(dispatcher)``."""

    def __init__(
        self,
        app: AppContext,
        endpoints: Iterable[Endpoint],
        *,
        checks: bool,
        store: bool = True,
        console: Console | None = None,
    ) -> None:
        """Create the handler.

        ``checks``: serve the gateway endpoints. ``store``: the endpoints need a verified store. ``console``: its pages
        do not.
        """
        self._app = app
        self._responder = CheckResponder(app)
        self._repeated = RepeatedChecks(app, self._responder)
        self._table = Router(endpoints)
        self._checks = checks
        self._store = store
        self._console = console

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if self._checks and is_check(path):
            return await self._check(request, path, query)
        if self._console is not None and self._console.owns(path):
            page = self._page(self._console, request, path, query)
            return self._response(request, page, request_id_of(request.raw_headers))
        if path in PATHS and request.method == "POST" and not query and (content := self._arrived(request)) is not None:
            return await self._check_of_api(request, repeatable(path, request.raw_headers, content))
        if not path.startswith(AUTHZEN):
            request_id = request_id_of(request.raw_headers)
            return self._response(request, await self._answer(request, path, query, request_id), request_id)
        request_id = repeated_request_id(request.raw_headers)
        return self._short_response(request, await self._answer(request, path, query, request_id), request_id)

    async def _check_of_api(self, request: web.BaseRequest, sent: RepeatableCheck) -> web.StreamResponse:
        """Respond to a check of the API with an arrived body, from the cache if it is a repeated one."""
        started = perf_counter()
        authzen = sent.path.startswith(AUTHZEN)
        request_id = (repeated_request_id if authzen else request_id_of)(request.raw_headers)
        if sent.key is not None and self._stays(request) and (self._app.health.proven or not self._store):
            known = await self._repeated.respond(sent, request_id, started)
            if known is not None:
                return written(known, request_id)
        answer = await self._answer(request, sent.path, "", request_id, sent)
        return (self._short_response if authzen else self._response)(request, answer, request_id)

    def _arrived(self, request: web.BaseRequest) -> bytes | None:
        """Return a short body that arrived together with its head, else None."""
        whole, most = request.content, min(MAX_BODY, self._app.public_config.max_body)
        if whole.is_eof() and whole.total_bytes <= most and whole.exception() is None:
            return whole.read_nowait()
        return None

    def _short_response(self, request: web.BaseRequest, answer: RawResponse, request_id: bytes) -> web.StreamResponse:
        """Return a response of AuthZEN. Most are short, and few are different."""
        if len(answer.body) <= SHORT and self._stays(request, answer.status):
            return written(_prepared(answer), request_id)
        return self._response(request, answer, request_id)

    async def _check(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        """Respond to a gateway check as the fast path does."""
        started = perf_counter()
        request_id = request_id_of(request.raw_headers)
        lines = tuple([(low, value) for name, value in request.raw_headers if (low := name.lower()) in HEADERS_READ])
        client = client_of(self._app, _peer(request), request.raw_headers)
        call = gateway_call(request.method, path, query, lines, client)
        if not self._stays(request):
            return self._response(request, await answer_check(self._app, call, request_id), request_id)
        key = (request.method, request.raw_path, lines, network_of(self._app, client))
        if (known := self._responder.cached(key)) is not None:
            return written(self._responder.replay(known, request_id, started), request_id)
        outcome = self._responder.decide(key if is_short(call) else None, call, request_id, started)
        if isinstance(outcome, PendingDecision):
            return written(await self._responder.decide_async(outcome, call, request_id, started), request_id)
        return written(outcome, request_id)

    def _stays(self, request: web.BaseRequest, status: int = 200) -> bool:
        """Return True if the connection stays open and the response may be pre-serialized. False during a drain."""
        return not self._app.health.draining and fits(request, status)

    def _response(self, request: web.BaseRequest, answer: RawResponse, request_id: bytes) -> web.StreamResponse:
        if self._stays(request, answer.status):
            return written(prepare(answer), request_id)
        response = http_response(answer)
        response.headers["X-Request-ID"] = request_id.decode("ascii")
        if self._app.health.draining:
            response.force_close()  # announced in the response, so that a gateway's pool switches before the exit
        return response

    def _page(self, console: Console, request: web.BaseRequest, path: str, query: str) -> RawResponse:
        started = perf_counter()
        if is_ours(request.headers.get("Host"), self._app.public_config.hosts):
            answer = console.answer(request.method, path, query, request.raw_headers)
        else:
            answer = secured(NOT_OUR_NAME)
        self._app.metrics.requests.count(LABEL, answer.status, perf_counter() - started)
        return answer

    async def _answer(
        self, request: web.BaseRequest, path: str, query: str, request_id: bytes, sent: RepeatableCheck | None = None
    ) -> RawResponse:
        started = perf_counter()
        found = self._table.find(request.method, path)
        if isinstance(found, Problem):
            label, answer = "unknown", problem_answer(found)
        else:
            label = found[0].path
            answer = await self._answer_row(found, request, query, request_id.decode("ascii"), sent)
        self._app.metrics.requests.count(label, answer.status, perf_counter() - started)
        return answer

    async def _answer_row(
        self, row: Row, request: web.BaseRequest, query: str, request_id: str, sent: RepeatableCheck | None
    ) -> RawResponse:
        endpoint = row[0]
        try:
            if not is_ours(request.headers.get("Host"), self._app.public_config.hosts):
                outcome: Response | Problem = NOT_OUR_NAME
            elif self._store and not self._app.health.proven:
                outcome = _STORE_UNAVAILABLE
            else:
                outcome = await self._call(row, request, query, request_id, sent)
            if isinstance(outcome, Response):
                answer = reply_answer(outcome)
                if sent is not None and outcome.decision is not None:
                    self._repeated.store(sent, outcome.decision, answer)
                return answer
        except InvalidBodyError as error:
            outcome = Problem(Code.BAD_REQUEST, str(error))
        except StoreUnavailableError:
            outcome = _STORE_UNAVAILABLE
        except BodyTooLargeError as error:
            remedy = "" if endpoint.max_body else " or raise SIDECAR_MAX_BODY"  # an endpoint's own limit is fixed
            outcome = Problem(Code.TOO_LARGE, f"{error}{remedy}")
        except Exception:
            _log.exception("request failed", endpoint=endpoint.path, request_id=request_id)
            outcome = _INTERNAL
        return endpoint.render_problem(outcome)

    async def _call(
        self, row: Row, request: web.BaseRequest, query: str, request_id: str, sent: RepeatableCheck | None
    ) -> Response | Problem:
        endpoint, names = row
        app = self._app
        generation = app.policy.generation
        authorize = admit_at_least if endpoint.at_least else admit
        peer = _peer(request)
        caller = await authorize(endpoint.guard, app, generation, request.method, request.raw_headers, peer)
        if isinstance(caller, Problem):
            return caller
        if endpoint.at_least:  # after the wait: no answer of a revision comes from an older policy (R30)
            generation = app.policy.generation
            if generation is None:
                return of_reason(Reason.POLICY_UNAVAILABLE, "")
        parameters = read_query(endpoint, query)
        call = Request(
            app=app,
            body=await _body(endpoint, request, max(endpoint.max_body, app.public_config.max_body), sent),
            names=names,
            query=parameters,
            headers=request.raw_headers,
            peer_address=peer,
            request_id=request_id,
            generation=generation,
            known=caller,
        )
        return await endpoint.handler(call)


def reply_answer(reply: Response) -> RawResponse:
    """Encode a response: JSON, unless the handler returns bytes with their type. Not cacheable by default."""
    headers = list(reply.headers)
    named = {name for name, _ in headers}
    if "Cache-Control" not in named:
        headers.append(("Cache-Control", "no-store"))
    if reply.body is None or isinstance(reply.body, bytes):
        return RawResponse(reply.status, tuple(headers), reply.body or b"")
    if "Content-Type" not in named:
        headers.append(("Content-Type", "application/json"))
    return RawResponse(reply.status, tuple(headers), msgspec.json.encode(reply.body))


async def _body(endpoint: Endpoint, request: web.BaseRequest, limit: int, sent: RepeatableCheck | None) -> object:
    if endpoint.body is None:
        return None
    content = await _read(request, limit) if sent is None else sent.content
    if endpoint.body is RawBody:
        return RawBody(request.headers.get("Content-Type", ""), content)
    return decode(content, endpoint.body)


async def _read(request: web.BaseRequest, limit: int) -> bytes:
    """Read the whole body. The time limit stops a client that sends slowly or not at all."""
    if request.content_length is not None and request.content_length > limit:
        raise BodyTooLargeError(limit)
    whole = request.content
    if whole.is_eof() and whole.total_bytes <= limit and whole.exception() is None:
        return whole.read_nowait()  # most bodies arrive together with their head
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_within(request, limit)
    except TimeoutError:
        raise InvalidBodyError(f"the body did not arrive within {BODY_SECONDS:.0f} seconds") from None
    except (ConnectionError, ClientPayloadError, RequestPayloadError):
        raise InvalidBodyError("the body ended early") from None


async def _read_within(request: web.BaseRequest, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError(limit)
        chunks.append(chunk)
    return b"".join(chunks)


@lru_cache(maxsize=256)
def _prepared(answer: RawResponse) -> PreparedResponse:
    """Cache serialized responses of AuthZEN. There are few different ones, without secrets."""
    return prepare(answer)


def _peer(request: web.BaseRequest) -> str | None:
    peer = transport.get_extra_info("peername") if (transport := request.transport) is not None else None
    return peer[0] if isinstance(peer, tuple) else None


_STORE_UNAVAILABLE = Problem(
    Code.STORE_UNAVAILABLE,
    "the store does not answer: a change in this request is unconfirmed; try again shortly",
    {"reason": Code.STORE_UNAVAILABLE.value},
    retry_after=1,
)
_INTERNAL = Problem(Code.INTERNAL_ERROR, "internal error; the sidecar's log has details under the request id")
