"""Generations in the store: files, codes, and the switch that every live sidecar must have accepted (R42)."""

import json

import pytest

from sidecar.policy.transfer.packing import MAX_BYTES, UnpackError, pack, unpack
from sidecar.store import keys
from sidecar.store.generation_records import MarkState, SidecarMark, switch_of
from sidecar.store.integrity.feed_entries import fields_of
from sidecar.store.policy_generations import CHUNK, Activated, GenerationFilesError, NotActivated, PolicyGenerations
from sidecar.tokens.opaque import Pepper
from tests.store.generations_fixture import PEPPER, Applying, generation, registered, terms_of

KEY = keys.policy()


@pytest.fixture
def applying(store) -> Applying:
    return Applying(store)


async def last_event(store) -> dict[str, str]:
    return fields_of((await store.command("XREVRANGE", keys.feed(0), "+", "-", "COUNT", 1))[0][1])


async def rows(store) -> list[dict[str, str]]:
    return [fields_of(raw) for _, raw in await store.command("XRANGE", keys.system_log(), "-", "+")]


def test_packed_files_are_the_same_bytes_again() -> None:
    files = {"b": b"\n\x00[]", "a": b"", "c": bytes(range(256))}
    assert unpack(pack(files)) == files
    assert pack(dict(reversed(files.items()))) == pack(files)
    with pytest.raises(UnpackError):
        unpack(b"{}[\nno header")


# -- files and codes ---------------------------------------------------------------------------------------------------


async def test_files_of_several_chunks_come_back(store, applying) -> None:
    await registered(store, "one")
    large = generation("large")
    files = {**large.files, "policy.csv": large.files["policy.csv"] + b"#" * (2 * CHUNK + 7)}
    packed = pack(files)
    assert 2 * CHUNK < len(packed) < MAX_BYTES
    from dataclasses import replace

    from sidecar.policy.generation import content_hash
    from sidecar.policy.transfer.packing import digest_of

    terms = replace(terms_of(large, 1), id=content_hash(files), digest=digest_of(packed))
    await applying.generations.store_candidate(terms, packed, seconds=60)
    assert await applying.generations.files(terms) == files


async def test_changed_missing_and_swapped_files_are_refused(store, applying) -> None:
    await registered(store, "one")
    first, second = generation("first"), generation("second")
    await applying.applied(first, "one")
    await applying.applied(second, "one")
    files, terms = applying.generations.files, terms_of(first, 1)
    assert await files(terms) == dict(first.files)
    home = f"{KEY}:g:{first.id}"
    kept = await store.command("HGET", home, "0")
    await store.change("HSET", home, "0", await store.command("HGET", f"{KEY}:g:{second.id}", "0"))
    with pytest.raises(GenerationFilesError, match="were changed"):
        await files(terms)
    await store.change("HSET", home, "0", kept[:-8] + "!" * 8)
    with pytest.raises(GenerationFilesError, match="were changed"):
        await files(terms)
    await store.change("DEL", home)
    with pytest.raises(GenerationFilesError, match="no files"):
        await files(terms)


async def test_a_record_without_the_pepper_is_not_authentic(store, applying) -> None:
    await registered(store, "one")
    await applying.applied(generation("a"), "one")
    active = (await applying.generations.look()).active
    assert active.is_authentic(PEPPER)
    assert not active.is_authentic(Pepper(b"q" * 32))
    for field, value in [("id", "0" * 32), ("digest", "1"), ("n", "99"), ("counter", "99"), ("note", "x"), ("by", "x")]:
        before = await store.command("HGET", f"{KEY}:active", field)
        await store.change("HSET", f"{KEY}:active", field, value)
        assert not (await applying.generations.look()).active.is_authentic(PEPPER), field
        await store.change("HSET", f"{KEY}:active", field, before)
    await store.change("HSET", f"{KEY}:active", "n", "many")
    found = await applying.generations.look()
    assert found.found
    assert found.active is None


async def test_the_feed_entry_carries_the_same_authentic_record(store, applying) -> None:
    await registered(store, "one")
    done = await applying.applied(generation("a"), "one", note="first", by="ops@host")
    assert isinstance(done, Activated)
    event = await last_event(store)
    assert (event["k"], event["ack"], int(event["n"])) == ("policy", "1", done.position.n)
    record, active = switch_of(event), (await applying.generations.look()).active
    assert record.is_authentic(PEPPER)
    assert (record.terms, record.revision, record.code) == (active.terms, active.revision, active.code)
    assert record.terms.note == "first"


async def test_a_candidate_of_another_hand_is_not_authentic(store, applying) -> None:
    await registered(store, "one")
    candidate = await applying.candidate(generation("a"))
    assert candidate.is_authentic(PEPPER)
    await store.change("HSET", f"{KEY}:candidate", "id", generation("b").id)
    assert not (await applying.generations.look()).candidate.is_authentic(PEPPER)


# -- readiness ---------------------------------------------------------------------------------------------------------


