"""Key cache of external issuers. It is refreshed periodically; requests can trigger few extra fetches (R10).

A set is read every five minutes, and once more for an unknown ``kid``: at most every 30 seconds, and not again for a
``kid`` that was looked up in the last five minutes. After 24 hours without a successful reading, no key of the issuer
is used. Fetching is limited in time and size, follows no redirect, and sends no cookie and no credential to the issuer.
It uses the proxy of HTTPS_PROXY, unless NO_PROXY names the host.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from sidecar.domain.caching import FifoCache
from sidecar.sources.forward_proxy import InvalidProxyError, proxy_for
from sidecar.sources.owner_writable_files import OwnerWritableFileError, read_guarded
from sidecar.telemetry.app_log import logger
from sidecar.telemetry.tracing import NO_SPAN, NoSpan, Span, SpanKind, child
from sidecar.tokens.jwk_set import InvalidKeySetError, IssuerKey, IssuerKeySet, WantedKey, read_key_set

REFRESH: Final = 300.0
COOLDOWN: Final = 30.0
UNKNOWN_FOR: Final = 300.0
STALE: Final = 24 * 3600.0
PATIENCE: Final = 1.0
"""Seconds that a lookup waits for a reading in progress."""

MAX_BYTES: Final = 256 * 1024
MAX_UNKNOWN: Final = 1000
FETCH_SECONDS: Final = 3.0

_log = logger("issuers")


class UnreadableKeySetError(Exception):
    """Raised if the document cannot be fetched. The message is one phrase, without its content."""


Read = Callable[[], Awaitable[bytes]]


class IssuerKeys:
    """Cached keys of one issuer. ``clock`` is monotonic; ``version`` changes with the document (R29)."""

    def __init__(self, issuer: str, read: Read, algorithms: frozenset[str], *, clock: Callable[[], float]) -> None:
        self.version = ""
        self._issuer = issuer
        self._read = read
        self._algorithms = algorithms
        self._clock = clock
        self._keys = IssuerKeySet()
        self._good_at = float("-inf")
        self._tried_at = float("-inf")
        self._unknown: FifoCache[str, float] = FifoCache(MAX_UNKNOWN)
        self._reading: asyncio.Task[None] | None = None
        self._failing = ""

    def usable(self) -> bool:
        """Return True if a reading succeeded in the last 24 hours."""
        return self._clock() - self._good_at < STALE

    def peek(self, wanted: WantedKey) -> IssuerKey | None:
        """Return the key if it is cached, else None."""
        return self._keys.find(wanted) if self.usable() else None

    async def find(self, wanted: WantedKey) -> IssuerKey | None:
        """Return the key, after another reading if needed. Waits at most one second. Never raises for issuer errors."""
        key = self.peek(wanted)
        if key is None and self._may_look_for(wanted.name):
            await asyncio.wait([self._begin()], timeout=PATIENCE)
            key = self.peek(wanted)
            if key is None:
                self._remember_unknown(wanted.name)
        return key

    async def find_newer(self, wanted: WantedKey) -> IssuerKey | None:
        """Return the key of a newer set, or None.

        For a key that was chosen without a ``kid`` and does not verify the token. The limits of ``find`` for an unknown
        key apply.
        """
        before = self.version
        if self._may_look_for(wanted.name):
            await asyncio.wait([self._begin()], timeout=PATIENCE)
            if self.version == before:
                self._remember_unknown(wanted.name)
        return self.peek(wanted) if self.version != before else None

    @property
    def problem(self) -> str:
        """Return why this issuer's tokens cannot be verified, now or soon. Empty if they can."""
        return self._failing or ("" if self._keys.keys or not self.version else self._without_keys())

    @property
    def left_out(self) -> tuple[str, ...]:
        """Return one phrase per key of the last good reading that looks usable but is invalid."""
        return self._keys.left_out

    @property
    def kids(self) -> list[str]:
        """Return the kids of the usable keys, and an empty string for each key without a kid."""
        return sorted(key.kid for key in self._keys.keys)

    async def read_now(self) -> None:
        """Read once and wait for the result without a limit, for commands that run once."""
        await asyncio.wait([self._begin()])

    async def watch(self) -> None:
        """Read now and every few minutes, sooner after a failure. Runs until cancelled."""
        try:
            while True:
                await asyncio.wait([self._begin()])
                await asyncio.sleep(COOLDOWN if self._failing else REFRESH)
        finally:
            if self._reading is not None:
                self._reading.cancel()

    def _without_keys(self) -> str:
        named = ", ".join(sorted(self._algorithms))
        why = f": {'; '.join(self._keys.left_out)}" if self._keys.left_out else ""
        return f"none of its {self._keys.listed} keys can be used with {named}{why}"

    def _may_look_for(self, kid: str) -> bool:
        if self._reading is not None:
            return True
        now = self._clock()
        return now - self._tried_at >= COOLDOWN and now >= self._unknown.get(kid, now)

    def _remember_unknown(self, kid: str) -> None:
        self._unknown.set(kid, self._clock() + UNKNOWN_FOR)

    def _begin(self) -> "asyncio.Task[None]":
        """Start a reading or join the one in progress. It continues when its waiters are cancelled."""
        if self._reading is None:
            self._tried_at = self._clock()
            self._reading = asyncio.create_task(self._take())
            self._reading.add_done_callback(self._ended)
        return self._reading

    def _ended(self, reading: "asyncio.Task[None]") -> None:
        self._reading = None
        if not reading.cancelled() and (error := reading.exception()) is not None:
            _log.error("issuer key refresh failed", issuer=self._issuer, exc_info=error)

    async def _take(self) -> None:
        try:
            raw = await self._read()
            keys = read_key_set(raw, self._algorithms)
        except (UnreadableKeySetError, InvalidKeySetError) as problem:
            if str(problem) != self._failing:
                _log.error("issuer keys unreadable", issuer=self._issuer, problem=str(problem))
            self._failing = str(problem)
            return
        version = hashlib.sha256(raw).hexdigest()[:32]
        is_news = version != self.version or bool(self._failing)
        if version != self.version:
            self._unknown.clear()
        self.version, self._keys, self._good_at, self._failing = version, keys, self._clock(), ""
        if is_news:
            self._report()

    def _report(self) -> None:
        if not self._keys.keys:
            _log.error("no usable issuer key", issuer=self._issuer, problem=self.problem)
            return
        _log.info("issuer keys loaded", issuer=self._issuer, kids=self.kids)
        for left_out in self.left_out:
            _log.warning("issuer key unusable", issuer=self._issuer, problem=left_out)


