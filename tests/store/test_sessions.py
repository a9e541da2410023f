"""Sessions: rotation that accepts a retry and detects a theft, at most twenty per user, revoked by the epoch."""

import asyncio

import pytest

from sidecar.domain.users import Actor, Status
from sidecar.store import keys, sessions
from sidecar.store.outcomes import ActorChanged, NoUser, Stale
from sidecar.store.rate_limiter import Rate
from sidecar.store.sessions import Ended, Opened, RefreshLimited, Reused, Rotated, SessionGone, StoreBehind
from sidecar.tokens.ids import account_of

OPERATOR = Actor.operator()
MONTH = 30 * 86400.0


async def rotate(town, actor, counter, ttl=MONTH, **more):
    return await town.sessions.rotate(actor.user, actor.session, counter, ttl=ttl, **more)


@pytest.fixture
def few(monkeypatch):
    """A bucket that a test can empty."""
    monkeypatch.setattr(sessions, "REFRESHES", Rate(units=3, seconds=3600))


async def test_R16_refreshes_of_a_session_are_rate_limited(town, few):
    admin = await town.account()
    actor, other = await town.signed_in(admin), await town.signed_in(admin)
    for counter in range(3):
        assert isinstance(await rotate(town, actor, counter), Rotated)
    limited = await rotate(town, actor, 3)
    assert isinstance(limited, RefreshLimited)
    assert 3500 < limited.seconds <= 3600
    events = len(await town.feed())
    assert isinstance(await rotate(town, actor, 3), RefreshLimited)
    assert len(await town.feed()) == events, "no change, and no event for the fleet"
    assert isinstance(await rotate(town, other, 0), Rotated), "another session of the same user"
    assert actor.session in (await town.users.record(admin.id)).sessions


async def test_R16_retries_within_the_grace_count_as_refreshes(town, few):
    actor = await town.signed_in(await town.account())
    assert [type(await rotate(town, actor, 0)) for _ in range(5)] == [Rotated] * 3 + [RefreshLimited] * 2


async def test_R14_reuse_ends_a_session_also_when_its_bucket_is_empty(town, few):
    actor = await town.signed_in(await town.account())
    for counter in range(3):
        await rotate(town, actor, counter)
    assert isinstance(await rotate(town, actor, 3), RefreshLimited)
    assert isinstance(await rotate(town, actor, 0), Reused)


async def test_R52_a_bucket_dated_ahead_locks_no_session_out(town, few):
    actor = await town.signed_in(await town.account())
    home = keys.account(account_of(actor.user), town.store.partitions)
    await town.store.change("HSET", f"{home}:s:{actor.session}", "due", str(int(await town.now_ms()) + 10**12))
    limited = await rotate(town, actor, 0)
    assert isinstance(limited, RefreshLimited)
    assert limited.seconds <= 3600


async def test_a_session_opens_under_the_epoch_that_was_compared(town):
    admin = await town.account()
    session = town.session(address="192.0.2.1", agent="curl/8")

    opened = await town.sessions.open(admin.id, expected_epoch=1, session=session)

    assert isinstance(opened, Opened)
    assert set(opened.record.sessions) == {session.id}
    (listed,) = await town.sessions.listing(admin.id)
    assert (listed.id, listed.address, listed.agent) == (session.id, "192.0.2.1", "curl/8")
    assert listed.expires_at == opened.record.sessions[session.id].ends_at
    assert abs(listed.expires_at - listed.created_at - MONTH) <= 1
    assert await town.sessions.open(admin.id, expected_epoch=0, session=town.session()) == Stale(1)
    assert await town.sessions.open(admin.id, expected_epoch=2, session=town.session()) == Stale(1)


