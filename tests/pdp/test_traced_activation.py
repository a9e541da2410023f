"""Spans of an applied policy: each sidecar's answer and its switch are children of the command's span."""

from functools import partial
from typing import Any

import pytest

from sidecar.pdp.traced_activation import TracedStorePolicy
from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.policy_generations import Activated, NotActivated
from sidecar.telemetry.tracing import Span, Tracer, continuing, current
from tests.memory_store import bare_store
from tests.pdp.store_member import Member, without_proof
from tests.store.generations_fixture import generation, packaged_files

__all__ = ["bare_store"]

CHILDREN = {"policy candidate", "policy switch", "policy load"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proof(monkeypatch)


class Fleet:
    """One traced sidecar of a seeded store, and the spans of it and of the command."""

    def __init__(self, bare_store, tmp_path, clock) -> None:
        self.spans: list[Span] = []
        self.tracer = Tracer(self.spans.append, share=0.0)
        place = tmp_path / "policy"
        place.mkdir(mode=0o700)
        for name, content in packaged_files().items():
            (place / name).write_bytes(content)
        kind = partial(TracedStorePolicy, tracer=self.tracer)
        self.member = Member(bare_store, tmp_path / "state", clock, policy_dir=place, kind=kind)

    async def started(self) -> "Fleet":
        await (await self.member.started()).settle()
        assert self.member.active
        self.spans.clear()
        return self

    async def apply(self, name: str, *, look: bool = True) -> Any:
        """Apply a generation as the command does. ``look``: the sidecar answers; else a mark is written for it."""
        found, applying = generation(name), self.member.applying
        applying.counter += 10
        candidate = await applying.candidate(found)
        with continuing(None):  # the sidecar is another program
            if look:
                await self.member.look()
        if not look:
            await applying.ready(candidate, self.member.name)
        return await applying.activate(candidate, found)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def children_of(self, span: Span) -> list[str]:
        parent = span.context.span_id
        return [one.name for one in self.spans if one.parent and one.parent.span_id == parent]


@pytest.fixture
async def fleet(bare_store, tmp_path, clock) -> Fleet:
    return await Fleet(bare_store, tmp_path, clock).started()


async def test_answer_and_switch_are_children_of_the_application(fleet: Fleet) -> None:
    with fleet.tracer.root("policy apply") as command:
        assert isinstance(await fleet.apply("one"), Activated)
    await fleet.member.settle()
    wanted = generation("one").id
    assert fleet.member.active == wanted
    (answer,), (switch,) = fleet.named("policy candidate"), fleet.named("policy switch")
    for span in (answer, switch):
        assert (span.context.trace_id, span.remote) == (command.context.trace_id, True)
        assert span.parent is not None
        assert span.parent.span_id == command.context.span_id
        assert span.attributes["sidecar.generation"] == wanted
    assert answer.attributes["sidecar.policy.mark"] == "ready"
    assert switch.attributes["sidecar.policy.state"] == "current"
    assert fleet.children_of(answer)[-1] == "policy vote"
    assert {"policy compile", "policy gates", "policy vote"} <= set(fleet.children_of(answer))
    (vote,) = fleet.named("policy vote")
    assert fleet.children_of(vote) == ["HSET"]
    assert "EVALSHA policy_activate" in fleet.children_of(command)
    await fleet.member.settle()
    assert len(fleet.named("policy candidate")) == 1, "an answer is one span"
    assert current() is None


async def test_a_rejection_is_marked_without_its_reason(fleet: Fleet) -> None:
    code = DiagnosticCode.ROLE_IN_USE

    async def gate(_generation: object) -> tuple[Diagnostic, ...]:
        return (Diagnostic(code.severity, code, "policy/roles.toml", 1, 1, "ada@example.com holds it", ""),)

    fleet.member.policy.add_gate(gate)
    with fleet.tracer.root("policy apply") as command:
        assert isinstance(await fleet.apply("one"), NotActivated)
    (answer,) = fleet.named("policy candidate")
    assert answer.attributes["sidecar.policy.mark"] == "rejected"
    assert answer.parent is not None
    assert answer.parent.span_id == command.context.span_id
    assert "ada" not in str([span.attributes for span in fleet.spans])
    assert fleet.named("policy switch") == []


async def test_without_a_traced_command_the_spans_are_roots(fleet: Fleet) -> None:
    assert isinstance(await fleet.apply("one"), Activated)
    await fleet.member.settle()
    assert fleet.member.active == generation("one").id
    found = [span for span in fleet.spans if span.name in CHILDREN]
    assert [(span.name, span.parent) for span in found] == [("policy candidate", None), ("policy switch", None)]


async def test_a_generation_loaded_late_is_in_the_trace_too(fleet: Fleet) -> None:
    """A sidecar that had no candidate, as after a restart, loads the active one: its trace is not known to it."""
    with fleet.tracer.root("policy apply"):
        assert isinstance(await fleet.apply("one", look=False), Activated)
    await fleet.member.settle()
    assert fleet.member.active == generation("one").id
    (load,) = fleet.named("policy load")
    assert (load.parent, load.attributes["sidecar.generation"]) == (None, generation("one").id)


async def test_an_answer_that_the_store_missed_is_a_failed_span(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    generations = fleet.member.policy._generations
    mark, outages = generations.mark, [StoreUnavailableError("away")]

    async def failing(*given: Any) -> None:
        if outages:
            raise outages.pop()
        await mark(*given)

    monkeypatch.setattr(generations, "mark", failing)
    with fleet.tracer.root("policy apply") as command:
        await fleet.member.applying.candidate(generation("one"), counter=99)
    with pytest.raises(StoreUnavailableError):
        await fleet.member.look()
    await fleet.member.look()
    answers = fleet.named("policy candidate")
    assert [span.error for span in answers] == ["StoreUnavailableError", ""]
    assert {span.context.trace_id for span in answers} == {command.context.trace_id}


async def test_no_other_entry_of_the_feed_is_a_span(fleet: Fleet) -> None:
    await fleet.member.look()
    await fleet.member.settle()
    assert [span.name for span in fleet.spans] == []
