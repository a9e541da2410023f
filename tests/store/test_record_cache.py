"""Live copies: used only while exact, never older than a seen revision, dropped when a change may be missed."""

import asyncio

import pytest

from sidecar.domain.users import Actor, Status
from sidecar.store import keys
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.integrity.partition_state import PartitionState, PartitionStates
from sidecar.store.live.change_feed import FeedEntry, FeedReset
from sidecar.store.live.record_cache import AGE_SPREAD, MAX_AGE, RecordCache

OPERATOR = Actor.operator()
LEASE = 1.0


@pytest.fixture
def regressions():
    return []


@pytest.fixture
def records(town, clock, regressions):
    """Records after a heartbeat of the feed and a registration; tests move the clock and call the feed's methods."""
    made = RecordCache(
        town.store, lease=LEASE, clock=clock.monotonic, on_regression=lambda *seen: regressions.append(seen)
    )
    made.flush(FeedReset(0, 0, new_data_set=False))
    refresh(made, clock)
    return made


def refresh(records, clock):
    records.registered(0, clock.monotonic())
    records.on_heartbeat(0, clock.monotonic())


def change(record, n=1, **more):
    told = {"kind": "user", "seq": record.revision, "epoch": record.epoch, "ack": False, **more}
    return FeedEntry(n=n, account=record.account, user=record.id, **told)


async def test_a_copy_is_used_exactly_until_its_lease_ends(town, records, clock):
    admin = await town.account()
    assert records.peek(admin.id) is None

    assert await records.read(admin.id) == admin
    assert records.peek(admin.id) == admin
    clock.advance(LEASE - 0.001)
    assert records.peek(admin.id) == admin
    clock.advance(0.001)
    assert records.peek(admin.id) is None
    refresh(records, clock)
    assert records.peek(admin.id) == admin


async def test_both_the_feed_and_the_registration_hold_the_lease(town, records, clock):
    admin = await town.account()
    await records.read(admin.id)

    clock.advance(0.9)
    records.on_heartbeat(0, clock.monotonic())
    clock.advance(0.2)
    assert records.peek(admin.id) is None  # registered 1.1 s ago
    records.registered(0, clock.monotonic())
    assert records.peek(admin.id) == admin
    clock.advance(0.85)
    assert records.peek(admin.id) is None  # heartbeat 1.05 s ago


async def test_without_a_lease_every_read_is_a_direct_one(town, clock):
    records = RecordCache(town.store, lease=LEASE, clock=clock.monotonic)
    admin = await town.account()

    assert await records.read(admin.id) == admin
    assert records.peek(admin.id) is None
    await town.users.change(OPERATOR, admin.id, name="New")
    assert (await records.read(admin.id)).name == "New"
    assert records.copies == 0


async def test_a_change_drops_the_copy_of_its_user_alone(town, records):
    admin = await town.account()
    member = await town.member(OPERATOR, admin.account, "b@example.com")
    await records.read(admin.id)
    await records.read(member.id)

    records.apply(0, change(member))

    assert records.peek(member.id) is None
    assert records.peek(admin.id) == admin


async def test_a_change_of_the_account_drops_all_of_its_copies(town, records):
    admin = await town.account()
    member = await town.member(OPERATOR, admin.account, "b@example.com")
    other = await town.account(name="Other", email="x@example.com")
    for record in (admin, member, other):
        await records.read(record.id)

    records.apply(0, FeedEntry(1, "account", admin.account, "", 0, 1, ack=True))

    assert [records.peek(record.id) is not None for record in (admin, member, other)] == [False, False, True]


async def test_a_flush_forgets_every_copy(town, records, clock):
    admin = await town.account()
    await records.read(admin.id)

    records.flush(FeedReset(0, 5, new_data_set=False))
    refresh(records, clock)

    assert records.copies == 0
    assert records.position(admin.account) == 5


async def test_a_read_that_a_change_overtook_is_answered_but_not_kept(town, records, monkeypatch):
    admin = await town.account()
    reading = asyncio.create_task(records.read(admin.id))
    await asyncio.sleep(0)  # its fetch is in flight
    records.apply(0, change(admin))

    assert await reading == admin
    assert records.copies == 0


@pytest.mark.parametrize("soil", ["account", "flush"])
async def test_a_read_overtaken_by_a_flush_or_change_is_not_kept(town, records, clock, soil):
    admin = await town.account()
    reading = asyncio.create_task(records.read(admin.id))
    await asyncio.sleep(0)
    if soil == "flush":
        records.flush(FeedReset(0, 0, new_data_set=False))
        refresh(records, clock)
    else:
        records.apply(0, FeedEntry(1, "account", admin.account, "", 0, 1, ack=False))

    assert await reading == admin
    assert records.copies == 0


