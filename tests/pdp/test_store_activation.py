"""Policy from the store: one switch at one revision, leases, and stores changed by another hand (R42, R44)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from sidecar.pdp.policy_holder import ActivationState
from sidecar.pdp.store_activation import LOST, NO_CODE
from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode
from sidecar.store import keys
from sidecar.store.generation_records import MarkState
from sidecar.store.integrity.feed_entries import FeedReset
from sidecar.store.policy_generations import Activated
from sidecar.tokens.opaque import Pepper
from tests.memory_store import bare_store
from tests.pdp.store_member import Member, without_proof
from tests.store.generations_fixture import Applying, generation, packaged_files

__all__ = ["bare_store"]

KEY = keys.policy()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proof(monkeypatch)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A folder with the packaged policy: the seed."""
    place = tmp_path / "policy"
    place.mkdir(mode=0o700)
    for name, content in packaged_files().items():
        (place / name).write_bytes(content)
    return place


@pytest.fixture
async def member(bare_store, clock, tmp_path, folder) -> AsyncIterator[Member]:
    found = await Member(bare_store, tmp_path / "state", clock, policy_dir=folder).started()
    await found.settle()
    assert found.active
    return found


async def applied(member: Member, name: str, *, counter: int | None = None) -> str:
    """Apply a generation that ``member`` accepts; its feed is not delivered yet."""
    found = generation(name)
    member.applying.counter += 10
    candidate = await member.applying.candidate(found, counter=counter)
    await member.look()
    assert isinstance(await member.applying.activate(candidate, found), Activated)
    return found.id


# -- seed --------------------------------------------------------------------------------------------------------------


async def test_an_empty_store_is_seeded_from_the_files(member, bare_store) -> None:
    assert member.policy.state is ActivationState.CURRENT
    assert member.policy.warnings == ()
    state = await member.applying.generations.look()
    assert state.active.terms.id == member.active
    assert state.active.terms.counter == 1


