"""Fast path: llhttp parses a plain ``GET /check…``, which is decided at once. aiohttp serves all other requests.

Plain is a complete, well-formed HTTP/1.1 head without body and without unusual headers. For any other, aiohttp receives
all bytes since the last response unchanged, and keeps the connection (R33). So each request that this module does not
understand has the same result as without the fast path.
A repeated plain head is matched by its bytes, without request id and URI, and is not parsed again.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, Final

import httptools

from sidecar.gateways.adapter import GatewayRequest
from sidecar.gateways.ext_authz import gateway_call, is_check
from sidecar.gateways.fast_path.check_responder import CheckResponder
from sidecar.gateways.fast_path.client_networks import NO_LINE
from sidecar.gateways.fast_path.request_head import (
    HeadReader,
    SimpleRequest,
    UriParts,
    is_cacheable,
    key_without_request_id,
    key_without_uri,
)
from sidecar.gateways.fast_path.response_cache import CachedResponse
from sidecar.http.client_ip import Address, is_trusted_peer
from sidecar.http.context import AppContext
from sidecar.http.request_id import accepted, new_request_id
from sidecar.http.server.prepared_response import PreparedResponse
from sidecar.pdp.decision_point import PendingDecision

START: Final = b"GET /check"
HEAD_END: Final = b"\r\n\r\n"
PIPELINE_BYTES: Final = 16 * 1024
"""Bytes of pipelined requests, while a check waits for the store or the client does not read its responses.

Reading pauses above that. One read delivers the kernel's whole buffer (server/listeners.py).
"""


HeadKey = bytes | tuple[bytes, int]
"""Key of a head: its bytes without request id, or these without addresses, and the network class of the client."""


class FastPathListener:
    """Fast-path connections of one listener, and their shared state."""

    def __init__(self, app: AppContext, slow: Callable[[], asyncio.Protocol], *, max_head: int, idle: float) -> None:
        self.app = app
        self.slow = slow
        self.max_head = max_head
        self.idle = idle
        self.heads = HeadReader()
        self.responder = CheckResponder(app)
        self.open: set[FastPathProtocol] = set()

    def __call__(self) -> "FastPathProtocol":
        return FastPathProtocol(self)

    def drain(self) -> None:
        """Send all further requests to aiohttp, which announces with its next response that the connection closes."""
        self.max_head = 0

    def close(self) -> None:
        """Close idle connections now, and the others after their pending response."""
        for connection in tuple(self.open):
            connection.close()

    async def finish(self, seconds: float) -> None:
        """Wait for pending responses, at most ``seconds``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while waiting := [task for connection in self.open if (task := connection.waiting) and not task.done()]:
                    await asyncio.wait(waiting)