async def test_R42_nothing_changes_until_every_live_sidecar_is_ready(store, applying) -> None:
    await registered(store, "one")
    await registered(store, "two")
    found = generation("a")
    candidate = await applying.candidate(found)
    await applying.ready(candidate, "one")
    refused = await applying.activate(candidate, found)
    assert refused == NotActivated(
        "not_ready", "", (SidecarMark("one", MarkState.READY), SidecarMark("two", MarkState.WAITING))
    )
    await applying.generations.mark(candidate, "two", MarkState.REJECTED, "no memory")
    refused = await applying.activate(candidate, found)
    assert refused.marks[1] == SidecarMark("two", MarkState.REJECTED, "no memory")
    assert (await applying.generations.look()).active is None
    await applying.ready(candidate, "two")
    assert isinstance(await applying.activate(candidate, found), Activated)


async def test_R42_a_sidecar_that_registered_meanwhile_must_be_ready(store, applying) -> None:
    await registered(store, "one")
    found = generation("a")
    candidate = await applying.candidate(found)
    await applying.ready(candidate, "one")
    await registered(store, "late")
    refused = await applying.activate(candidate, found)
    assert [(mark.id, mark.state) for mark in refused.marks] == [("late", "waiting"), ("one", "ready")]
    await applying.ready(candidate, "late")
    assert isinstance(await applying.activate(candidate, found), Activated)


async def test_R42_a_mark_for_another_candidate_is_no_answer(store, applying) -> None:
    await registered(store, "one")
    first, second = generation("a"), generation("b")
    await applying.ready(await applying.candidate(first), "one")
    candidate = await applying.candidate(second)
    assert (await applying.activate(candidate, second)).code == "not_ready"
    again = await applying.candidate(first)
    assert (await applying.activate(again, first)).code == "not_ready", "an answer to an earlier attempt"


async def test_R42_a_silent_sidecar_blocks_until_it_is_passed_by(town, store, applying) -> None:
    await registered(store, "one")
    await registered(store, "frozen", lease=1)
    found = generation("a")
    candidate = await applying.candidate(found)
    await applying.ready(candidate, "one", "frozen")
    await town.pass_by(210)
    refused = await applying.activate(candidate, found)
    assert (refused.marks[0].id, refused.marks[0].state) == ("frozen", "silent"), "an older answer counts no more"
    assert (await applying.generations.look()).active is None
    done = await applying.activate(candidate, found, without={"frozen"})
    assert done.passed == ("frozen",)
    assert json.loads((await rows(store))[-1]["after"])["without"] == "frozen"


async def test_R42_one_that_fell_silent_before_the_candidate_blocks(town, store, applying) -> None:
    await registered(store, "one")
    await registered(store, "frozen", lease=1)
    await town.pass_by(210)
    found = generation("a")
    candidate = await applying.candidate(found)
    await applying.ready(candidate, "one")
    assert (await applying.activate(candidate, found)).code == "not_ready"


async def test_R42_a_live_sidecar_cannot_be_passed_by(store, applying) -> None:
    await registered(store, "one")
    await registered(store, "two")
    found = generation("a")
    candidate = await applying.candidate(found)
    await applying.ready(candidate, "one")
    assert (await applying.activate(candidate, found, without={"two"})).code == "not_ready"


async def test_R42_a_sidecar_that_signed_off_blocks_nothing(store, applying) -> None:
    await registered(store, "one")
    await registered(store, "two")
    found = generation("a")
    candidate = await applying.candidate(found)
    await applying.ready(candidate, "one")
    await registered(store, "two", lease=0)
    assert isinstance(await applying.activate(candidate, found), Activated)


async def test_R42_a_registration_lost_in_a_fail_over_blocks(store, applying) -> None:
    """The new master knows what a sidecar has reported, but not its lease."""
    await registered(store, "one")
    await registered(store, "two")
    await store.change("ZREM", keys.sidecars(0), "two")
    found = generation("a")
    candidate = await applying.candidate(found)
    await applying.ready(candidate, "one")
    blocker = (await applying.activate(candidate, found)).marks[1]
    assert (blocker.id, blocker.state) == ("two", MarkState.SILENT)


async def test_R42_without_any_live_sidecar_nothing_is_activated(store, applying) -> None:
    found = generation("a")
    candidate = await applying.candidate(found)
    assert (await applying.activate(candidate, found)).code == "not_ready"


# -- one at a time -----------------------------------------------------------------------------------------------------


async def test_a_newer_candidate_replaces_an_older_one(store, applying) -> None:
    await registered(store, "one")
    first, second = generation("a"), generation("b")
    earlier = await applying.candidate(first)
    await applying.ready(earlier, "one")
    later = await applying.candidate(second)
    assert (await applying.activate(earlier, first)).code == "superseded"
    assert await store.command("EXISTS", f"{KEY}:g:{first.id}") == 0, "a candidate leaves no files behind"
    await applying.generations.withdraw(earlier)
    assert (await applying.generations.look()).candidate == later
    await applying.generations.withdraw(later)
    assert (await applying.generations.look()).candidate is None
    assert await store.command("EXISTS", f"{KEY}:g:{second.id}") == 0


