"""Batched direct reads: one script per iteration of the loop, each caller with its own result and its own error."""

import asyncio
import os
import signal
import time

import pytest
import redis

from sidecar.domain.users import Actor
from sidecar.store import keys, scripts
from sidecar.store.connection import READ_TIMEOUT
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.live.batching import MAX_BATCH, Batcher
from sidecar.store.live.change_feed import FeedEntry, FeedReset
from sidecar.store.live.record_cache import RecordCache

OPERATOR = Actor.operator()


def reader(town, **more):
    """Records with a lease that outlasts the test."""
    made = RecordCache(town.store, lease=1e9, clock=lambda: 0.0, **more)
    made.flush(FeedReset(0, 0, new_data_set=False))
    made.registered(0, 0.0)
    made.on_heartbeat(0, 0.0)
    return made


@pytest.fixture
def records(town):
    return reader(town)


@pytest.fixture
def pieces(town, monkeypatch):
    """Return the number of records per script call."""
    sizes, run = [], town.store.run

    async def counted(name, at, args, **more):
        if name == "record":
            sizes.append(len(args["uids"]))
        return await run(name, at, args, **more)

    monkeypatch.setattr(town.store, "run", counted)
    return sizes


async def people(town, count, name="Acme"):
    admin = await town.account(name=name, cap=count + 1)
    return [admin, *[await town.member(OPERATOR, admin.account, f"m{number}@example.com") for number in range(count)]]


def all_at_once(records, everybody, **how):
    return asyncio.gather(*(records.read(each.id, **how) for each in everybody), return_exceptions=True)


async def test_what_is_asked_in_one_turn_is_one_script(town, records, pieces):
    everybody = [*await people(town, 3), *await people(town, 2, name="Other")]

    assert await all_at_once(records, everybody) == everybody
    assert pieces == [7]
    assert [records.peek(each.id) for each in everybody] == everybody


async def test_a_read_from_a_new_task_still_joins_the_batch(town, records, pieces):
    first, second = await people(town, 1)
    early = asyncio.ensure_future(records.read(first.id))
    await asyncio.sleep(0)
    late = asyncio.ensure_future(records.read(second.id))

    assert [await early, await late] == [first, second]
    assert pieces == [2]


async def test_nobody_among_somebody_is_none(town, records):
    admin, member = await people(town, 1)
    read = [records.read(uid) for uid in (admin.id, town.uid(admin.account), town.uid("acc_aaaaaaaaaaaa"), member.id)]

    assert await asyncio.gather(*read) == [admin, None, None, member]


async def test_a_piece_has_its_bound(town, records, pieces):
    admin = await town.account()

    assert await all_at_once(records, [admin] * (MAX_BATCH * 2 + 3), fresh=True) == [admin] * (MAX_BATCH * 2 + 3)
    assert sorted(pieces) == [3, MAX_BATCH, MAX_BATCH]


async def test_each_partition_has_pieces_of_its_own():
    told = []

    async def ask(partition, piece):
        told.append((partition, piece))

    together = Batcher(ask)
    for question in range(6):
        together.add(question % 2, question)
    for _ in range(4):
        await asyncio.sleep(0)

    assert told == [(0, [0, 2, 4]), (1, [1, 3, 5])]
    assert together._pending == {}
    assert together._sending == set()


async def test_an_answer_is_never_older_than_its_question(town, records):
    admin = await town.account()
    for number in range(20):
        before = all_at_once(records, [admin] * 3, fresh=True)
        for _ in range(number % 4):
            await asyncio.sleep(0)
        await town.users.change(OPERATOR, admin.id, name=f"N{number}")
        after = await all_at_once(records, [admin] * 3, fresh=True)
        assert {record.name for record in after} == {f"N{number}"}
        await before


async def test_a_server_that_has_forgotten_the_script_is_told_it_again(town, records):
    everybody = await people(town, 3)
    await town.store.change("SCRIPT", "FLUSH")

    assert await all_at_once(records, everybody) == everybody


async def test_a_script_counts_once_and_an_outage_too(town, records, monkeypatch):
    everybody = await people(town, 3)
    asked, failed = [], []
    town.store.on_request = lambda name, _seconds: asked.append(name)
    town.store.on_failure = failed.append
    await all_at_once(records, everybody)
    assert (asked, failed) == (["record"], [])

    async def out(*_args, **_more):
        raise redis.exceptions.ConnectionError("out") from TimeoutError()

    monkeypatch.setattr(town.store, "_evaluate", out)
    assert {type(each) for each in await all_at_once(records, everybody, fresh=True)} == {StoreUnavailableError}
    assert (asked, failed) == (["record", "record"], ["record"])


# Isolated errors ------------------------------------------------------------------------------------------------------


async def test_one_that_the_script_fails_on_does_not_fail_the_others(town, records, pieces):
    admin, member, other = await people(town, 2)
    home = keys.account(member.account, town.store.partitions)
    await town.store.change("DEL", f"{home}:u:{member.id}")
    await town.store.change("SET", f"{home}:u:{member.id}", "no hash")

    found = await all_at_once(records, [admin, member, other])

    assert (found[0], found[2]) == (admin, other)
    assert isinstance(found[1], StoreUnavailableError)
    assert found[1].answered
    assert sorted(pieces) == [1, 1, 1, 3]
    assert records._flights == {}


