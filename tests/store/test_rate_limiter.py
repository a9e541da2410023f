"""Buckets: capacity, refill, no more than the capacity for concurrent requests, and expiry."""

import asyncio

import pytest

from sidecar.store import keys
from sidecar.store.codec import info_fields
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.live.memory_pressure import MemoryPressure, _share
from sidecar.store.rate_limiter import Bucket, BucketEmpty, Buckets, BucketTaken, Rate


def bucket(units=3, seconds=60.0, subject="a", kind="pair"):
    return Bucket(kind, subject, Rate(units, seconds))


async def taken(buckets, wanted, times):
    return [isinstance(await buckets.take(wanted), BucketTaken) for _ in range(times)]


async def test_R16_a_bucket_gives_what_it_holds_and_then_says_how_long(store):
    buckets = Buckets(store)
    assert await taken(buckets, bucket(), 3) == [True] * 3
    empty = await buckets.take(bucket())
    assert isinstance(empty, BucketEmpty)
    assert 59 < empty.seconds <= 60


async def test_R16_a_refused_unit_is_not_counted(store):
    buckets = Buckets(store)
    await taken(buckets, bucket(), 3)
    waits = [(await buckets.take(bucket())).seconds for _ in range(5)]
    assert waits == sorted(waits, reverse=True)


async def test_R16_units_come_back_with_time_one_by_one(store, town):
    buckets = Buckets(store)
    fast = bucket(units=2, seconds=0.5)
    await taken(buckets, fast, 2)
    await town.until(await town.now_ms() + 550)
    assert await taken(buckets, fast, 2) == [True, False]


async def test_R16_a_unit_that_is_given_back_is_there_at_once(store):
    buckets = Buckets(store)
    await taken(buckets, bucket(), 3)
    await buckets.give_back(bucket())
    assert await taken(buckets, bucket(), 2) == [True, False]


async def test_R16_giving_back_too_much_never_overfills_a_bucket(store):
    buckets = Buckets(store)
    await taken(buckets, bucket(), 1)
    for _ in range(5):
        await buckets.give_back(bucket())
    assert await taken(buckets, bucket(), 4) == [True] * 3 + [False]


async def test_R16_of_a_hundred_at_once_as_many_as_it_holds_get_one(store):
    buckets = Buckets(store)
    outcomes = await asyncio.gather(*(buckets.take(bucket(units=10)) for _ in range(100)))
    assert outcomes.count(BucketTaken()) == 10


async def test_R16_buckets_of_another_kind_or_subject_are_others(store):
    buckets = Buckets(store)
    await taken(buckets, bucket(units=1), 1)
    assert await buckets.take(bucket(units=1, subject="b")) == BucketTaken()
    assert await buckets.take(bucket(units=1, kind="address")) == BucketTaken()
    assert await buckets.take(bucket(units=1)) != BucketTaken()


async def test_R16_a_full_bucket_expires_and_its_key_names_no_user(store):
    buckets = Buckets(store)
    held = bucket(seconds=0.1, subject="ada@example.com")
    await taken(buckets, held, 2)
    (name,) = [one for one in await store.command("KEYS", "*:rl:*")]
    assert "ada" not in name
    assert 100 < int(await store.command("PTTL", name)) <= 200
    await buckets.give_back(held)
    assert 0 < int(await store.command("PTTL", name)) <= 100
    await buckets.give_back(held)
    assert await store.command("EXISTS", name) == 0


def test_R16_the_number_of_buckets_is_fixed():
    names = {keys.limit("pair", str(number), 1) for number in range(2000)}
    assert all(int(name.rsplit(":", 1)[1], 16) < keys.LIMIT_BUCKETS for name in names)
    assert len(names) > 1990


async def test_R16_a_store_that_is_out_is_no_absence_of_limits(store, monkeypatch):
    async def out(*_, **__):
        raise StoreUnavailableError("out")

    monkeypatch.setattr(store, "run", out)
    with pytest.raises(StoreUnavailableError):
        await Buckets(store).take(bucket())


@pytest.mark.parametrize(
    ("info", "share"),
    [
        ({"maxmemory": 100, "used_memory": 80}, 0.8),
        ({"maxmemory": 0, "used_memory": 80}, 0.0),
        ({"used_memory": 80}, 0.0),
        ({}, 0.0),
        ("# Memory\r\nused_memory:50\r\nmaxmemory:200\r\n", 0.25),
        ("", 0.0),
        ("maxmemory:x\r\n", 0.0),
    ],
)
def test_R16_the_share_of_the_memory_that_is_used(info, share):
    assert _share(info_fields(info)) == share


async def test_R16_memory_is_low_from_80_until_below_75_percent(store, monkeypatch):
    memory = MemoryPressure(store)
    for used, short in (
        (0.5, False),
        (0.79, False),
        (0.8, True),
        (0.78, True),
        (0.76, True),
        (0.74, False),
        (0.79, False),
    ):
        monkeypatch.setattr(memory, "_info", _info(used))
        await memory.poll()
        assert memory.low is short, used


def _info(used):
    async def info():
        return {"maxmemory": 1000, "used_memory": round(used * 1000)}

    return info


async def test_R16_a_real_server_tells_how_full_it_is(real_town):
    memory = MemoryPressure(real_town.store)
    await memory.poll()
    assert memory.share == 0.0, "without maxmemory memory is never low"
    used = (await real_town.store.command("INFO", "memory"))["used_memory"]
    await real_town.store.command("CONFIG", "SET", "maxmemory", str(int(used / 0.85)))
    try:
        await memory.poll()
        assert memory.low
    finally:
        await real_town.store.command("CONFIG", "SET", "maxmemory", "0")
    await memory.poll()
    assert not memory.low


async def test_a_server_without_info_is_never_short(store):
    memory = MemoryPressure(store)
    await memory.poll()
    assert not memory.low