async def test_readers_at_once_share_one_flight_but_never_a_soiled_one(town, records, monkeypatch):
    admin = await town.account()
    asked = 0
    run = town.store.run

    async def counted(name, at, args, **more):
        nonlocal asked
        asked += len(args["uids"])
        return await run(name, at, args, **more)

    monkeypatch.setattr(town.store, "run", counted)
    assert await asyncio.gather(*(records.read(admin.id) for _ in range(50))) == [admin] * 50
    assert asked == 1

    records.apply(0, change(admin))
    first = asyncio.create_task(records.read(admin.id))
    await asyncio.sleep(0)
    records.apply(0, change(admin))
    second = asyncio.create_task(records.read(admin.id))
    assert await asyncio.gather(first, second) == [admin, admin]
    assert asked == 3


async def test_a_cancelled_reader_does_not_end_the_shared_read(town, records):
    admin = await town.account()
    first = asyncio.create_task(records.read(admin.id))
    await asyncio.sleep(0)
    second = asyncio.create_task(records.read(admin.id))
    await asyncio.sleep(0)

    first.cancel()

    assert await second == admin
    assert first.cancelled()


async def test_fresh_skips_the_copy(town, records):
    admin = await town.account()
    await records.read(admin.id)
    await town.users.change(OPERATOR, admin.id, name="New")

    assert (await records.read(admin.id)).name == "Ada"  # the change has not arrived yet
    assert (await records.read(admin.id, fresh=True)).name == "New"
    assert records.peek(admin.id).name == "New"


async def test_nobody_is_none(town, records):
    admin = await town.account()
    assert await records.read(town.uid(admin.account)) is None
    assert await records.read("nonsense") is None


async def test_copies_are_bounded(town, clock):
    records = RecordCache(town.store, lease=LEASE, clock=clock.monotonic, max_copies=2, max_floors=2)
    records.flush(FeedReset(0, 0, new_data_set=False))
    refresh(records, clock)
    people = [await town.account(name=f"A{number}") for number in range(4)]
    for record in people:
        await records.read(record.id)

    assert records.copies == 2
    assert len(records._floors) <= 2
    assert records.peek(people[3].id) is not None


# A store that went back in time ---------------------------------------------------------------------------------------


async def forget(town, record, **fields):
    """Replace newer values by older ones, as a fail-over to an older copy does."""
    home = keys.account(record.account, town.store.partitions)
    words = [word for pair in fields.items() for word in pair]
    await town.store.change("HSET", f"{home}:u:{record.id}", *words)


async def test_an_older_role_than_the_one_seen_is_refused_and_reported(town, records, regressions):
    admin = await town.account()
    member = await town.member(OPERATOR, admin.account, "b@example.com", role="developer")
    demoted = (await town.users.change(OPERATOR, member.id, role="marketer")).record
    records.apply(0, change(demoted))
    await forget(town, member, role="developer", rv=member.revision)

    with pytest.raises(StoreUnavailableError, match="regressed"):
        await records.read(member.id)

    assert regressions == [(member.id, member.epoch, demoted.revision)]


async def test_an_older_epoch_than_the_one_read_is_refused(town, records):
    admin = await town.account()
    await town.users.sign_out_everywhere(admin.id, OPERATOR)
    await records.read(admin.id)
    await forget(town, admin, tv=1)

    with pytest.raises(StoreUnavailableError, match="regressed"):
        await records.read(admin.id, fresh=True)


async def test_a_removed_user_does_not_come_back(town, records):
    admin = await town.account()
    member = await town.member(OPERATOR, admin.account, "b@example.com")
    home = f"{keys.account(member.account, town.store.partitions)}:u:{member.id}"
    kept = await town.store.pairs("HGETALL", home)
    await town.users.remove(OPERATOR, member.id)
    records.apply(0, change(member, kind="removed", seq=1))
    assert await records.read(member.id) is None

    await town.store.change("HSET", home, *[word for pair in kept for word in pair])

    with pytest.raises(StoreUnavailableError, match="regressed"):
        await records.read(member.id)


async def test_a_user_missing_from_an_older_account_is_not_removed(town, records):
    admin = await town.account()
    member = await town.member(OPERATOR, admin.account, "b@example.com")
    records.apply(0, change(member))
    home = keys.account(member.account, town.store.partitions)
    await town.store.change("DEL", f"{home}:u:{member.id}")
    await town.store.change("HSET", home, "seq", "1")

    with pytest.raises(StoreUnavailableError, match="regressed"):
        await records.read(member.id)


async def test_a_store_whose_feed_is_behind_ours_is_not_believed(town, records):
    admin = await town.account()
    records.apply(0, change(admin, n=50))

    with pytest.raises(StoreUnavailableError, match="behind the feed"):
        await records.read(admin.id)


