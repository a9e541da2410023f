"""Check responder, shared by the fast path and aiohttp: check request to response bytes.

Repeated checks are served from the response cache. The caller chooses the key, which must contain everything that the
response can depend on. Cached and new responses are counted and logged alike.
"""

from collections.abc import Hashable
from time import perf_counter

from sidecar.domain.decision import Decision, Reason
from sidecar.gateways.adapter import GatewayCall
from sidecar.gateways.ext_authz import (
    close,
    conclude,
    explain,
    follows_from_decision,
    judge,
    may_be_remembered,
    told_of,
)
from sidecar.gateways.fast_path.request_head import Page
from sidecar.gateways.fast_path.response_cache import AnswerMemo, Remembered
from sidecar.http.context import Parts
from sidecar.http.server.prepared_response import Prepared, Wire, prepare
from sidecar.pdp.decision_point import Open


class Desk:
    """Responder to checks. One per listener. ``started``: `perf_counter` at arrival. No method raises."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._record = parts.logbook.record
        self._wire = Wire(unavailable=parts.surface.unavailable_status)
        self.memo = AnswerMemo()

    def again(self, key: Hashable) -> Remembered | None:
        """Return the cached response to an identical request, if its basis is current."""
        known = self.memo.get(key)
        return known if known is not None and self._parts.pdp.stands(known.standing) else None

    def elsewhere(self, key: Hashable, page: Page) -> Remembered | None:
        """Return the cached response to a request that differs only in its URI, if its basis is current.

        The URI must map to the same section and action.
        """
        known = self.memo.elsewhere(self._parts, page)
        if known is None or not self._parts.pdp.stands(known.standing):
            return None
        self.memo.note(key, known)
        return known

    def repeat(self, known: Remembered, request_id: bytes, started: float) -> Prepared:
        """Count and log a cached response, and return it."""
        self._record(known.told, request_id, started, perf_counter())
        return known.prepared

    def first(
        self, key: Hashable, call: GatewayCall, request_id: bytes, started: float, page: Page | None = None
    ) -> Prepared | Open:
        """Decide and cache the response under ``key`` and ``page``; None disables caching.

        Return pending checks as they are.
        """
        outcome = judge(self._parts, call)
        if isinstance(outcome, Open):
            return outcome
        prepared = self._prepare(outcome, call, request_id, started)
        if key is not None and (outcome.allowed or may_be_remembered(outcome)):
            self.memo.offer(key, self._parts, call, outcome, prepared, page)
        return prepared

    async def later(self, question: Open, call: GatewayCall, request_id: bytes, started: float) -> Prepared:
        """Decide a check that needs the store, and return its response."""
        return self._prepare(await close(self._parts, question), call, request_id, started)

    def _prepare(self, decision: Decision, call: GatewayCall, request_id: bytes, started: float) -> Prepared:
        """Count and log a decision, and return its response for the gateway."""
        detail = "" if decision.allowed else explain(self._parts, call, decision, request_id)
        repeats = detail and decision.reason is Reason.CROSS_SITE  # the client's origin: too many values
        if not repeats and follows_from_decision(self._parts, call, decision):
            ended = perf_counter()
            self._record(told_of(self._parts, call.family.label, decision), request_id, started, ended)
            return self._wire.kept(decision, detail)
        return prepare(conclude(self._parts, call, decision, request_id, started, detail))