# Reading --------------------------------------------------------------------------------------------------------------


def client() -> aiohttp.ClientSession:
    """Return an HTTP session for ``from_url``. The caller closes it."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=FETCH_SECONDS),
        connector=aiohttp.TCPConnector(limit=8, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    )


def from_url(session: aiohttp.ClientSession, url: str) -> Read:
    """Return a function that reads the document at ``url``, which trusted_issuers.py has validated."""

    async def read() -> bytes:
        way = url
        try:
            proxy = proxy_for(url)
            way = f"{url} through the proxy {proxy.url}" if proxy else url
            through, headers = (proxy.url, proxy.headers) if proxy else (None, None)
            with http_span(url) as span:
                async with session.get(
                    url, allow_redirects=False, proxy=through, proxy_headers=headers, headers=span.headers()
                ) as response:
                    span.set("http.response.status_code", response.status)
                    _check(response, way)
                    return await _bounded(response)
        except InvalidProxyError as problem:
            raise UnreadableKeySetError(f"{way}: {problem}") from None
        except TimeoutError:
            raise UnreadableKeySetError(f"{way}: no response within {FETCH_SECONDS:g} s") from None
        except aiohttp.ClientHttpProxyError as error:
            raise UnreadableKeySetError(f"{way}: the proxy returned status {error.status}") from None
        except (aiohttp.ClientError, ValueError) as error:  # its text may contain the proxy's password
            raise UnreadableKeySetError(f"{way}: connection failed: {type(error).__name__}") from None

    return read


def http_span(url: str) -> Span | NoSpan:
    """Return a span for a GET of ``url``, without its path. Its `headers` continue the trace."""
    span = child("GET", SpanKind.CLIENT)
    if span is not NO_SPAN:
        parts = urlsplit(url)
        span.set("http.request.method", "GET")
        span.set("server.address", parts.hostname or "")
        span.set("server.port", parts.port or (443 if parts.scheme == "https" else 80))
    return span


def _check(response: aiohttp.ClientResponse, way: str) -> None:
    if response.status != 200:
        raise UnreadableKeySetError(f"{way}: status {response.status} instead of 200")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnreadableKeySetError(f"{way}: the response is compressed although compression was declined")


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MAX_BYTES:
            raise UnreadableKeySetError(f"the document is larger than {MAX_BYTES} bytes")
    return bytes(content)


def from_file(path: Path) -> Read:
    """Return a function that reads the document from a file, anew each time."""

    async def read() -> bytes:
        try:
            return await asyncio.to_thread(read_guarded, path, limit=MAX_BYTES)
        except OwnerWritableFileError as problem:
            raise UnreadableKeySetError(str(problem)) from None

    return read