class FastPathProtocol(asyncio.Protocol):
    """One connection on the fast path, until aiohttp takes it over."""

    def __init__(self, listener: FastPathListener) -> None:
        self._listener = listener
        self._responder = listener.responder
        self._buffer = b""
        self.waiting: asyncio.Task[None] | None = None
        self._blocked = False
        self._closing = False
        self._complete = False
        self._numbered = False
        self._parser = httptools.HttpRequestParser(self)

    # asyncio protocol -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        peer = transport.get_extra_info("peername")
        trusted = self._listener.app.public_config.trusted_proxies
        self._proxied = is_trusted_peer(peer[0] if isinstance(peer, tuple) else None, trusted)
        self._cached = self._responder.cached_of_proxy if self._proxied else self._responder.cached
        self._loop = asyncio.get_running_loop()
        self._last_activity = self._loop.time()
        self._timer = self._loop.call_later(self._listener.idle, self._close_if_idle)
        self._listener.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._detach()
        if self.waiting is not None:
            self.waiting.cancel()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if self.waiting is None and not self._blocked:
            self._work(buffer)
            return
        self._buffer = buffer
        if len(buffer) > PIPELINE_BYTES:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._resume()

    # Parser callbacks -------------------------------------------------------------------------------------------------

    def on_message_complete(self) -> None:
        self._complete = True

    # Requests ---------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        self._closing = True
        if self.waiting is None:
            self._transport.close()

    def _work(self, buffer: bytes) -> None:
        """Respond to each complete head in ``buffer``.

        Buffer an incomplete one; hand over to aiohttp at an unsuitable one.
        """
        at, size = 0, len(buffer)  # no slice per head: that would copy the rest of a long pipeline each time
        while at < size:
            end = buffer.find(HEAD_END, at)
            if end < 0:
                if size - at > self._listener.max_head or not _may_be_ours(buffer[at:]):
                    self._switch_to_aiohttp(buffer[at:])
                    return
                break
            end += len(HEAD_END)
            if not self._take(buffer[at:end], perf_counter()):
                self._switch_to_aiohttp(buffer[at:])
                return
            at = end
            if self.waiting is not None or self._blocked:
                break
        self._buffer = buffer = buffer[at:]
        if len(buffer) > PIPELINE_BYTES and (self._blocked or self.waiting is not None):
            self._transport.pause_reading()
        if self._closing and not buffer and self.waiting is None:
            self._transport.close()

    def _take(self, head: bytes, started: float) -> bool:
        """Respond to one head. Return False if aiohttp must serve it."""
        if len(head) > self._listener.max_head:
            return False
        key, page, request_id, known = self._look_up(head)
        if known is not None:
            request_id = new_request_id() if request_id is None else request_id
            self._write(self._responder.replay(known, request_id, started), request_id)
            return True
        plain = self._parse(head)
        if plain is None:
            return False
        network = key[1] if isinstance(key, tuple) else None
        client, lines = (None, 0) if network is None else self._responder.networks.address_in(head)
        alone = network is None or network == NO_LINE or lines == 1
        if alone and is_cacheable(plain, key[0] if isinstance(key, tuple) else key, request_id):
            self._answer(plain, key, page, started, client)
        else:
            self._answer(plain, None, None, started, client)
        return True

    def _look_up(self, head: bytes) -> tuple[HeadKey, UriParts | None, bytes | None, CachedResponse | None]:
        """Return the key of a head (without request id), its template and URI, its request id, and its cached response.

        Most gateways send a request id with each check or with none. After a check without one, the next head is looked
        up before the search for a request id.
        """
        responder, whole = self._responder, not self._numbered
        known = self._cached(head) if whole else None
        if known is not None:
            return head, None, None, known
        text, request_id = key_without_request_id(head)
        self._numbered = request_id is not None
        known = None if whole and request_id is None else self._cached(text)
        if known is not None:
            return text, None, request_id, known
        key: HeadKey = text
        by_network = responder.networks.split(text) if self._proxied else None
        if by_network is not None:
            known = responder.cached_by_network(text, by_network)
            if known is not None:
                return by_network, None, request_id, known
            key, text = by_network, by_network[0]
        page = key_without_uri(text)
        if page is None:
            return key, None, request_id, None
        if by_network is not None:
            page = ((page[0], by_network[1]), page[1])
        return key, page, request_id, responder.find_by_template(key, page)

    def _parse(self, head: bytes) -> SimpleRequest | None:
        """Parse a plain check. Return None if aiohttp must serve it."""
        if not head.startswith(START):
            return None
        self._complete = False
        try:
            self._parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        plain = self._listener.heads.read(head) if self._complete else None
        return plain if plain is not None and is_check(plain.target.partition("?")[0]) else None

    def _answer(
        self,
        head: SimpleRequest,
        key: HeadKey | None,
        page: UriParts | None,
        started: float,
        client: Address | None,
    ) -> None:
        request_id = accepted(head.request_ids[0]) if head.request_ids else new_request_id()
        path, _, query = head.target.partition("?")
        call = gateway_call("GET", path, query, head.headers, client)
        outcome = self._responder.decide(key, call, request_id, started, page)
        if isinstance(outcome, PendingDecision):
            self.waiting = self._loop.create_task(self._answer_later(outcome, call, request_id, started))
        else:
            self._write(outcome, request_id)

    async def _answer_later(
        self, question: PendingDecision, call: GatewayRequest, request_id: bytes, started: float
    ) -> None:
        self._write(await self._responder.decide_async(question, call, request_id, started), request_id)
        self.waiting = None
        self._resume()

    def _write(self, prepared: PreparedResponse, request_id: bytes) -> None:
        self._transport.write(prepared.complete(request_id))
        self._last_activity = self._loop.time()

    def _resume(self) -> None:
        if self.waiting is None and not self._blocked and not self._transport.is_closing():
            self._transport.resume_reading()
            buffer, self._buffer = self._buffer, b""
            self._work(buffer)

    def _switch_to_aiohttp(self, buffer: bytes) -> None:
        """Hand the connection over to aiohttp for good, from the first byte without a response."""
        self._detach()
        self._buffer = b""
        slow = self._listener.slow()
        self._transport.set_protocol(slow)
        slow.connection_made(self._transport)
        slow.data_received(buffer)

    def _detach(self) -> None:
        self._timer.cancel()
        self._listener.open.discard(self)

    def _close_if_idle(self) -> None:
        """Close the connection after ``idle`` seconds without a response, as aiohttp does between two requests.

        That also applies to an incomplete head, and to a client that does not read: its connection is aborted, because
        an orderly close would never complete.
        """
        left = self._last_activity + self._listener.idle - self._loop.time()
        if left <= 0 and self._transport.get_write_buffer_size():
            self._transport.abort()
        elif left <= 0 and self.waiting is None:
            self._transport.close()
        else:
            self._timer = self._loop.call_later(max(left, 1.0), self._close_if_idle)


def _may_be_ours(buffer: bytes) -> bool:
    return buffer.startswith(START) or START.startswith(buffer)
