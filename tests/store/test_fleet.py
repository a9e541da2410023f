"""The fleet: a change is applied everywhere when every sidecar has acknowledged it, or when the longest lease has
expired.
"""

import asyncio
import contextlib
import time

import pytest

from sidecar.domain.users import Actor
from sidecar.store import keys
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.integrity.partition_state import PartitionStates
from sidecar.store.live.change_feed import FeedReset
from sidecar.store.live.fleet import MARGIN, Fleet
from sidecar.store.live.replica import RecordReplica
from sidecar.store.outcomes import Position
from sidecar.store.sessions import SessionGone

OPERATOR = Actor.operator()
LEASE = 1.0
SIDE = keys.sidecars(0)


class Holder:
    """A holder that may use copies only while registered."""

    def __init__(self):
        self.said = []

    def registered(self, partition, at):
        self.said.append((partition, at))

    def rejected(self, partition):
        self.said.append((partition, "rejected"))


@pytest.fixture
def holder():
    return Holder()


@pytest.fixture
async def make_fleet(town, clock, holder):
    """Sidecars of one fleet; their waiting moves the clock and gives the others a turn. The feed is at change 5."""
    await town.store.change("SET", f"{keys.feed(0)}:n", 5)

    def make(name, lease=LEASE):
        async def sleep(seconds):
            clock.advance(seconds)
            await asyncio.sleep(0)

        states = PartitionStates(clock=clock.monotonic, later=lambda _delay, _callback: None)
        return Fleet(town.store, holder, id=name, lease=lease, clock=clock.monotonic, states=states, sleep=sleep)

    return make


async def trusted(fleet, clock):
    """Registered, following, and connected for long enough to conclude that a sidecar is absent."""
    await fleet.register()
    fleet.flush(FeedReset(0, 0, new_data_set=False))
    clock.advance(LEASE + MARGIN)
    return fleet


async def test_a_registration_is_dated_by_when_it_was_sent(make_fleet, holder, clock):
    fleet = make_fleet("a")
    sent = clock.monotonic()

    await fleet.register()

    assert holder.said == [(0, sent)]


async def test_the_fleet_lists_who_lives_and_what_each_says(make_fleet, town):
    one, two = make_fleet("a"), make_fleet("b", lease=0.5)
    one.set_facts(generation="g1", keys="k1")
    await one.register()
    await two.register()
    await two.acknowledge(0, 7)

    assert await one.members() == [
        {"id": "a", "generation": "g1", "keys": "k1", "applied": 0},
        {"id": "b", "applied": 7},
    ]
    await two.leave()
    assert [member["id"] for member in await one.members()] == ["a"]


async def test_a_change_that_all_have_applied_is_complete_at_once(make_fleet, clock):
    one, two = await trusted(make_fleet("a"), clock), make_fleet("b")
    await two.register()
    await one.acknowledge(0, 5)
    await two.acknowledge(0, 6)

    done = await one.wait_applied(Position(0, 5))

    assert (done.complete, done.sidecars, done.waited_ms) == (True, 2, 0)


async def test_it_waits_for_the_one_that_has_not_applied_it(make_fleet, clock):
    one, two = await trusted(make_fleet("a"), clock), make_fleet("b")
    await two.register()
    await one.acknowledge(0, 5)
    waiting = asyncio.create_task(one.wait_applied(Position(0, 5)))
    for _ in range(3):
        await asyncio.sleep(0.001)
    assert not waiting.done()

    await two.acknowledge(0, 5)

    done = await waiting
    assert (done.complete, done.sidecars) == (True, 2)
    assert done.waited_ms < (LEASE + MARGIN) * 1000


async def test_R31_a_silent_sidecar_costs_at_most_the_longest_lease(make_fleet, clock):
    one, two = await trusted(make_fleet("a"), clock), make_fleet("b", lease=3.0)
    await two.register()
    await one.acknowledge(0, 5)

    done = await one.wait_applied(Position(0, 5))

    assert done.complete
    assert 3000 + MARGIN * 1000 <= done.waited_ms <= 3000 + MARGIN * 1000 + 50


async def test_R31_completeness_is_never_concluded_from_absence(make_fleet, clock):
    """A store on a new connection has no registrations yet: that proves nothing."""
    fleet = make_fleet("a")
    done = await fleet.wait_applied(Position(0, 5))
    assert (done.complete, done.sidecars) == (True, 0)
    assert done.waited_ms >= (LEASE + MARGIN) * 1000

    await trusted(fleet, clock)
    await fleet.acknowledge(0, 5)
    clock.advance(0.001)
    assert (await fleet.wait_applied(Position(0, 5))).waited_ms == 0
    fleet.flush(FeedReset(0, 5, new_data_set=False))  # a new connection, data set or master
    assert (await fleet.wait_applied(Position(0, 5))).waited_ms >= (LEASE + MARGIN) * 1000 - 1