async def test_one_that_cannot_be_read_does_not_spoil_the_others(town, records, pieces):
    admin, member, other = await people(town, 2)
    home = keys.account(member.account, town.store.partitions)
    await town.store.change("HSET", f"{home}:u:{member.id}", "st", "no status")

    found = await all_at_once(records, [admin, member, other])

    assert (found[0], found[2]) == (admin, other)
    assert isinstance(found[1], ValueError)
    assert pieces == [3]


async def test_one_of_the_past_is_refused_alone(town):
    regressions = []
    records = reader(town, on_regression=lambda *seen: regressions.append(seen))
    everybody = await people(town, 2)
    await all_at_once(records, everybody)
    home = keys.account(everybody[1].account, town.store.partitions)
    await town.store.change("HSET", f"{home}:u:{everybody[1].id}", "tv", "0")

    found = await all_at_once(records, everybody, fresh=True)

    assert [found[0], found[2]] == [everybody[0], everybody[2]]
    assert isinstance(found[1], StoreUnavailableError)
    assert [uid for uid, _, _ in regressions] == [everybody[1].id]


async def test_a_slot_on_its_way_is_asked_of_one_by_one(town, records, pieces, monkeypatch):
    """Redis replies TRYAGAIN if it has only some of the keys; a single key is answered."""
    admin, member = await people(town, 1)
    evaluate = town.store._evaluate

    async def some(script, at, words, **how):
        if script is scripts.script("record") and member.id in words[0]:
            raise redis.exceptions.TryAgainError("TRYAGAIN Multiple keys request during rehashing of slot")
        return await evaluate(script, at, words, **how)

    monkeypatch.setattr(town.store, "_evaluate", some)
    found = await all_at_once(records, [admin, member])

    assert found[0] == admin
    assert isinstance(found[1], StoreUnavailableError)
    assert pieces == [2, 1, 1]


async def test_who_goes_away_takes_nobody_along(town, records):
    everybody = await people(town, 3)
    for turns in range(5):
        asked = [asyncio.ensure_future(records.read(each.id, fresh=True)) for each in everybody]
        for _ in range(turns):
            await asyncio.sleep(0)
        asked[0].cancel()
        asked[2].cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [found[1], found[3]] == [everybody[1], everybody[3]]
        assert isinstance(found[0], asyncio.CancelledError)
        assert isinstance(found[2], asyncio.CancelledError)
    assert records._flights == {}


# State at the time of the request -------------------------------------------------------------------------------------


async def test_a_change_during_a_read_does_not_reject_its_reply(town, records, monkeypatch):
    """Nor is it cached: the other records of the same script call are."""
    admin, member = await people(town, 1)
    evaluate = town.store._evaluate

    async def overtaken(*args, **how):
        reply = await evaluate(*args, **how)
        records.apply(0, _change(member, n=10**6, seq=10**6))
        return reply

    monkeypatch.setattr(town.store, "_evaluate", overtaken)

    assert await all_at_once(records, [admin, member]) == [admin, member]
    assert records.peek(admin.id) == admin
    assert records.peek(member.id) is None


async def test_a_change_heard_before_it_is_sent_binds_its_answer(town, records):
    admin, member = await people(town, 1)
    reading = all_at_once(records, [admin, member])
    await asyncio.sleep(0)  # requested, not sent
    records.apply(0, _change(member, n=1, seq=10**6))

    found = await reading
    assert found[0] == admin
    assert isinstance(found[1], StoreUnavailableError)


def _change(record, *, n, seq):
    return FeedEntry(n=n, account=record.account, user=record.id, kind="user", seq=seq, epoch=record.epoch, ack=False)


# A real server that hangs, or exits -----------------------------------------------------------------------------------


async def test_a_store_that_hangs_is_out_for_all_within_its_timeout(hurried_town):
    everybody = await people(hurried_town, 4)
    records = reader(hurried_town)
    await all_at_once(records, everybody)
    server = int(dict(line.split(":", 1) for line in await _info(hurried_town) if ":" in line)["process_id"])
    os.kill(server, signal.SIGSTOP)
    try:
        began = time.monotonic()  # one after another they would take 64 seconds
        waves = [all_at_once(records, everybody * 40, fresh=True)]
        await asyncio.sleep(READ_TIMEOUT / 2)
        second = time.monotonic()
        waves.append(all_at_once(records, everybody, fresh=True))
        first = await waves[0]
        assert time.monotonic() - began < READ_TIMEOUT * 5
        assert {type(each) for each in first} == {StoreUnavailableError}
        assert {type(each) for each in await waves[1]} == {StoreUnavailableError}
        assert time.monotonic() - second < READ_TIMEOUT * 5
    finally:
        os.kill(server, signal.SIGCONT)
    assert await all_at_once(records, everybody, fresh=True) == everybody


async def _info(town):
    told = await town.store.command("EVAL", "return redis.call('INFO', 'server')", 1, keys.META)
    return told.splitlines()


async def test_a_dead_connection_is_replaced_under_way(real_town):
    everybody = await people(real_town, 3)
    records = reader(real_town)
    for _ in range(5):
        assert await all_at_once(records, everybody, fresh=True) == everybody
        await real_town.store.change("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
