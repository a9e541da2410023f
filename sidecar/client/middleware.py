"""Authorization middleware for aiohttp: each handler declares its permission, and the sidecar decides.

    app = web.Application()
    guard(app, "http://127.0.0.1:9181")

    @requires("billing", "change-plan")
    async def change_plan(request: web.Request) -> web.Response:
        account = request[IDENTITY].account
        ...

    @public
    async def health(request: web.Request) -> web.Response: ...

The request's own token or cookie is checked by ``/check/sections/…``. The middleware fails closed: no response, a
response of another server and a handler without a declaration are denials. 401 and 403 have the sidecar's reason.
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
"""Headers that the sidecar checks. All copies are forwarded: the sidecar rejects contradicting copies."""

KEPT: Final = ("WWW-Authenticate", "X-Auth-Reason", "X-Auth-Generation", "Retry-After", "X-Request-ID")
UNAVAILABLE: Final = "sidecar_unavailable"
UNGUARDED: Final = "unguarded"
_NEEDS: Final = "__sidecar_needs__"

_log = logging.getLogger("sidecar.client")

H = TypeVar("H", bound=Callable[..., Any])
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Identity:
    """User of a request, as the sidecar reports it at the time of the check.

    ``email`` is empty unless it is verified.
    """

    user: str
    email: str
    role: str
    account: str
    section: str
    action: str


@dataclass(frozen=True, slots=True)
class Denied:
    """Denied request. ``status`` is 401, 403 or 503; ``headers`` and ``body`` are for the client."""

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
    """Require this permission for a handler (or a ``web.View``, or one of its methods).

    Raises ValueError if section or action is empty.
    """
    if not section or not action:
        raise ValueError("name a section and an action")

    def mark(handler: H) -> H:
        setattr(handler, _NEEDS, _Needs(section, action))
        return handler

    return mark


def public(handler: H) -> H:
    """Mark a handler as public: it runs without a check."""
    setattr(handler, _NEEDS, _PUBLIC)
    return handler


class AuthorizationGuard:
    """Client of the sidecar's checks. ``url``: its public or check listener. ``timeout``: seconds per check."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def decide(self, request: web.Request, section: str, action: str = "view") -> Identity | Denied:
        """Check this permission for the user of ``request``. Never raises for errors of the sidecar.

        For handlers that determine the permission while they run. Return a 503 denial if the sidecar is unavailable.
        """
        try:
            return await self._check(request, section, action)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.error("sidecar unavailable: %s", type(error).__name__)
        except ValueError:  # headers that cannot be forwarded unchanged
            return _denied(403, "bad_request")
        return _denied(503, UNAVAILABLE)

    async def _check(self, request: web.Request, section: str, action: str) -> Identity | Denied:
        headers = CIMultiDict((name, value) for name in FORWARDED for value in request.headers.getall(name, ()))
        if _is_own_origin(request):  # the sidecar only knows its public URL and would reject this one
            headers.popall("Origin")
        url = f"{self._url}/check/sections/{quote(section, safe='')}/{quote(action, safe='')}"
        if self._session is None:
            raise aiohttp.ClientConnectionError("the application has not started")
        async with self._session.get(url, headers=headers, timeout=self._timeout, allow_redirects=False) as answer:
            reported = answer.headers
            reason = reported.get("X-Auth-Reason", "")
            if answer.status == 200:
                identity = Identity(*(reported.get(f"X-Auth-{name}", "") for name in _FIELDS))
                # Reject the 200 of another server, which may send it for every request.
                if reason == "allowed" and identity.user and (identity.section, identity.action) == (section, action):
                    return identity
                return _denied(503, UNAVAILABLE)
            if answer.status not in {401, 403, 503} or not reason:
                return _denied(503, UNAVAILABLE)
            kept = tuple((name, reported[name]) for name in KEPT if name in reported)
            return Denied(answer.status, reason, kept, await answer.read())

    async def running(self, _app: web.Application) -> AsyncIterator[None]:
        """Open the HTTP client, for ``app.cleanup_ctx``. It has no cookie jar: requests must not share cookies."""
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as self._session:
            yield
        self._session = None


_FIELDS: Final = ("User", "Email", "Role", "Account", "Section", "Action")

GUARD: Final = web.AppKey("sidecar_guard", AuthorizationGuard)
IDENTITY: Final = web.RequestKey("sidecar_identity", Identity)


def guard(app: web.Application, url: str, *, timeout: float = TIMEOUT) -> AuthorizationGuard:
    """Authorize each request to ``app`` and its sub-applications by the sidecar at ``url``. Return the guard.

    ``timeout``: seconds per check.
    """
    authorization = AuthorizationGuard(url, timeout=timeout)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.match_info.http_exception is not None:  # unknown path or method: no handler
            return await handler(request)
        needs = _needs_of(request)
        if needs is None:
            _log.error("handler denied: it has neither @requires nor @public: %r", request.match_info.handler)
            return _response(_denied(403, UNGUARDED))
        if needs is _PUBLIC:
            return await handler(request)
        answer = await authorization.decide(request, needs.section, needs.action)
        if isinstance(answer, Denied):
            return _response(answer)
        if not _is_from_here(request):
            return _response(_denied(403, "cross_site"))
        request[IDENTITY] = answer
        return await handler(request)

    app[GUARD] = authorization
    app.middlewares.append(middleware)
    app.cleanup_ctx.append(authorization.running)
    return authorization


def _needs_of(request: web.Request) -> _Needs | None:
    handler: Any = request.match_info.handler
    while isinstance(handler, functools.partial):
        handler = handler.func
    own = getattr(handler, request.method.lower(), None) if isinstance(handler, type) else None
    found = getattr(own, _NEEDS, None) or getattr(handler, _NEEDS, None)
    return found if isinstance(found, _Needs) else None


def _is_from_here(request: web.Request) -> bool:
    """Return True if a request only reads, has a token, or comes from the application's own pages (R5).

    The sidecar does not receive the method and accepts a cookie as for a read. A request that changes state by a cookie
    must therefore come from this origin, for every action.
    """
    if request.method in {"GET", "HEAD"} or "Authorization" in request.headers:
        return True
    return request.headers.getall("Sec-Fetch-Site", []) == ["same-origin"] or _is_own_origin(request)


def _is_own_origin(request: web.Request) -> bool:
    """Return True if the only Origin is this application's own.

    Browsers send the host of the page and of the request. If Sec-Fetch-Site is not same-origin although the hosts
    match, the scheme differs. Such a page is rejected, because plain HTTP can be modified on the network.
    """
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
