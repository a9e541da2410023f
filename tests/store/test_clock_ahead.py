"""R52: a time written by a clock that ran ahead locks out no user, and keeps nothing alive."""

import asyncio

from sidecar.domain.users import Actor
from sidecar.store import keys, sessions
from sidecar.store.audit_export import LEASE_MS, Exporter
from sidecar.store.outcomes import Changed
from sidecar.store.rate_limiter import Bucket, BucketEmpty, Buckets, BucketTaken, Rate
from sidecar.store.sessions import RefreshLimited, Rotated
from sidecar.tokens.ids import account_of
from tests.store.test_sessions import rotate

OPERATOR = Actor.operator()
HOUR = 3_600_000


async def test_R52_a_bucket_dated_an_hour_ahead_counts_as_empty(store, town):
    wanted = Bucket("test", "somebody", Rate(3, 60.0))
    buckets = Buckets(store)
    await buckets.take(wanted)
    (key,) = await store.command("KEYS", "*:rl:*")
    await store.change("SET", key, round(await town.now_ms()) + HOUR)

    empty = await buckets.take(wanted)

    assert isinstance(empty, BucketEmpty)
    assert empty.seconds <= 60
    await store.change("SET", key, round(await town.now_ms()) + 100_000)
    assert isinstance(await buckets.take(wanted), BucketTaken)


async def test_R52_a_bucket_dated_an_hour_ahead_refills(store, town):
    """Denied attempts set its time once: the next unit comes after one interval, not after the hour."""
    wanted = Bucket("test", "somebody", Rate(3, 0.2))
    buckets = Buckets(store)
    await buckets.take(wanted)
    (key,) = await store.command("KEYS", "*:rl:*")
    await store.change("SET", key, round(await town.now_ms()) + HOUR)

    assert isinstance(await buckets.take(wanted), BucketEmpty)
    assert 0 < int(await store.command("PTTL", key)) <= 600
    await asyncio.sleep(0.3)
    assert isinstance(await buckets.take(wanted), BucketTaken)


async def test_R52_refreshes_dated_an_hour_ahead_are_limited_once(town, monkeypatch):
    monkeypatch.setattr(sessions, "REFRESHES", Rate(3, 0.2))
    actor = await town.signed_in(await town.account())
    session = f"{keys.account(account_of(actor.user), town.store.partitions)}:s:{actor.session}"
    await town.store.change("HSET", session, "due", round(await town.now_ms()) + HOUR)

    assert isinstance(await rotate(town, actor, 0), RefreshLimited)
    await asyncio.sleep(0.3)
    assert isinstance(await rotate(town, actor, 0), Rotated)


async def test_R52_a_name_claimed_in_the_future_is_free(town):
    await town.store.change("HSET", keys.names(), "acme", f"acc_aaaaaaaaaaaa {round(await town.now_ms()) + HOUR}")
    assert (await town.account(name="Acme")).role == "account-administrator"


async def test_R52_a_registration_dated_ahead_ends_with_its_lease(town):
    side = keys.sidecars(0)
    await town.store.change("ZADD", side, round(await town.now_ms()) + HOUR, "dead")
    await town.store.change("HSET", f"{side}:lease", "dead", 300)

    words = [side, keys.feed(0), keys.partition_meta(0)]
    await town.store.run("register", words, ["living", "1000", "{}", ""])

    assert float(await town.store.command("ZSCORE", side, "dead")) <= await town.now_ms() + 500
    assert float(await town.store.command("ZSCORE", side, "living")) > await town.now_ms()


async def test_R52_an_epoch_changed_in_the_future_was_changed_by_now(town):
    """External tokens issued from now on are accepted: their `iat` is later."""
    admin = await town.account()
    home = f"{keys.account(admin.account, town.store.partitions)}:u:{admin.id}"
    await town.store.change("HSET", home, "tvt", round(await town.now_ms()) + HOUR)

    found = await town.users.record(admin.id)

    assert found.epoch_changed_at <= await town.now_ms() / 1000
    later = await town.users.change(OPERATOR, admin.id, name="Later")
    assert isinstance(later, Changed)
    assert later.record.epoch_changed_at == found.epoch_changed_at, "it is settled once"


async def test_R52_an_exporter_of_the_future_gives_way_after_one_lease(town):
    place = f"sc:{keys.tag(0)}:exporter"
    await town.store.change("SET", place, "dead", "PX", HOUR)
    waiting = Exporter(town.store, None, id="living", sign=None)

    assert await waiting._lease() is False
    assert int(await town.store.command("PTTL", place)) <= LEASE_MS
