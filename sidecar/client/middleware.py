"""A door in front of an aiohttp application: each handler says what it needs, the sidecar says who may.

    app = web.Application()
    guard(app, "http://127.0.0.1:9181")

    @requires("billing", "change-plan")
    async def change_plan(request: web.Request) -> web.Response:
        account = request[IDENTITY].account
        ...

    @public
    async def health(request: web.Request) -> web.Response: ...

The request's own token or cookie is judged, by ``/check/sections/…``. Fails closed: no answer, an answer that is not
the sidecar's, a handler that says nothing: all of them are denials. 401 and 403 keep the sidecar's reason.
"""

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

TIMEOUT: Final = 3.0
FORWARDED: Final = (
    *("Authorization", "Cookie", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"),
    *("Sec-WebSocket-Key", "Sec-WebSocket-Version"),
    *("X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "X-Request-ID"),
)
"""What the sidecar judges by, every copy of it: two that contradict each other are its to refuse."""

KEPT: Final = ("WWW-Authenticate", "X-Auth-Reason", "X-Auth-Generation", "Retry-After", "X-Request-ID")
UNAVAILABLE: Final = "sidecar_unavailable"
UNGUARDED: Final = "unguarded"
_NEEDS: Final = "__sidecar_needs__"

_log = logging.getLogger("sidecar.client")

H = TypeVar("H", bound=Callable[..., Any])
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking, as the sidecar knows it at this moment. ``email`` is empty unless its owner proved it."""

    user: str
    email: str
    role: str
    account: str
    section: str
    action: str


@dataclass(frozen=True, slots=True)
class Denied:
    """No. ``status`` is 401, 403 or 503; ``headers`` and ``body`` are for the client."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class _Needs:
    section: str
    action: str


_PUBLIC: Final = _Needs("", "")


def requires(section: str, action: str = "view") -> Callable[[H], H]:
    """The handler (or a ``web.View``, or one of its methods) runs for whoever may do this."""
    if not section or not action:
        raise ValueError("name a section and an action")

    def mark(handler: H) -> H:
        setattr(handler, _NEEDS, _Needs(section, action))
        return handler

    return mark


def public(handler: H) -> H:
    """The handler runs for everybody, and nobody is asked who it is."""
    setattr(handler, _NEEDS, _PUBLIC)
    return handler


class Guard:
    """Asks the sidecar at ``url`` (its public or its check listener)."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def decide(self, request: web.Request, section: str, action: str = "view") -> Identity | Denied:
        """May whoever sent ``request`` do this? For handlers that find out on the way what they need."""
        try:
            return await self._ask(request, section, action)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.error("the sidecar does not answer: %s", type(error).__name__)
        except ValueError:  # headers that no client can repeat as they came
            return _denied(403, "bad_request")
        return _denied(503, UNAVAILABLE)

    async def _ask(self, request: web.Request, section: str, action: str) -> Identity | Denied:
        headers = CIMultiDict((name, value) for name in FORWARDED for value in request.headers.getall(name, ()))
        if _is_own_origin(request):  # the sidecar knows its public URL alone: judged here, a foreign one there
            headers.popall("Origin")
        url = f"{self._url}/check/sections/{quote(section, safe='')}/{quote(action, safe='')}"
        if self._session is None:
            raise aiohttp.ClientConnectionError("the application has not started")
        async with self._session.get(url, headers=headers, timeout=self._timeout, allow_redirects=False) as answer:
            told = answer.headers
            reason = told.get("X-Auth-Reason", "")
            if answer.status == 200:
                who = Identity(*(told.get(f"X-Auth-{name}", "") for name in _FIELDS))
                # Whatever else answers 200 to everything is no sidecar, and its yes is none.
                if reason == "allowed" and who.user and (who.section, who.action) == (section, action):
                    return who
                return _denied(503, UNAVAILABLE)
            if answer.status not in {401, 403, 503} or not reason:
                return _denied(503, UNAVAILABLE)
            kept = tuple((name, told[name]) for name in KEPT if name in told)
            return Denied(answer.status, reason, kept, await answer.read())

    async def running(self, _app: web.Application) -> AsyncIterator[None]:
        """For ``app.cleanup_ctx``: a client without a cookie jar, so that no request speaks for another."""
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as self._session:
            yield
        self._session = None


_FIELDS: Final = ("User", "Email", "Role", "Account", "Section", "Action")

GUARD: Final = web.AppKey("sidecar_guard", Guard)
IDENTITY: Final = web.RequestKey("sidecar_identity", Identity)


def guard(app: web.Application, url: str, *, timeout: float = TIMEOUT) -> Guard:
    """Put the sidecar at ``url`` before every handler of ``app`` and of its sub-applications."""
    asked = Guard(url, timeout=timeout)

    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.match_info.http_exception is not None:  # no such path or method: there is nothing to guard
            return await handler(request)
        needs = _needs_of(request)
        if needs is None:
            _log.error("a handler says neither what it requires nor that it is public: %r", request.match_info.handler)
            return _response(_denied(403, UNGUARDED))
        if needs is _PUBLIC:
            return await handler(request)
        answer = await asked.decide(request, needs.section, needs.action)
        if isinstance(answer, Denied):
            return _response(answer)
        if not _is_from_here(request):
            return _response(_denied(403, "cross_site"))
        request[IDENTITY] = answer
        return await handler(request)

    app[GUARD] = asked
    app.middlewares.append(door)
    app.cleanup_ctx.append(asked.running)
    return asked


def _needs_of(request: web.Request) -> _Needs | None:
    handler: Any = request.match_info.handler
    while isinstance(handler, functools.partial):
        handler = handler.func
    own = getattr(handler, request.method.lower(), None) if isinstance(handler, type) else None
    found = getattr(own, _NEEDS, None) or getattr(handler, _NEEDS, None)
    return found if isinstance(found, _Needs) else None


def _is_from_here(request: web.Request) -> bool:
    """The sidecar is told no method, so a cookie may read there. What changes something has to come from our own pages
    (R5), whatever action the handler named."""
    if request.method in {"GET", "HEAD"} or "Authorization" in request.headers:
        return True
    return request.headers.getall("Sec-Fetch-Site", []) == ["same-origin"] or _is_own_origin(request)


def _is_own_origin(request: web.Request) -> bool:
    """The one Origin is this application's own: a browser sends the host of the page and of the request. Where it says
    that the page is foreign all the same, the scheme differs: anybody in between can write a page of plain HTTP."""
    origins, sites = request.headers.getall("Origin", []), request.headers.getall("Sec-Fetch-Site", [])
    own = len(origins) == 1 and origins[0].partition("://")[2] == request.host
    return own and sites in ([], ["same-origin"])


def _denied(status: int, reason: str) -> Denied:
    retry = (("Retry-After", "1"),) if status == 503 else ()
    body = f'{{"decision":false,"reason":"{reason}"}}'.encode()
    return Denied(status, reason, (("X-Auth-Reason", reason), *retry), body)


def _response(denied: Denied) -> web.Response:
    response = web.Response(status=denied.status, body=denied.body, content_type="application/json")
    response.headers.update(denied.headers)
    response.headers["Cache-Control"] = "no-store"
    return response