async def test_an_old_candidate_expires(town, store, applying) -> None:
    await registered(store, "one")
    found = generation("a")
    candidate = await applying.candidate(found, seconds=0.001)
    await applying.ready(candidate, "one")
    await town.pass_by(2)
    assert (await applying.activate(candidate, found)).code == "expired"
    assert (await applying.generations.look()).candidate is None


async def test_R44_an_application_with_an_older_counter_is_refused(store, applying) -> None:
    await registered(store, "one")
    await applying.applied(generation("a"), "one", counter=7)
    for counter in (6, 7):
        refused = await applying.applied(generation("b"), "one", counter=counter)
        assert refused == NotActivated("counter_behind", "7")
    assert isinstance(await applying.applied(generation("b"), "one", counter=8), Activated)


async def test_the_switch_waits_for_no_free_revision(store, applying, monkeypatch) -> None:
    """Changes of accounts move the feed between the codes and the script."""
    await registered(store, "one")
    found = generation("a")
    candidate = await applying.candidate(found)
    await applying.ready(candidate, "one")
    moves = [300, 100]
    run = store.run

    async def moved(name, at, args, **more):
        if name == "policy_activate" and moves:
            for _ in range(moves.pop()):
                await run("announce", [keys.feed(0)], ["keys"], write=True)
        return await run(name, at, args, **more)

    monkeypatch.setattr(store, "run", moved)
    done = await applying.activate(candidate, found)
    assert isinstance(done, Activated)
    assert done.position.n > 100
    assert (await applying.generations.look()).active.is_authentic(PEPPER)


# -- roles -------------------------------------------------------------------------------------------------------------


async def test_R26_roles_are_judged_again_by_the_script(town, store, applying) -> None:
    await registered(store, "one")
    admin = await town.account()
    actor = await town.signed_in(admin)
    await town.member(actor, admin.account, "bob@example.com", role="courier")
    found = generation("a")
    await store.change("SADD", f"{KEY}:roles", "courier")
    candidate = await applying.candidate(found)
    await applying.ready(candidate, "one")
    assert await applying.activate(candidate, found) == NotActivated("roles_changed", "courier")
    refused = await applying.activate(candidate, found, unheld={"courier"})
    assert refused == NotActivated("role_in_use", "courier"), "somebody got the role after the caller had looked"
    assert (await applying.generations.look()).active is None


async def test_R26_a_role_of_an_invitation_is_in_use(town, store, applying) -> None:
    await registered(store, "one")
    admin = await town.account()
    await town.invite(await town.signed_in(admin), admin.account, "bob@example.com", role="courier")
    found = generation("a")
    await store.change("SADD", f"{KEY}:roles", "courier")
    candidate = await applying.candidate(found)
    await applying.ready(candidate, "one")
    assert (await applying.activate(candidate, found, unheld={"courier"})).code == "role_in_use"


# -- history -----------------------------------------------------------------------------------------------------------


async def test_R25_each_application_is_in_the_history_and_the_audit(store, applying) -> None:
    await registered(store, "one")
    first, second = generation("a"), generation("b")
    await applying.applied(first, "one", note="one", by="ada@host")
    await applying.applied(second, "one")
    await applying.applied(first, "one", note="back")
    history = await applying.generations.history()
    assert [(one.terms.id, one.terms.note) for one in history] == [
        (first.id, "back"),
        (second.id, ""),
        (first.id, "one"),
    ]
    assert history[-1].terms.by == "ada@host"
    assert all(one.at > 0 for one in history)
    found = await rows(store)
    assert [row["action"] for row in found] == ["policy.activated", "policy.activated", "policy.reverted"]
    after = json.loads(found[-1]["after"])
    assert (after["generation"], after["note"], after["revision"]) == (first.id, "back", str(history[0].revision))
    for one in (first, second):
        assert await applying.generations.files(terms_of(one, 1)) == dict(one.files), "kept for ever"
    await store.change("XADD", f"{KEY}:history", "*", "id", "x", "digest", "d", "n", "1", "counter", "1", "code", "")
    assert await applying.generations.history() == history, "a row of another hand is not listed"


async def test_an_empty_store_is_seeded_once(store, applying) -> None:
    first, second = generation("a"), generation("b")
    seed = applying.generations.seed
    assert await seed(terms_of(first, 1), pack(first.files), first, sidecar="one")
    assert not await seed(terms_of(second, 1), pack(second.files), second, sidecar="two")
    found = await applying.generations.look()
    assert found.active.terms.id == first.id
    assert found.active.is_authentic(PEPPER)
    await store.change("DEL", f"{KEY}:active")
    assert not await seed(terms_of(second, 1), pack(second.files), second, sidecar="two"), "it has a history"


async def test_another_pepper_reads_no_history(store, applying) -> None:
    await registered(store, "one")
    await applying.applied(generation("a"), "one")
    assert await PolicyGenerations(store, Pepper(b"q" * 32)).history() == []
