"""Activation of policies while tracing is on: each load is a trace. An applied generation continues its application's.

The attempt of a traced application is its ``traceparent``, covered by the candidate's code. So the answer of each
sidecar and its switch have the command's span as their parent.
"""

from typing import Any, Final

from sidecar.pdp.activation import Activation, PolicyStart
from sidecar.pdp.policy_holder import PolicyHolder
from sidecar.pdp.store_activation import StorePolicy
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.generation import Generation
from sidecar.sources.policy_files import PolicyFiles
from sidecar.store.generation_records import ActiveRecord, PolicyCandidate, switch_of
from sidecar.store.integrity.feed_entries import FeedEntry
from sidecar.telemetry.trace_context import parse
from sidecar.telemetry.tracing import Span, Tracer, child

LOAD: Final = "policy load"
GATES: Final = "policy gates"
CANDIDATE: Final = "policy candidate"
SWITCH: Final = "policy switch"


class TracedActivation(Activation):
    """Owner of the active generation, with a span per load and one per run of the gates."""

    def __init__(self, *places: Any, tracer: Tracer, **options: Any) -> None:
        super().__init__(*places, **options)
        self._tracer = tracer

    async def start(self, *, force: bool = False) -> PolicyStart:
        with self._tracer.root(LOAD) as span:
            started = await super().start(force=force)
            describe(span, self)
            return started

    async def confirm(self, *, force: bool = False) -> bool:
        with self._tracer.root("policy confirm") as span:
            confirmed = await super().confirm(force=force)
            describe(span, self)
            return confirmed

    async def _compile(self, files: PolicyFiles, *, again: bool = False) -> None:
        with self._tracer.root(LOAD) as span:
            await super()._compile(files, again=again)
            describe(span, self)

    async def _refusals(self, generation: Generation) -> tuple[Diagnostic, ...]:
        with child(GATES):
            return await super()._refusals(generation)


class TracedStorePolicy(StorePolicy):
    """Active generation from the store, with a span per load, per answer to a candidate, and per switch."""

    def __init__(self, *places: Any, tracer: Tracer, **options: Any) -> None:
        super().__init__(*places, **options)
        self._tracer = tracer
        self._answered: PolicyCandidate | None = None

    async def start(self) -> None:
        with self._tracer.root(LOAD) as span:
            await super().start()
            describe(span, self)

    def apply(self, partition: int, change: FeedEntry) -> None:
        record = switch_of(change.switch or {}) if partition == 0 and change.kind == "policy" else None
        if record is None:
            super().apply(partition, change)
            return
        with self._following(record, SWITCH) as span:
            super().apply(partition, change)
            describe(span, self)

    async def _load(self, record: ActiveRecord, era: int) -> None:
        with self._following(record, LOAD) as span:
            await super()._load(record, era)
            describe(span, self)

    async def _answer(self) -> None:
        candidate, answered = self._candidate, self._answered
        if candidate is None or (answered is not None and answered.attempt == candidate.attempt):
            await super()._answer()
            return
        with self._tracer.root(CANDIDATE, parse(candidate.attempt.encode())) as span:
            span.set("sidecar.generation", candidate.terms.id)
            await super()._answer()
        self._answered = candidate

    async def _refusals(self, generation: Generation) -> tuple[Diagnostic, ...]:
        with child(GATES):
            return await super()._refusals(generation)

    def _following(self, record: ActiveRecord, name: str) -> Span:
        """Return a span of the application that wrote the record, if this sidecar has answered it; else a root."""
        known = next((one for one in (self._answered, self._candidate) if one and one.terms == record.terms), None)
        return self._tracer.root(name, parse(known.attempt.encode()) if known else None)


def describe(span: Span, policy: PolicyHolder) -> None:
    """Record the outcome. Diagnostics contain text of the files, so only their number is recorded."""
    span.set("sidecar.policy.state", policy.state.value)
    span.set("sidecar.policy.diagnostics", len(policy.diagnostics))
    if policy.generation is not None:
        span.set("sidecar.generation", policy.generation.id)
