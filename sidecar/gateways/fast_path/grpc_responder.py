"""Responder to Envoy's gRPC checks: message bytes in, message bytes out. Loaded only with gRPC's libraries.

No two messages of Envoy are equal: each has its own time, stream id, port and request id. So each is parsed, at less
than a tenth of a call's cost. The values that the response depends on are the key of the cached response. As on the
other request paths, an entry is valid only while each input of its decision is the identical object.
"""

from collections.abc import Awaitable, Hashable
from functools import partial
from time import perf_counter
from typing import Final

import msgspec

from sidecar.domain.access import Question
from sidecar.domain.caching import SeenBefore, SizedFifoCache
from sidecar.domain.decision import Decision
from sidecar.gateways.adapter import GatewayRequest
from sidecar.gateways.envoy_grpc import FAMILY, call_of, parsed, response_of
from sidecar.gateways.ext_authz import (
    HEADERS_READ,
    client_of,
    cuts_networks,
    decide_question,
    decide_with_store,
    explain,
    is_repeatable,
    log_entry_for,
    network_of,
    question_of,
    respond,
)
from sidecar.gateways.fast_path.client_networks import FORWARDED_FOR
from sidecar.gateways.fast_path.request_head import MAX_AGAIN
from sidecar.gateways.fast_path.response_cache import OVERHEAD, is_short, size_of
from sidecar.http.context import AppContext
from sidecar.http.denial_causes import Cause
from sidecar.http.denial_log import DENIAL_LOG
from sidecar.http.request_id import request_id_of
from sidecar.http.response import RawResponse
from sidecar.pdp.decision_basis import DecisionBasis
from sidecar.pdp.decision_point import PendingDecision
from sidecar.telemetry.check_recorder import LogEntryTemplate

REQUEST_ID: Final = b"x-request-id"
WANTED: Final = frozenset(name.decode() for name in HEADERS_READ | {FORWARDED_FOR, REQUEST_ID})

MAX_MESSAGES: Final = 16_384
MAX_BYTES: Final = 20 * 1024 * 1024
"""Bytes of keys and messages together (R29). An entry has 1 to 2 kB, mostly the token and the browser's headers."""

MAX_SERIALIZED_BYTES: Final = 4 * 1024 * 1024
"""Bytes of serialized responses of new requests. Serializing one with protobuf costs 40 µs."""


class CachedMessage(msgspec.Struct, frozen=True, gc=False):
    """Cached response: its bytes, the basis of its decision, and its log entry. ``cause``: as in `CachedResponse`."""

    basis: DecisionBasis
    message: bytes
    log_entry: LogEntryTemplate
    cause: Cause | None


class GrpcResponder:
    """Responder to checks over gRPC. One per listener. ``max_head``: SIDECAR_MAX_HEAD."""

    wanted: frozenset[str] = WANTED
    """Headers that are read, in lower case."""

    def __init__(self, app: AppContext, *, max_head: int) -> None:
        self._app = app
        self._max_head = max_head
        self._client_of = partial(client_of, app)
        self._record = app.recorder.record
        self.messages: SizedFifoCache[Hashable, CachedMessage] = SizedFifoCache(MAX_BYTES, MAX_MESSAGES)
        self.serialized: SizedFifoCache[RawResponse, bytes] = SizedFifoCache(MAX_SERIALIZED_BYTES)
        self.seen_before = SeenBefore(MAX_MESSAGES)

    def respond(self, raw: bytes) -> Awaitable[bytes]:
        """Return the serialized CheckResponse to a serialized CheckRequest."""
        started = perf_counter()
        return self._answer(self._read(raw), started)

    async def _answer(self, sent: GatewayRequest, started: float) -> bytes:
        app = self._app
        call, request_id = _without_others(sent), request_id_of(sent.headers)
        key: Hashable = (call.method, call.path, call.query, call.headers, network_of(app, call.client))
        known = self.messages.get(key)
        if known is not None and app.pdp.is_current(known.basis):
            return self._replay(known, request_id, started)
        question = question_of(app, call)
        outcome = decide_question(app, call, question)
        if isinstance(outcome, PendingDecision):
            decision = await decide_with_store(app, outcome)
            return self._serialize(respond(app, call, decision, request_id, started))
        cause = explain(app, call, outcome, request_id)
        answer = respond(app, call, outcome, request_id, started, cause.detail if cause else "")
        message = self._serialize(answer)
        if isinstance(question, Question) and is_repeatable(outcome) and is_short(call):
            self._store(key, question, outcome, message, cause)
        return message

    def _read(self, raw: bytes) -> GatewayRequest:
        """Parse a message. Return the check with the headers ``wanted``."""
        address = self._client_of if cuts_networks(self._app) else None
        return call_of(parsed(raw, self._max_head), address, self.wanted)

    def _replay(self, known: CachedMessage, request_id: bytes, started: float) -> bytes:
        """Count and log a cached response, and return it."""
        if known.cause is not None:
            DENIAL_LOG.cause(known.cause, FAMILY.label)
        self._record(known.log_entry, request_id, started, perf_counter())
        return known.message

    def _serialize(self, answer: RawResponse) -> bytes:
        """Return the response as Envoy's message. It is cached, because most new requests have few responses."""
        message = self.serialized.get(answer)
        if message is None:
            message = response_of(answer).SerializeToString()
            if len(message) <= MAX_AGAIN:
                self.serialized.set(answer, message, 3 * len(message) + OVERHEAD)
        return message

    def _store(
        self, key: Hashable, question: Question, decision: Decision, message: bytes, cause: Cause | None
    ) -> None:
        """Cache a response about a user at the second occurrence of its key."""
        if decision.user is None or not self.seen_before(key):
            return
        basis = self._app.pdp.basis_of(question, decision)
        if basis is not None:
            entry = log_entry_for(self._app, FAMILY.label, decision)
            size = size_of(key) + len(message) + len(entry.line) + OVERHEAD
            self.messages.set(key, CachedMessage(basis, message, entry, cause), size)


def _without_others(sent: GatewayRequest) -> GatewayRequest:
    """Return a check with only the headers that its response depends on."""
    lines = tuple([(low, value) for name, value in sent.headers if (low := name.lower()) in HEADERS_READ])
    return GatewayRequest(FAMILY, sent.method, sent.path, sent.query, lines, sent.client)