async def test_after_a_restore_counts_start_anew_but_epochs_do_not(town, records, clock):
    admin = await town.account()
    record = (await town.users.sign_out_everywhere(admin.id, OPERATOR)).record
    records.apply(0, change(record, seq=1000))
    records.flush(FeedReset(0, 0, new_data_set=True))
    refresh(records, clock)

    assert (await records.read(admin.id)).epoch == 2
    await forget(town, admin, tv=1, rv=5000)
    with pytest.raises(StoreUnavailableError, match="regressed"):
        await records.read(admin.id, fresh=True)


async def test_R46_an_unproven_store_is_neither_copied_nor_read(town, clock):
    states = PartitionStates(clock=clock.monotonic, later=lambda _delay, _callback: None)
    records = RecordCache(town.store, lease=LEASE, clock=clock.monotonic, states=states)
    refresh(records, clock)
    admin = await town.account()
    await records.read(admin.id)

    for state in (PartitionState.REFUSING, PartitionState.CHANGED, PartitionState.REGRESSED, PartitionState.RECOVERING):
        records.rejected(0)
        states.report(0, state, "its replicas are gone")

        assert records.peek(admin.id) is None
        with pytest.raises(StoreUnavailableError, match="its replicas are gone") as refused:
            await records.read(admin.id)
        assert refused.value.cause == f"store_{state}"

    states.report(0, PartitionState.OK)
    refresh(records, clock)
    assert records.peek(admin.id) == admin


async def test_a_suspended_account_is_seen_in_every_record(town, records):
    admin = await town.account()
    await records.read(admin.id)
    await town.accounts.set_status(admin.account, Status.SUSPENDED, OPERATOR)
    records.apply(0, FeedEntry(2, "account", admin.account, "", 0, 2, ack=True))

    assert (await records.read(admin.id)).status is Status.SUSPENDED


async def test_a_lost_change_of_one_user_is_nobody_elses(town, records):
    admin = await town.account()
    member = await town.member(OPERATOR, admin.account, "b@example.com", role="developer")
    for role in ("marketer", "developer", "marketer"):
        records.apply(0, change((await town.users.change(OPERATOR, member.id, role=role)).record))
    home = keys.account(member.account, town.store.partitions)
    await town.store.change("HSET", home, "seq", member.revision)
    await forget(town, member, role="developer", rv=member.revision)

    with pytest.raises(StoreUnavailableError, match="regressed"):
        await records.read(member.id)
    assert await records.read(admin.id) == admin


async def test_a_repaired_user_is_accepted_from_its_next_change(town, records, regressions):
    admin = await town.account()
    member = await town.member(OPERATOR, admin.account, "b@example.com", role="developer")
    for role in ("marketer", "developer", "marketer"):
        records.apply(0, change((await town.users.change(OPERATOR, member.id, role=role)).record))
    home = keys.account(member.account, town.store.partitions)
    await town.store.change("HSET", home, "seq", member.revision)
    await forget(town, member, role="developer", rv=member.revision)
    with pytest.raises(StoreUnavailableError):
        await records.read(member.id)

    uid, epoch, seen = regressions[0]
    await town.users.raise_epoch(uid, epoch, seen=seen)
    with pytest.raises(StoreUnavailableError):  # no event about it since
        await records.read(member.id)
    changed = (await town.users.change(OPERATOR, member.id, role="accountant")).record
    records.apply(0, change(changed))
    assert await records.read(member.id) == changed


async def test_a_user_repair_does_not_cover_a_lost_suspension(town, records, regressions):
    admin = await town.account()
    suspended = await town.accounts.set_status(admin.account, Status.SUSPENDED, OPERATOR)
    records.apply(0, change(admin, seq=5))
    records.apply(0, FeedEntry(suspended.position.n, "account", admin.account, "", 0, 2, ack=True))
    await town.store.change("HSET", keys.account(admin.account, town.store.partitions), "st", "active", "seq", "1")

    with pytest.raises(StoreUnavailableError, match="regressed"):
        await records.read(admin.id)
    assert regressions == []


async def test_R47_a_copy_is_read_anew_after_thirty_seconds_at_most(town, records, clock):
    """A change beside the feed, by hand or by a fault, is seen by then."""
    admin = await town.account()
    await records.read(admin.id)
    await town.store.change("HSET", f"{keys.account(admin.account, 1)}:u:{admin.id}", "st", "suspended")
    for _ in range(int(MAX_AGE - AGE_SPREAD) - 1):
        clock.advance(1)
        refresh(records, clock)
        assert records.peek(admin.id) == admin
    clock.advance(AGE_SPREAD + 1)
    refresh(records, clock)

    assert records.peek(admin.id) is None
    assert (await records.read(admin.id)).status is Status.SUSPENDED


async def test_R47_an_unchanged_copy_read_again_is_the_same_object(town, records, clock):
    """Decisions that were made with it stay valid: nothing has changed."""
    admin = await town.account()
    first = await records.read(admin.id)
    clock.advance(MAX_AGE)
    refresh(records, clock)
    assert records.peek(admin.id) is None

    await records.read(admin.id)

    assert records.peek(admin.id) is first
