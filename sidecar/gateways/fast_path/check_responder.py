"""From a gateway's call to the bytes of its answer: what both lanes share. One decision function serves both.

A call that comes again is answered from the memo, under a key that its lane chooses: everything that an answer can
depend on. What follows from a decision alone is prepared once. All of it is counted and logged alike.
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
    """One a listener. ``started`` is `perf_counter` at the call's arrival. Nothing here raises."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._record = parts.logbook.record
        self._wire = Wire(unavailable=parts.surface.unavailable_status)
        self.memo = AnswerMemo()

    def again(self, key: Hashable) -> Remembered | None:
        """The answer to a call that has come before, if everything that it followed from still stands."""
        known = self.memo.get(key)
        return known if known is not None and self._parts.pdp.stands(known.standing) else None

    def elsewhere(self, key: Hashable, page: Page) -> Remembered | None:
        """The answer to a call that has come before for another page, if that still stands and is this page's as
        well."""
        known = self.memo.elsewhere(self._parts, page)
        if known is None or not self._parts.pdp.stands(known.standing):
            return None
        self.memo.note(key, known)
        return known

    def repeat(self, known: Remembered, request_id: bytes, started: float) -> Prepared:
        """What was found above, counted and logged."""
        self._record(known.told, request_id, started, perf_counter())
        return known.prepared

    def first(
        self, key: Hashable, call: GatewayCall, request_id: bytes, started: float, page: Page | None = None
    ) -> Prepared | Open:
        """The answer decided anew, and remembered under ``key`` and ``page`` (None: not); or what the store has to be
        asked."""
        outcome = judge(self._parts, call)
        if isinstance(outcome, Open):
            return outcome
        prepared = self._prepare(outcome, call, request_id, started)
        if key is not None and (outcome.allowed or may_be_remembered(outcome)):
            self.memo.offer(key, self._parts, call, outcome, prepared, page)
        return prepared

    async def later(self, question: Open, call: GatewayCall, request_id: bytes, started: float) -> Prepared:
        """The answer that needed the store."""
        return self._prepare(await close(self._parts, question), call, request_id, started)

    def _prepare(self, decision: Decision, call: GatewayCall, request_id: bytes, started: float) -> Prepared:
        """Counted, logged, and in the gateway's words."""
        detail = "" if decision.allowed else explain(self._parts, call, decision, request_id)
        repeats = detail and decision.reason is Reason.CROSS_SITE  # a client's words: too many to keep
        if not repeats and follows_from_decision(self._parts, call, decision):
            ended = perf_counter()
            self._record(told_of(self._parts, call.family.label, decision), request_id, started, ended)
            return self._wire.kept(decision, detail)
        return prepare(conclude(self._parts, call, decision, request_id, started, detail))