async def test_other_files_are_ignored_and_reported(member, bare_store, clock, tmp_path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    for name, content in generation("theirs").files.items():
        (other / name).write_bytes(content)
    second = await Member(bare_store, tmp_path / "state2", clock, "two", other).started()
    await second.settle()
    assert second.active == member.active
    assert "are ignored" in second.policy.ignored
    assert generation("theirs").id in second.policy.ignored


async def test_without_store_and_files_nothing_is_served(bare_store, clock, tmp_path) -> None:
    found = await Member(bare_store, tmp_path / "state", clock).started()
    assert found.active == ""
    assert found.policy.problem.startswith("no generation yet")


# -- the switch --------------------------------------------------------------------------------------------------------


async def test_a_switch_counts_from_its_revision_on(member) -> None:
    before = member.active
    after = await applied(member, "a")
    assert member.active == before, "no revision at or after the switch is applied here yet"
    await member.hear()
    assert member.active == after, "applied with the feed's entry, without waiting"
    assert member.policy.record.terms.id == after


async def test_a_newer_generation_stops_the_older_one_until_compiled(member, bare_store) -> None:
    after = await applied(member, "a")
    member.policy._answers.prepared = None
    await member.hear()
    assert member.served.generation is None
    assert member.policy.generation is not None, "operators still see what was active here"
    await member.look()
    assert member.active == after


async def test_R42_a_candidate_is_compiled_and_judged_before_ready(member, bare_store) -> None:
    async def gate(_generation) -> tuple[Diagnostic, ...]:
        code = DiagnosticCode.ROLE_IN_USE
        return (Diagnostic(code.severity, code, "policy/roles.toml", 1, 1, "3 users hold it", ""),)

    member.policy.add_gate(gate)
    found = generation("a")
    await member.applying.candidate(found, counter=5)
    await member.look()
    (mark,) = (await member.applying.generations.look()).marks
    assert mark.state is MarkState.REJECTED
    assert "3 users hold it" in mark.reason


async def test_R42_a_candidate_that_does_not_compile_is_rejected(member, bare_store) -> None:
    found = generation("a")
    from dataclasses import replace

    from sidecar.policy.generation import content_hash
    from sidecar.policy.transfer.packing import digest_of, pack
    from tests.store.generations_fixture import terms_of

    files = {**found.files, "policy.csv": b"p, nobody, nothing, view, allow\n"}
    packed = pack(files)
    terms = replace(terms_of(found, 5), id=content_hash(files), digest=digest_of(packed))
    await member.applying.generations.store_candidate(terms, packed, seconds=60)
    await member.look()
    (mark,) = (await member.applying.generations.look()).marks
    assert mark.state is MarkState.REJECTED
    assert "policy/policy.csv:1" in mark.reason


async def test_R42_a_candidate_of_another_hand_is_rejected(member, bare_store) -> None:
    await Applying(bare_store, Pepper(b"q" * 32)).candidate(generation("a"), counter=5)
    await member.look()
    (mark,) = (await member.applying.generations.look()).marks
    assert (mark.state, mark.reason) == (MarkState.REJECTED, "the candidate was not stored with this pepper")


async def test_a_feed_reset_stops_checks_until_the_record_is_read(member) -> None:
    before = member.active
    member.policy.flush(FeedReset(1, 0, new_data_set=False))
    assert member.active == before, "another partition"
    member.policy.flush(FeedReset(0, 9, new_data_set=False))
    assert member.active == ""
    await member.look()
    assert member.active == before


async def test_a_missed_switch_is_found_by_the_record(member) -> None:
    after = await applied(member, "a")
    member.policy.flush(FeedReset(0, 99, new_data_set=False))
    assert member.active == ""
    await member.look()
    assert member.active == after


async def test_a_lapsed_lease_of_partition_0_stops_checks(member, clock) -> None:
    member.lease.until = clock.monotonic() + 1
    assert member.active
    clock.advance(1)
    assert member.active == ""
    member.lease.until = clock.monotonic() + 1
    assert member.active


async def test_a_switch_during_a_look_is_not_undone(member, monkeypatch) -> None:
    """The look has read the older record; the feed's entry arrives before it is applied."""
    look, after = member.applying.generations.look, ""

    async def late(*words):
        found = await look(*words)
        monkeypatch.setattr(member.applying.generations, "look", look)
        nonlocal after
        after = await applied(member, "a")
        await member.hear()
        return found

    monkeypatch.setattr(member.applying.generations, "look", late)
    await member.policy._look()
    assert member.active == after


# -- another hand in the store -----------------------------------------------------------------------------------------


async def test_a_feed_entry_without_a_code_switches_nothing(member, bare_store) -> None:
    before = member.active
    found = generation("a")
    await member.applying.candidate(found, counter=5)
    await member.look()
    n = int(await bare_store.command("GET", f"{keys.feed(0)}:n")) + 1
    fake = {
        "n": n,
        "k": "policy",
        "a": "",
        "u": "",
        "tv": 0,
        "s": 0,
        "ack": 1,
        "g": found.id,
        "d": "d",
        "c": 9,
        "sig": "",
    }
    words = [str(word) for pair in {**fake, "by": "", "note": "", "code": "0" * 64}.items() for word in pair]
    await bare_store.change("XADD", keys.feed(0), "*", *words)
    await member.hear()
    assert member.active == before
    assert member.policy.problem == NO_CODE


@pytest.mark.parametrize("tamper", ["changed", "older", "swapped", "deleted", "files"])
async def test_R44_a_writer_of_the_store_changes_no_policy(member, bare_store, tmp_path, clock, tamper) -> None:
    first = await applied(member, "a")
    await member.settle()
    older = await bare_store.pairs("HGETALL", f"{KEY}:active")
    second = await applied(member, "b")
    await member.settle()
    assert (first, member.active) != (member.active, first)
    if tamper == "changed":
        await bare_store.change("HSET", f"{KEY}:active", "id", first)
    elif tamper == "older":
        await bare_store.change("HSET", f"{KEY}:active", *(word for pair in older for word in pair))
    elif tamper == "swapped":
        await bare_store.change("HSET", f"{KEY}:active", "digest", dict(older)["digest"])
    elif tamper == "deleted":
        await bare_store.change("DEL", f"{KEY}:active")
    else:
        await bare_store.change("HSET", f"{KEY}:g:{second}", "0", "AAAA")
    clock.advance(31)
    member.policy.flush(FeedReset(0, 99, new_data_set=False))
    member.lease.until = clock.monotonic() + 1
    await member.look()
    assert member.active == second
    expected = {"deleted": LOST, "older": "the store went back", "files": "were changed"}.get(tamper, NO_CODE)
    assert expected in member.policy.problem
    assert member.policy.state is ActivationState.REJECTED
    restarted = await Member(bare_store, tmp_path / "state", clock, "two").started()
    assert restarted.active == second, "the kept one, after a restart too"
    assert expected in restarted.policy.problem
    fresh = await Member(bare_store, tmp_path / "fresh", clock, "three").started()
    assert fresh.active == (first if tamper == "older" else ""), "only a pod without state can be told an older one"


async def test_R44_the_counters_are_named_for_a_store_that_went_back(member, bare_store, clock) -> None:
    older = await bare_store.pairs("HGETALL", f"{KEY}:active")
    await applied(member, "a", counter=77)
    await member.settle()
    await bare_store.change("HSET", f"{KEY}:active", *(word for pair in older for word in pair))
    await member.look()
    assert "has counter 1" in member.policy.problem
    assert "77" in member.policy.problem


async def test_an_emptied_store_is_seeded_with_the_kept_generation(member, bare_store, tmp_path, clock) -> None:
    after = await applied(member, "a")
    await member.settle()
    counter = member.policy.record.terms.counter
    await bare_store.change("DEL", f"{KEY}:active", f"{KEY}:history")
    restarted = await Member(bare_store, tmp_path / "state", clock, "two").started()
    await restarted.settle()
    assert restarted.active == after
    active = (await member.applying.generations.look()).active
    assert (active.terms.id, active.terms.counter) == (after, counter)
    await member.settle()
    assert member.active == after


async def test_R44_a_seed_of_old_files_replaces_no_kept_generation(member, bare_store, tmp_path, clock, folder) -> None:
    after = await applied(member, "a")
    await member.settle()
    await bare_store.change("DEL", f"{KEY}:active", f"{KEY}:history")
    fresh = await Member(bare_store, tmp_path / "fresh", clock, "two", folder).started()
    fresh.at = member.at  # a feed is followed from the start of a sidecar on
    await fresh.settle()
    assert fresh.active not in {"", after}
    await member.settle()
    assert member.active == after
    assert "the store went back" in member.policy.problem


async def test_a_start_without_the_store_has_the_kept_generation(member, bare_store, tmp_path, clock) -> None:
    after = await applied(member, "a")
    await member.settle()
    again = Member(bare_store, tmp_path / "state", clock, "two")
    await again.policy.start()
    assert again.policy.generation.id == after
    assert again.active == "", "no check before the store has confirmed it"


async def test_a_bad_answer_of_the_store_ends_no_task(member, bare_store, monkeypatch) -> None:
    from sidecar.store.connection import StoreUnavailableError

    calls = asyncio.Event()

    async def out(*_words):
        calls.set()
        raise StoreUnavailableError("out")

    monkeypatch.setattr(member.policy._generations, "look", out)
    watching = asyncio.create_task(member.policy.watch())
    await calls.wait()
    await asyncio.sleep(0)
    assert not watching.done()
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
