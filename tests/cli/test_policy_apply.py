"""`sidecar policy apply`: every sidecar accepts the policy, or nothing changes and the blockers are named (R42)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.cli.output import CliError
from sidecar.cli.policy.application import Application, Applied, apply_to
from sidecar.cli.policy.shadow import Shadowed
from sidecar.cli.policy.stored import stored_candidate
from sidecar.store import keys
from sidecar.store.generation_records import MarkState
from sidecar.store.integrity.partition_state import PartitionStates
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import Position
from tests.memory_store import bare_store
from tests.pdp.store_member import Member, without_proof
from tests.store.generations_fixture import PEPPER, generation, registered

__all__ = ["bare_store"]

FOLLOWS = '{"source": "store"}'


@pytest.fixture
def operator(bare_store) -> Any:
    clock = time.monotonic
    fleet = Fleet(bare_store, None, id="cli", lease=0.1, clock=clock, states=PartitionStates(clock=clock))

    async def applied(position: Position) -> Revocation:
        """Return at once: the sidecars of these tests acknowledge nothing."""
        return Revocation(True, 1, 0, position.n)

    fleet.wait_applied = applied
    return SimpleNamespace(store=bare_store, pepper=PEPPER, people=SimpleNamespace(fleet=fleet))


def application(name: str, **more: Any) -> Application:
    return Application(generation(name), **{"note": "", "wait": 5.0, "without": frozenset(), **more})


class Answering:
    """Sidecars that answer in the background: ready, or with a reason."""

    def __init__(self, store) -> None:
        self.store = store
        self.applying = Member.generations_of(store)
        self.reasons: dict[str, str | None] = {}
        self.answered, self.clock = "", 0.0

    async def join(self, name: str, reason: str | None = "", told: str = FOLLOWS) -> None:
        """``reason``: of a rejection; empty: ready; None: it never answers."""
        self.reasons[name] = reason
        await registered(self.store, name, told=told)

    async def run(self) -> None:
        while True:
            candidate = (await self.applying.look()).candidate
            for name, reason in list(self.reasons.items()):
                if candidate is not None and reason is not None:
                    state = MarkState.REJECTED if reason else MarkState.READY
                    await self.applying.mark(candidate, name, state, reason)
            attempt = candidate.attempt if candidate is not None else ""
            if attempt and attempt == self.answered:
                self.clock += 2.0  # all have answered that ever will
            self.answered = attempt
            await asyncio.sleep(0.02)


@pytest.fixture
async def fleet(bare_store, monkeypatch) -> AsyncIterator[Answering]:
    answering = Answering(bare_store)
    now = SimpleNamespace(monotonic=lambda: answering.clock, time_ns=time.time_ns)
    monkeypatch.setattr("sidecar.cli.policy.application.time", now)
    task = asyncio.create_task(answering.run())
    yield answering
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def refusal(operator, asked: Application) -> str:
    """Return the message, after checking that nothing has changed and no candidate is left."""
    before = await Member.generations_of(operator.store).look()
    with pytest.raises(CliError) as caught:
        await apply_to(operator, asked)
    assert caught.value.status == 1
    after = await Member.generations_of(operator.store).look()
    assert (after.active, after.candidate) == (before.active, None)
    return str(caught.value)


async def test_R42_all_ready_sidecars_switch_at_one_revision(operator, fleet) -> None:
    await fleet.join("one")
    await fleet.join("two")
    done = await apply_to(operator, application("a", note="first"))
    active = (await fleet.applying.look()).active
    assert (done.generation, done.revision, done.before) == (active.terms.id, active.revision, "")
    assert active.terms.note == "first"
    assert "@" in active.terms.by
    again = await apply_to(operator, application("b"))
    assert (again.before, again.revision > done.revision) == (done.generation, True)


async def test_R42_each_blocker_is_named_with_its_reason(operator, fleet, bare_store) -> None:
    await fleet.join("one")
    await fleet.join("small", "policy/policy.csv:1:1: time or memory limit exceeded")
    assert await refusal(operator, application("a")) == (
        "small rejects it: policy/policy.csv:1:1: time or memory limit exceeded: nothing was changed"
    )
    await fleet.join("deaf", None)
    await fleet.join("frozen")
    await bare_store.change("ZADD", keys.sidecars(0), (time.time() - 9) * 1000, "frozen")
    message = await refusal(operator, application("a"))
    assert "small rejects it" in message
    assert "deaf has not answered within 5 s" in message
    assert "frozen is silent for" in message
    assert "--without frozen passes it by" in message


async def test_R42_a_silent_sidecar_is_passed_by_its_name(operator, fleet, bare_store) -> None:
    await fleet.join("one")
    await fleet.join("frozen")
    await bare_store.change("ZADD", keys.sidecars(0), (time.time() - 9) * 1000, "frozen")
    done = await apply_to(operator, application("a", without=frozenset({"frozen"})))
    assert done.passed == ("frozen",)


async def test_R42_a_live_sidecar_is_not_passed_by(operator, fleet) -> None:
    await fleet.join("one")
    await fleet.join("deaf", None)
    message = await refusal(operator, application("a", without=frozenset({"deaf"})))
    assert message.startswith("deaf is live: --without passes")


async def test_a_sidecar_with_its_own_files_blocks(operator, fleet) -> None:
    await fleet.join("one")
    await fleet.join("old", told="{}")
    assert "old: policy from their own files" in await refusal(operator, application("a"))


async def test_R42_without_a_live_sidecar_nothing_is_applied(operator) -> None:
    assert "no sidecar is live" in await refusal(operator, application("a"))


async def test_another_application_replaces_this_one(operator, fleet) -> None:
    await fleet.join("one", None)
    first = asyncio.create_task(refusal_text(operator, application("a", wait=5)))
    while (await fleet.applying.look()).candidate is None:
        await asyncio.sleep(0.01)
    fleet.reasons["one"] = ""
    done = await apply_to(operator, application("b"))
    assert done.generation == generation("b").id
    assert "another application replaced this one" in await first


async def refusal_text(operator, asked: Application) -> str:
    with pytest.raises(CliError) as caught:
        await apply_to(operator, asked)
    return str(caught.value)


async def test_R26_a_role_in_use_is_not_removed(operator, fleet, bare_store, monkeypatch) -> None:
    await fleet.join("one")
    await bare_store.change("SADD", f"{keys.policy()}:roles", "courier")
    from sidecar.cli.policy import application as module

    class Holders:
        def __init__(self, _store) -> None: ...
        async def holding(self, _roles):
            return {"courier": 2}

    monkeypatch.setattr(module, "RoleHolders", Holders)
    assert '2 users hold or are invited to "courier"' in await refusal(operator, application("a"))


async def test_a_policy_above_8_mib_is_refused(operator, fleet, monkeypatch) -> None:
    from sidecar.cli.policy import application as module

    monkeypatch.setattr(module, "MAX_BYTES", 100)
    assert "the store takes 100" in await refusal(operator, application("a"))


async def test_a_real_follower_accepts_and_switches(operator, bare_store, clock, tmp_path, monkeypatch) -> None:
    """The whole path with one sidecar's policy: candidate, compile, ready, switch by the feed."""
    without_proof(monkeypatch)
    member = await Member(bare_store, tmp_path / "state", clock, told=FOLLOWS).started()

    async def live() -> None:
        while True:
            await member.settle()
            await asyncio.sleep(0.01)

    task = asyncio.create_task(live())
    done = await apply_to(operator, application("a", wait=20))
    await _until(lambda: member.active == done.generation)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert member.policy.record.revision == done.revision


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