async def test_only_active_users_of_active_accounts_open_sessions(town):
    admin = await town.account()
    member = await town.member(OPERATOR, admin.account, "b@example.com")
    invited = await town.invite(OPERATOR, admin.account, "c@example.com")
    await town.users.change(OPERATOR, member.id, status=Status.SUSPENDED)

    async def open_(uid, epoch=1):
        return await town.sessions.open(uid, expected_epoch=epoch, session=town.session())

    assert await open_(member.id) == NoUser()
    assert await open_(invited.member.record.id, 0) == NoUser()
    assert await open_("nonsense") == NoUser()
    await town.accounts.set_status(admin.account, Status.SUSPENDED, OPERATOR)
    assert await open_(admin.id) == NoUser()


async def test_R15_the_oldest_of_more_than_twenty_sessions_ends(town):
    admin = await town.account()
    opened = [await town.signed_in(await town.users.record(admin.id)) for _ in range(23)]

    live = (await town.users.record(admin.id)).sessions

    assert set(live) == {actor.session for actor in opened[3:]}
    assert await rotate(town, opened[0], 0) == SessionGone()
    assert isinstance(await rotate(town, opened[22], 0), Rotated)


async def test_R15_refreshes_do_not_extend_the_absolute_lifetime(town):
    admin = await town.account()
    session = town.session(ttl=100.0, absolute_ttl=0.08)
    opened = await town.sessions.open(admin.id, expected_epoch=1, session=session)
    started = await town.now_ms()

    rotated = await town.sessions.rotate(admin.id, session.id, 0, ttl=100.0)
    assert isinstance(rotated, Rotated)
    assert rotated.record.sessions[session.id].ends_at == opened.record.sessions[session.id].ends_at
    await town.until(started + 85)

    assert await town.sessions.rotate(admin.id, session.id, 1, ttl=100.0) == SessionGone()
    assert (await town.users.record(admin.id)).sessions == {}
    assert await town.sessions.listing(admin.id) == []


async def test_a_refresh_slides_the_end_of_the_session(town):
    admin = await town.account()
    session = town.session(ttl=60.0)
    opened = await town.sessions.open(admin.id, expected_epoch=1, session=session)

    rotated = await town.sessions.rotate(admin.id, session.id, 0, ttl=600.0, address="192.0.2.9")

    assert isinstance(rotated, Rotated)
    assert rotated.counter == 1
    assert rotated.record.sessions[session.id].ends_at >= opened.record.sessions[session.id].ends_at + 539
    (listed,) = await town.sessions.listing(admin.id)
    assert listed.address == "192.0.2.9"
    assert (await town.feed())[-1]["u"] == admin.id  # the copies elsewhere must have the new end


async def test_R14_a_retry_within_the_grace_gets_the_same_successor(town):
    admin = await town.account()
    actor = await town.signed_in(admin)

    outcomes = await asyncio.gather(*(rotate(town, actor, 0) for _ in range(10)))

    assert {type(outcome) for outcome in outcomes} == {Rotated}
    assert {outcome.counter for outcome in outcomes} == {1}
    before = len(await town.feed())
    assert isinstance(await rotate(town, actor, 0), Rotated)
    assert len(await town.feed()) == before


async def test_R14_an_old_token_after_its_successor_ends_the_session(town):
    admin = await town.account()
    actor = await town.signed_in(admin)
    other = await town.signed_in(await town.users.record(admin.id))
    assert (await rotate(town, actor, 0)).counter == 1
    assert (await rotate(town, actor, 1)).counter == 2

    reused = await rotate(town, actor, 0)

    assert isinstance(reused, Reused)
    assert await rotate(town, actor, 2) == SessionGone()
    assert set((await town.users.record(admin.id)).sessions) == {other.session}
    event = (await town.feed())[-1]
    assert (event["u"], event["ack"]) == (admin.id, "1")
    assert (await town.audit(admin.account))[-1]["action"] == "session.reused"


async def test_R14_after_the_grace_the_older_token_ends_the_session(town, monkeypatch):
    monkeypatch.setattr("sidecar.store.sessions.GRACE", 0.01)
    admin = await town.account()
    actor = await town.signed_in(admin)
    assert (await rotate(town, actor, 0)).counter == 1
    await town.until(await town.now_ms() + 15)

    assert isinstance(await rotate(town, actor, 0), Reused)


