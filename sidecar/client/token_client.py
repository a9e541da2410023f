"""Auto-refreshing access token: fetched once, renewed before it expires, fetched again after it was revoked.

    async with TokenClient("http://127.0.0.1:9181", Password("robot@acme.example", secret)) as client:
        async with client.request("GET", "https://dashboard.example/dashboard/analytics/") as response:
            ...

Concurrent callers share one request. A valid token is renewed in the background. After a failure, requests pause.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

import aiohttp

from sidecar.client.errors import SignInRejectedError, TokenError, TokenUnavailableError
from sidecar.client.step_up import StepUpCallback, StepUps

TIMEOUT: Final = 10.0
AHEAD: Final = 0.25
"""Remaining share of a token's life at its renewal; at most ``AHEAD_SECONDS``."""

AHEAD_SECONDS: Final = 60.0
MARGIN: Final = 0.1
"""Share of a token's life that is not used, to allow for latency; at most ``MARGIN_SECONDS``."""

MARGIN_SECONDS: Final = 5.0
LEFT_ALONE: Final = 1.0
REFUSED: Final = 10.0
DEAD: Final = frozenset({"revoked", "session_ended", "expired", "unknown_key", "invalid_signature"})
"""Reasons for which a new token may help (``X-Auth-Reason``)."""


@dataclass(frozen=True, slots=True)
class Password:
    """Sign-in as a user, used without a refresh token. ``account``: needed if several accounts have the e-mail.

    ``password``: the password, or a function that returns it, also an async one. The function is called on the event
    loop at each sign-in, so a password that was changed in a file or a vault is used without a restart.
    """

    username: str
    password: str | Callable[[], str | Awaitable[str]] = field(repr=False)
    account: str | None = None


@dataclass(frozen=True, slots=True)
class RefreshSession:
    """Continuation of a session that was opened elsewhere. It ends permanently when the session is revoked."""

    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _CachedToken:
    access_token: str = field(repr=False)
    renew_at: float
    good_until: float