# -- shadow ------------------------------------------------------------------------------------------------------------


def shadow_report(*changes: list[Any], unclear: int = 0, done: bool = True) -> dict[str, Any]:
    return {"decisions": 9, "unclear": unclear, "more": 0, "changes": list(changes), "done": done}


async def reporting(fleet: Answering, name: str, report: dict[str, Any]) -> None:
    while (candidate := (await fleet.applying.look()).candidate) is None:
        await asyncio.sleep(0.01)
    await fleet.applying.report_shadow(candidate, name, report)


CHANGE = ["acc_a", "marketer", "billing", "view", True, 3, ["usr_a"]]


async def test_a_shadow_ends_without_a_switch(operator, fleet) -> None:
    await fleet.join("one")
    asked = application("a", shadow=0.2, note="try")
    done, _ = await asyncio.gather(apply_to(operator, asked), reporting(fleet, "one", shadow_report(CHANGE)))
    assert isinstance(done, Shadowed)
    assert (done.total.changed, done.is_unchanged) == (3, False)
    found = await fleet.applying.look()
    assert found.active is None
    assert found.candidate.terms.id == done.generation, "kept for `policy apply GENERATION`"
    assert (await stored_candidate(operator, done.generation[:8]))[0].note == "try"


@pytest.mark.parametrize(
    ("report", "switches"),
    [(shadow_report(), True), (shadow_report(CHANGE), False), (shadow_report(unclear=1), False)],
)
async def test_only_an_unchanged_shadow_switches(operator, fleet, report, switches) -> None:
    await fleet.join("one")
    asked = application("a", shadow=0.2, switch_if_unchanged=True)
    done, _ = await asyncio.gather(apply_to(operator, asked), reporting(fleet, "one", report))
    assert isinstance(done, Applied) is switches
    assert ((await fleet.applying.look()).active is not None) is switches


async def test_R42_a_shadow_without_a_report_is_not_unchanged(operator, fleet, monkeypatch) -> None:
    from sidecar.cli.policy import shadow as module

    monkeypatch.setattr(module, "LATE_SECONDS", 0.1)
    await fleet.join("one")
    await fleet.join("two")
    asked = application("a", shadow=0.2, switch_if_unchanged=True)
    done, _ = await asyncio.gather(apply_to(operator, asked), reporting(fleet, "one", shadow_report()))
    assert isinstance(done, Shadowed)
    assert done.silent == ("two",)