@pytest.mark.parametrize("older", [None, 4], ids=["emptied", "older"])
async def test_R31_a_store_without_the_change_proves_nothing(make_fleet, clock, town, older):
    """Its registrations are gone or old. The feed notices later, so the reply itself must show it."""
    one, two = await trusted(make_fleet("a"), clock), make_fleet("b")
    await two.register()
    await town.store.change("DEL", keys.sidecars(0), f"{keys.feed(0)}:n")
    if older is not None:
        await town.store.change("SET", f"{keys.feed(0)}:n", older)

    done = await one.wait_applied(Position(0, 5))

    assert not done.complete
    assert done.waited_ms >= (LEASE + MARGIN) * 1000


async def test_R31_a_store_change_during_the_wait_is_incomplete(make_fleet, clock):
    one, two = await trusted(make_fleet("a"), clock), make_fleet("b")
    await two.register()
    waiting = asyncio.create_task(one.wait_applied(Position(0, 5)))
    await asyncio.sleep(0.001)
    one.flush(FeedReset(0, 4, new_data_set=False))

    assert not (await waiting).complete


async def test_R31_a_write_unconfirmed_by_replicas_is_incomplete(make_fleet, clock):
    fleet = await trusted(make_fleet("a"), clock)
    await fleet.acknowledge(0, 5)
    incomplete: list[bool] = []
    fleet.on_incomplete = lambda: incomplete.append(True)

    assert (await fleet.wait_applied(Position(0, 5))).complete
    assert incomplete == []
    assert not (await fleet.wait_applied(Position(0, 5, durable=False))).complete
    assert incomplete == [True]


async def test_R31_a_store_that_is_out_leaves_it_incomplete(make_fleet, clock, town, monkeypatch):
    fleet = await trusted(make_fleet("a"), clock)

    async def out(*args, **more):
        raise StoreUnavailableError("out")

    monkeypatch.setattr(town.store, "run", out)
    done = await fleet.wait_applied(Position(0, 5))

    assert not done.complete
    assert done.waited_ms >= (LEASE + MARGIN) * 1000


async def test_only_a_rejected_registration_is_reported(make_fleet, holder, town, monkeypatch):
    fleet = make_fleet("a")
    problem = StoreUnavailableError("NOREPLICAS", answered=True, refused=True)

    async def out(*args, **more):
        raise problem

    monkeypatch.setattr(town.store, "run", out)
    await fleet.register()
    problem = StoreUnavailableError("timeout")
    await fleet.register()

    assert holder.said == [(0, "rejected")]


async def test_what_belongs_to_no_account_is_announced(make_fleet, town):
    (position,) = await make_fleet("a").announce("keys")

    event = (await town.feed())[-1]
    assert (event["k"], event["n"], event["ack"], event["a"]) == ("keys", str(position.n), "1", "")


async def test_a_sidecar_forgotten_for_an_hour_leaves_no_trace(make_fleet, town):
    await make_fleet("old").register()
    await town.store.change("ZADD", SIDE, 1, "old")
    await make_fleet("new").register()

    assert await town.store.command("HKEYS", f"{SIDE}:told") == ["new"]
    assert await town.store.command("HKEYS", f"{SIDE}:lease") == ["new"]


# The fleet as a whole, alive ------------------------------------------------------------------------------------------