class TokenClient:
    """Token client of the sidecar at ``url``. A given ``session`` is not closed; ``clock`` is monotonic (seconds).

    ``step_up``: proves the user again when a service asks for it.
    """

    def __init__(
        self,
        url: str,
        grant: Password | RefreshSession,
        *,
        session: aiohttp.ClientSession | None = None,
        clock: Callable[[], float] = time.monotonic,
        step_up: StepUpCallback | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._step_ups = StepUps(self._url, step_up)
        self._grant = grant
        self._own = session is None
        self._session = session
        self._clock = clock
        self._refresh_token = grant.refresh_token if isinstance(grant, RefreshSession) else None
        self._cached: _CachedToken | None = None
        self._refresh_task: asyncio.Task[_CachedToken] | None = None
        self._failure: tuple[float, TokenError] | None = None

    @property
    def refresh_token(self) -> str | None:
        """Return the current refresh token, for callers that store it; each use makes a new one."""
        return self._refresh_token

    async def token(self) -> str:
        """Return a valid access token. Raises SignInRejectedError or TokenUnavailableError."""
        cached, now = self._cached, self._clock()
        if cached is None or now >= cached.good_until:
            return (await self._join(now)).access_token
        if now >= cached.renew_at and self._backoff(now) is None:
            self._start_refresh()
        return cached.access_token

    def invalidate(self, token: str) -> None:
        """Discard a rejected ``token``. A newer token is not affected."""
        if self._cached is not None and self._cached.access_token == token:
            self._cached = None

    @asynccontextmanager
    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request with the token. Raises TokenError and aiohttp's errors.

        If the token is rejected, get a new one and repeat the request once. If a service asks for a new proof, let
        ``step_up`` give it and repeat the request once. A request is repeated if its body is bytes, text or ``json=``.
        """
        session, repeatable = self._open(), _can_be_sent_twice(options.get("data"))
        token, seen = await self.token(), self._step_ups.done
        sent = {**(headers or {}), "Authorization": f"Bearer {token}"}
        response = await session.request(method, url, headers=sent, **options)
        if repeatable and is_dead(response):
            response.release()
            self.invalidate(token)
            token = await self.token()
            sent["Authorization"] = f"Bearer {token}"
            response = await session.request(method, url, headers=sent, **options)
        async with response:
            if not repeatable or not await self._step_ups.helps(session, token, response, seen):
                yield response
                return
        async with session.request(method, url, headers=sent, **options) as response:
            yield response

    async def close(self) -> None:
        """Revoke the session that this client opened, if possible. Waits at most two seconds for the sidecar."""
        if self._refresh_task is not None:
            self._refresh_task.cancel()
            with suppress(asyncio.CancelledError, TokenError):
                await self._refresh_task
        if isinstance(self._grant, Password) and self._refresh_token is not None:
            with suppress(aiohttp.ClientError, TimeoutError):
                await self._post("/revoke", {"token": self._refresh_token}, seconds=2)
        self._cached = self._refresh_token = None
        if self._own and self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> "TokenClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # One shared request for all callers -------------------------------------------------------------------------------

    async def _join(self, now: float) -> _CachedToken:
        if self._refresh_task is None or self._refresh_task.done():
            failure = self._backoff(now)
            if failure is not None:
                raise failure.retryable()
        return await asyncio.shield(self._start_refresh())  # a cancelled caller must not cancel it for others

    def _start_refresh(self) -> "asyncio.Task[_CachedToken]":
        if self._refresh_task is None or self._refresh_task.done():
            self._refresh_task = asyncio.create_task(self._fetch())
            self._refresh_task.add_done_callback(_look_at)
        return self._refresh_task

    def _backoff(self, now: float) -> TokenError | None:
        """Return the last failure while its pause lasts, else None."""
        if self._failure is None or now >= self._failure[0]:
            return None
        return self._failure[1]

    async def _fetch(self) -> _CachedToken:
        try:
            cached = await self._granted()
        except TokenError as error:
            pause = error.retry_after if isinstance(error, TokenUnavailableError) else REFUSED
            self._failure = (self._clock() + pause, error)
            raise
        self._failure = None
        self._cached = cached
        return cached

    async def _granted(self) -> _CachedToken:
        if self._refresh_token is not None:
            try:
                return await self._request({"grant_type": "refresh_token", "refresh_token": self._refresh_token})
            except SignInRejectedError:
                if not isinstance(self._grant, Password):
                    raise
                self._refresh_token = None
        if not isinstance(self._grant, Password):
            raise SignInRejectedError("invalid_grant", "the session has ended; sign in again")
        named = {} if self._grant.account is None else {"account": self._grant.account}
        password = await _secret(self._grant.password)
        form = {"grant_type": "password", "username": self._grant.username, "password": password}
        return await self._request({**form, **named})

    async def _request(self, form: Mapping[str, str]) -> _CachedToken:
        requested_at = self._clock()
        try:
            try:
                status, headers, body = await self._post("/token", form, TIMEOUT)
            except (aiohttp.ClientConnectionError, TimeoutError):
                if form["grant_type"] != "refresh_token":
                    raise
                # The response may be lost: within the grace period, the same token gets the same successor.
                status, headers, body = await self._post("/token", form, TIMEOUT)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            what = f"no response from the sidecar's /token: {type(error).__name__}"
            raise TokenUnavailableError(what, LEFT_ALONE) from None
        return self._read(status, headers, body, requested_at)

    async def _post(
        self, path: str, form: Mapping[str, str], seconds: float
    ) -> tuple[int, Mapping[str, str], dict[str, Any]]:
        timeout = aiohttp.ClientTimeout(total=seconds)
        # No redirect: a password must not reach another host.
        async with self._open().post(self._url + path, data=form, allow_redirects=False, timeout=timeout) as response:
            is_json = response.content_type == "application/json"
            body = await response.json() if is_json else {}
            return response.status, response.headers, body if isinstance(body, dict) else {}

    def _read(self, status: int, headers: Mapping[str, str], body: dict[str, Any], requested_at: float) -> _CachedToken:
        if status in {400, 401} and isinstance(body.get("error"), str):
            raise SignInRejectedError(body["error"], str(body.get("error_description", "")))
        access, seconds, refresh = (body.get(name) for name in ("access_token", "expires_in", "refresh_token"))
        if status != 200 or not isinstance(access, str) or not isinstance(seconds, int) or seconds <= 0:
            raise TokenUnavailableError(f"the sidecar's /token returned status {status}", _retry_after(headers))
        if isinstance(refresh, str):
            self._refresh_token = refresh
        ends = requested_at + seconds
        ahead, margin = min(seconds * AHEAD, AHEAD_SECONDS), min(seconds * MARGIN, MARGIN_SECONDS)
        return _CachedToken(access, renew_at=ends - max(ahead, margin), good_until=ends - margin)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return self._session


async def _secret(password: str | Callable[[], str | Awaitable[str]]) -> str:
    """Return the current password. TokenUnavailableError omits the function's message, which may contain a secret."""
    if isinstance(password, str):
        return password
    try:
        result = password()
        text = result if isinstance(result, str) else await result
    except Exception as error:
        raise TokenUnavailableError(f"the password function failed: {type(error).__name__}", LEFT_ALONE) from None
    if not isinstance(text, str):
        raise TokenUnavailableError(f"the password function returned {type(text).__name__} instead of str", LEFT_ALONE)
    return text


def is_dead(response: aiohttp.ClientResponse) -> bool:
    """Return True if a new token may help: by the sidecar's reason, or RFC 6750's ``invalid_token``."""
    if response.status != 401:
        return False
    reason = response.headers.get("X-Auth-Reason")
    if reason is not None:
        return reason in DEAD
    return any('error="invalid_token"' in value for value in response.headers.getall("WWW-Authenticate", ()))


def _can_be_sent_twice(data: object) -> bool:
    return data is None or isinstance(data, bytes | str | Mapping)


def _retry_after(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "")
    return min(float(text), 3600.0) if text.isascii() and text.isdigit() else LEFT_ALONE


def _look_at(flight: "asyncio.Task[_CachedToken]") -> None:
    """Retrieve the exception of a background renewal without waiters. The next caller receives it."""
    if not flight.cancelled():
        flight.exception()