async def test_a_valid_token_ahead_of_the_store_never_succeeds(town):
    admin = await town.account()
    actor = await town.signed_in(admin)

    assert await rotate(town, actor, 3) == StoreBehind()
    assert isinstance(await rotate(town, actor, 0), Rotated)


async def test_R14_one_script_compares_status_epoch_and_owner(town):
    admin = await town.account()
    member = await town.member(OPERATOR, admin.account, "b@example.com")
    actor = await town.signed_in(member)

    assert await town.sessions.rotate(admin.id, actor.session, 0, ttl=60) == SessionGone()
    assert await town.sessions.rotate("nonsense", actor.session, 0, ttl=60) == SessionGone()
    assert await town.sessions.rotate(member.id, town.sid(), 0, ttl=60) == SessionGone()
    await town.accounts.set_status(admin.account, Status.SUSPENDED, OPERATOR)
    assert await rotate(town, actor, 0) == SessionGone()
    await town.accounts.set_status(admin.account, Status.ACTIVE, OPERATOR)
    assert isinstance(await rotate(town, actor, 0), Rotated)
    await town.users.sign_out_everywhere(member.id, OPERATOR)
    assert await rotate(town, actor, 1) == SessionGone()


async def test_after_a_password_change_no_older_refresh_token_works(town):
    admin = await town.account()
    actors = [await town.signed_in(await town.users.record(admin.id)) for _ in range(3)]
    await town.users.change_password(
        admin.id, expected_epoch=1, password_hash="n", session=town.session(), actor=actors[0]
    )

    assert [await rotate(town, actor, 0) for actor in actors] == [SessionGone()] * 3


async def test_a_rotation_racing_a_password_change_never_survives_it(town):
    admin = await town.account()
    epoch = 1
    for _ in range(20):
        actor = await town.signed_in(await town.users.record(admin.id))
        rotated, changed = await asyncio.gather(
            rotate(town, actor, 0),
            town.users.change_password(
                admin.id, expected_epoch=epoch, password_hash="n", session=None, actor=Actor.bearer(admin.id)
            ),
        )
        epoch = changed.record.epoch
        assert isinstance(rotated, Rotated | SessionGone)
        assert await rotate(town, actor, 1) == SessionGone()
        assert (await town.users.record(admin.id)).sessions == {}


async def test_R15_ending_sessions_is_an_acknowledged_record_change(town):
    admin = await town.account()
    actors = [await town.signed_in(await town.users.record(admin.id)) for _ in range(4)]

    ended = await town.sessions.end(admin.id, [actors[0].session, town.sid()], actors[1])

    assert isinstance(ended, Ended)
    assert ended.sessions == (actors[0].session,)
    assert set(ended.record.sessions) == {actor.session for actor in actors[1:]}
    event = (await town.feed())[-1]
    assert (event["n"], event["ack"]) == (str(ended.position.n), "1")
    assert await town.sessions.end(admin.id, [actors[0].session], actors[1]) == SessionGone()
    assert await town.sessions.end(admin.id, [], actors[1]) == SessionGone()
    assert await town.sessions.end(admin.id, [actors[1].session], actors[0]) == ActorChanged()

    others = await town.sessions.end_others(admin.id, actors[1].session, actors[1])
    assert isinstance(others, Ended)
    assert set(others.sessions) == {actors[2].session, actors[3].session}
    assert set(others.record.sessions) == {actors[1].session}
    assert await town.sessions.end_others(admin.id, actors[1].session, actors[1]) == SessionGone()
    assert [session.id for session in await town.sessions.listing(admin.id)] == [actors[1].session]


async def test_nobody_ends_the_session_of_somebody_else_by_its_id(town):
    admin = await town.account()
    member = await town.member(OPERATOR, admin.account, "b@example.com")
    actor, victim = await town.signed_in(admin), await town.signed_in(member)

    assert await town.sessions.end(admin.id, [victim.session], actor) == SessionGone()
    assert isinstance(await rotate(town, victim, 0), Rotated)