async def eventually(happens, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def living(store, count, lease=0.3):
    copies = [RecordReplica(store, id=f"s{number}", lease=lease, clock=time.monotonic) for number in range(count)]
    tasks = [asyncio.create_task(copy.run()) for copy in copies]
    try:
        await eventually(lambda: all(copy.records.lag() < lease for copy in copies))
        yield copies
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_R31_who_leaves_uses_no_copy_from_then_on(town, monkeypatch):
    """Its listeners may respond for a while, and no change waits for it any more."""
    admin = await town.account()
    async with living(town.store, 1, lease=30.0) as (one,):
        seen_at_leaving, leave = [], one.fleet.leave

        async def leaving():
            seen_at_leaving.append(one.records.peek(admin.id))
            await leave()

        monkeypatch.setattr(one.fleet, "leave", leaving)
        await one.records.read(admin.id)
        assert one.records.peek(admin.id) == admin
    assert seen_at_leaving == [None]
    assert (one.records.live(admin.account), await one.records.read(admin.id)) == (False, admin)
    assert one.records.peek(admin.id) is None


async def test_a_complete_revocation_leaves_no_sidecar_an_old_record(town):
    admin = await town.account()
    async with living(town.store, 5, lease=2.0) as copies:
        for epoch in range(2, 12):
            for copy in copies:
                assert (await copy.records.read(admin.id)).epoch == epoch - 1
            changed = await town.users.sign_out_everywhere(admin.id, OPERATOR)
            revocation = await copies[0].fleet.wait_applied(changed.position)
            assert revocation.complete
            assert revocation.sidecars == 5
            for copy in copies:
                held = copy.records.peek(admin.id)
                assert held is None or held.epoch == epoch


async def test_R15_a_session_that_ended_is_gone_from_every_copy(town):
    admin = await town.account()
    actor = await town.signed_in(admin)
    async with living(town.store, 2) as (one, two):
        assert actor.session in (await two.records.read(admin.id)).sessions
        ended = await town.sessions.end(admin.id, [actor.session], OPERATOR)
        assert (await one.fleet.wait_applied(ended.position)).complete
        assert actor.session not in (await two.records.read(admin.id)).sessions


@pytest.mark.slow
async def test_R15_a_session_ended_by_a_21st_leaves_every_cache(town):
    admin = await town.account()
    first = await town.signed_in(admin)
    for _ in range(19):
        await town.signed_in(admin)
    async with living(town.store, 2, lease=5.0) as (one, two):
        assert first.session in (await two.records.read(admin.id)).sessions
        opened = await town.sessions.open(admin.id, expected_epoch=admin.epoch, session=town.session())
        assert opened.ended
        await one.fleet.wait_applied(opened.position)
        held = two.records.peek(admin.id)
        assert held is None or first.session not in held.sessions
    assert (await town.audit(admin.account))[-2]["action"] == "session.ended"


@pytest.mark.slow
async def test_R14_a_session_that_reuse_ended_is_gone_from_every_copy(town):
    admin = await town.account()
    actor = await town.signed_in(admin)
    for counter in range(2):
        await town.sessions.rotate(admin.id, actor.session, counter, ttl=1e6)
    async with living(town.store, 2, lease=5.0) as (one, two):
        assert actor.session in (await two.records.read(admin.id)).sessions
        reused = await town.sessions.rotate(admin.id, actor.session, 0, ttl=1e6)
        await one.fleet.wait_applied(reused.position)
        held = two.records.peek(admin.id)
        assert held is None or actor.session not in held.sessions


async def test_R31_what_is_over_already_says_which_change_to_wait_for(town):
    """A sidecar that has started since has no older copy: no change waits for its lease."""
    admin = await town.account()
    actor = await town.signed_in(admin)
    assert (await town.sessions.end(admin.id, [town.sid()], OPERATOR)).position.n == 0, "no session has ended yet"
    ended = await town.sessions.end(admin.id, [actor.session], OPERATOR)
    await town.signed_in(admin)  # a later change without an acknowledgement
    gone = await town.sessions.end(admin.id, [actor.session], OPERATOR)
    assert (gone, gone.position) == (SessionGone(), ended.position)
    same = await town.users.change(OPERATOR, admin.id, role=admin.role)
    assert same.position == ended.position
    async with living(town.store, 2, lease=30.0) as (one, _):
        await eventually(lambda: one.fleet._trusted_from < float("inf"))
        one.fleet._trusted_from = 0.0  # as after 30 s
        revocation = await asyncio.wait_for(one.fleet.wait_applied(gone.position), 5)
        assert (revocation.complete, revocation.sidecars) == (True, 2)


async def test_a_sidecar_that_ends_leaves_the_fleet(town):
    async with living(town.store, 2) as (one, _):
        assert len(await one.fleet.members()) == 2
    assert await one.fleet.members() == []


async def test_a_silent_store_ends_the_use_of_copies_with_the_lease(hurried_town):
    """The server stops responding: the copies last as long as the lease, then they are unknown."""
    admin = await hurried_town.account()
    async with living(hurried_town.store, 1) as (one,):
        await one.records.read(admin.id)
        await hurried_town.store.change("CLIENT", "PAUSE", "1500", "ALL")
        last_word = time.monotonic()
        while True:
            asked_at = time.monotonic()
            if one.records.peek(admin.id) is None:
                break
            assert asked_at < last_word + 0.3
            await asyncio.sleep(0.002)
        with pytest.raises(StoreUnavailableError):
            await one.records.read(admin.id)
        await eventually(lambda: one.records.lag() < 0.3)
        assert (await one.records.read(admin.id)).epoch == 1
