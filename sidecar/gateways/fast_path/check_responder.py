"""Check responder, shared by the fast path and aiohttp: check request to response bytes.

Repeated checks are served from the response cache. The caller chooses the key, which must contain everything that the
response can depend on. Cached and new responses are counted and logged alike.
"""

from collections.abc import Hashable
from time import perf_counter

from sidecar.domain.access import Question
from sidecar.domain.decision import Decision, Reason
from sidecar.gateways.adapter import GatewayRequest
from sidecar.gateways.ext_authz import (
    decide_question,
    decide_with_store,
    explain,
    follows_from_decision,
    is_repeatable,
    log_entry_for,
    question_of,
    respond,
)
from sidecar.gateways.fast_path.client_networks import ClientNetworks
from sidecar.gateways.fast_path.request_head import UriParts
from sidecar.gateways.fast_path.response_cache import CachedResponse, ResponseCache
from sidecar.http.context import AppContext
from sidecar.http.denial_causes import Cause
from sidecar.http.denial_log import DENIAL_LOG
from sidecar.http.server.prepared_response import PreparedResponse, ResponseEncoder, prepare
from sidecar.pdp.decision_point import PendingDecision


class CheckResponder:
    """Responder to checks. One per listener. ``started``: `perf_counter` at arrival. No method raises."""

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self._record = self._replayed = app.recorder.record
        self._wire = ResponseEncoder(unavailable=app.public_config.unavailable_status)
        self.cache = ResponseCache()
        self.networks = ClientNetworks(app)

    def cached(self, key: Hashable) -> CachedResponse | None:
        """Return the cached response to an identical request, if its basis is current."""
        known = self.cache.get(key)
        return known if known is not None and self._app.pdp.is_current(known.basis) else None

    def cached_of_proxy(self, head: bytes) -> CachedResponse | None:
        """Return the same for a head of a trusted proxy, whose line of addresses can decide (R40)."""
        if not self.networks.matter():
            return self.cached(head)
        known = self.cache.aliases.get(head)
        return known if known is not None and self._app.pdp.is_current(known.basis) else None

    def cached_by_network(self, head: bytes, key: tuple[bytes, int]) -> CachedResponse | None:
        """Return the cached response to an identical request of a client of the same network class."""
        known = self.cached(key)
        if known is not None:
            self.cache.alias(head, known)
        return known

    def find_by_template(self, key: Hashable, page: UriParts) -> CachedResponse | None:
        """Return the cached response to a request that differs only in its URI, if its basis is current.

        The URI must map to the same section and action.
        """
        known = self.cache.find_by_template(self._app, page)
        if known is None or not self._app.pdp.is_current(known.basis):
            return None
        self.cache.promote(key, known)
        return known

    def replay(self, known: CachedResponse, request_id: bytes, started: float) -> PreparedResponse:
        """Count and log a cached response, and return it."""
        if known.cause is not None:
            DENIAL_LOG.cause(known.cause, known.endpoint)
        self._replayed(known.log_entry, request_id, started, perf_counter())
        return known.prepared

    def decide(
        self, key: Hashable, call: GatewayRequest, request_id: bytes, started: float, page: UriParts | None = None
    ) -> PreparedResponse | PendingDecision:
        """Decide and cache the response under ``key`` and ``page``; None disables caching.

        Return pending checks as they are.
        """
        question = question_of(self._app, call)
        outcome = decide_question(self._app, call, question)
        if isinstance(outcome, PendingDecision):
            return outcome
        cause = explain(self._app, call, outcome, request_id)
        prepared = self._prepare(outcome, call, request_id, started, cause)
        if key is not None and isinstance(question, Question) and is_repeatable(outcome):
            self.cache.store(key, self._app, call, question, outcome, prepared, page, cause=cause)
        return prepared

    async def decide_async(
        self, question: PendingDecision, call: GatewayRequest, request_id: bytes, started: float
    ) -> PreparedResponse:
        """Decide a check that needs the store, and return its response."""
        decision = await decide_with_store(self._app, question)
        return self._prepare(decision, call, request_id, started, explain(self._app, call, decision, request_id))

    def _prepare(
        self, decision: Decision, call: GatewayRequest, request_id: bytes, started: float, cause: Cause | None
    ) -> PreparedResponse:
        """Count and log a decision, and return its response for the gateway."""
        detail = cause.detail if cause else ""
        repeats = detail and decision.reason is Reason.CROSS_SITE  # the client's origin: too many values
        if not repeats and follows_from_decision(self._app, call, decision):
            ended = perf_counter()
            self._record(log_entry_for(self._app, call.family.label, decision), request_id, started, ended)
            return self._wire.kept(decision, detail)
        return prepare(respond(self._app, call, decision, request_id, started, detail))
