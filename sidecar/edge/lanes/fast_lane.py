"""The fast lane: a plain ``GET /check…`` is parsed by llhttp and answered at once; everything else goes to aiohttp.

It owns no HTTP of its own. A head that is not a complete, well-formed, bodiless HTTP/1.1 one with nothing unusual in it
is handed over with every byte that came since the last answer, as it came, and the connection stays with aiohttp (R33).
So whatever this lane does not understand is answered as if it were not there. One decision function serves both lanes.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

import httptools

from sidecar.edge.checks import (
    close,
    conclude,
    follows_from_decision,
    gateway_call,
    is_check,
    judge,
    record_check,
)
from sidecar.edge.lanes.answer_memo import AnswerMemo, key_of
from sidecar.edge.lanes.head_reader import HeadReader, PlainHead
from sidecar.edge.lanes.wire import Prepared, Wire, prepare
from sidecar.edge.original import GatewayCall
from sidecar.edge.parts import Parts
from sidecar.edge.request_id import accepted, new_request_id
from sidecar.pdp.check import Open
from sidecar.vocabulary.decision import Decision

START: Final = b"GET /check"
HEAD_END: Final = b"\r\n\r\n"
PIPELINE_BYTES: Final = 256 * 1024
"""What may wait behind a check that asks the store before we stop reading from the client."""


class Lanes:
    """The connections of one listener that are in the fast lane, and what they share."""

    def __init__(self, parts: Parts, slow: Callable[[], asyncio.Protocol], *, max_head: int, idle: float) -> None:
        self.parts = parts
        self.slow = slow
        self.max_head = max_head
        self.idle = idle
        self.wire = Wire(unavailable=parts.surface.unavailable_status)
        self.heads = HeadReader()
        self.memo = AnswerMemo()
        self.open: set[FastLane] = set()

    def __call__(self) -> "FastLane":
        return FastLane(self)

    def close(self) -> None:
        """At shutdown: idle connections close now, the others after the answer that they wait for."""
        for lane in tuple(self.open):
            lane.close()


class FastLane(asyncio.Protocol):
    """One connection, until something on it is not plain."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._buffer = b""
        self._waiting: asyncio.Task[None] | None = None
        self._blocked = False
        self._closing = False
        self._complete = False
        self._parser = httptools.HttpRequestParser(self)

    # As asyncio's protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(self._lanes.idle, self._close_if_idle)
        self._lanes.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._leave()
        if self._waiting is not None:
            self._waiting.cancel()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if self._waiting is None and not self._blocked:
            self._work(buffer)
            return
        self._buffer = buffer
        if len(buffer) > PIPELINE_BYTES:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._go_on()

    # As the parser's listener ----------------------------------------------------------------------------------------

    def on_message_complete(self) -> None:
        self._complete = True

    # The lane --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        self._closing = True
        if self._waiting is None:
            self._transport.close()

    def _work(self, buffer: bytes) -> None:
        """Answer every complete head in ``buffer``, keep an incomplete one, hand over what is not for us."""
        while buffer:
            end = buffer.find(HEAD_END)
            if end < 0:
                if len(buffer) > self._lanes.max_head or not _may_be_ours(buffer):
                    self._hand_over(buffer)
                    return
                break
            end += len(HEAD_END)
            head = self._parse(buffer[:end])
            if head is None:
                self._hand_over(buffer)
                return
            buffer = buffer[end:]
            if not self._answer(head):
                break
        self._buffer = buffer
        if self._closing and not buffer and self._waiting is None:
            self._transport.close()

    def _parse(self, head: bytes) -> PlainHead | None:
        """A plain check; None: aiohttp should have it."""
        if not head.startswith(START) or len(head) > self._lanes.max_head:
            return None
        self._complete = False
        try:
            self._parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        plain = self._lanes.heads.read(head) if self._complete else None
        return plain if plain is not None and is_check(plain.target.partition("?")[0]) else None

    def _answer(self, head: PlainHead) -> bool:
        """Answer one call. False when the next head has to wait."""
        started = perf_counter()
        lanes = self._lanes
        request_id = accepted(head.request_ids[0]) if head.request_ids else new_request_id()
        key = key_of(head)
        known = lanes.memo.get(key)
        if known is not None and lanes.parts.pdp.stands(known.standing):
            record_check(lanes.parts, known.label, known.standing.decision, request_id, perf_counter() - started)
            self._write(known.prepared, request_id)
            return not self._blocked
        path, _, query = head.target.partition("?")
        call = gateway_call("GET", path, query, head.headers)
        outcome = judge(lanes.parts, call)
        if isinstance(outcome, Open):
            self._waiting = self._loop.create_task(self._answer_later(outcome, call, request_id, started))
            return False
        prepared = self._prepare(outcome, call, request_id, started)
        lanes.memo.offer(key, lanes.parts, call, outcome, prepared)
        self._write(prepared, request_id)
        return not self._blocked

    async def _answer_later(self, question: Open, call: GatewayCall, request_id: str, started: float) -> None:
        decision = await close(self._lanes.parts, question)
        self._write(self._prepare(decision, call, request_id, started), request_id)
        self._waiting = None
        self._transport.resume_reading()
        self._go_on()

    def _prepare(self, decision: Decision, call: GatewayCall, request_id: str, started: float) -> Prepared:
        """Counted, logged, and in the gateway's words."""
        parts = self._lanes.parts
        seconds = perf_counter() - started
        if follows_from_decision(parts, call, decision):
            record_check(parts, call.family.label, decision, request_id, seconds)
            return self._lanes.wire.kept(decision)
        return prepare(conclude(parts, call, decision, request_id, seconds))

    def _write(self, prepared: Prepared, request_id: str) -> None:
        self._transport.write(prepared.complete(request_id.encode("ascii")))
        self._heard = self._loop.time()

    def _go_on(self) -> None:
        if self._waiting is None and not self._blocked:
            buffer, self._buffer = self._buffer, b""
            self._work(buffer)

    def _hand_over(self, buffer: bytes) -> None:
        """aiohttp takes the connection for good, from the first byte that we have not answered."""
        self._leave()
        self._buffer = b""
        slow = self._lanes.slow()
        self._transport.set_protocol(slow)
        slow.connection_made(self._transport)
        slow.data_received(buffer)

    def _leave(self) -> None:
        self._timer.cancel()
        self._lanes.open.discard(self)

    def _close_if_idle(self) -> None:
        """As long as aiohttp waits between two requests, and as long for a head that never ends."""
        left = self._heard + self._lanes.idle - self._loop.time()
        if left <= 0 and self._waiting is None:
            self._transport.close()
        else:
            self._timer = self._loop.call_later(max(left, 1.0), self._close_if_idle)


def _may_be_ours(buffer: bytes) -> bool:
    return buffer.startswith(START) or START.startswith(buffer)
