"""Users: permitted changes, their side effects, and an administrator in every account."""

import asyncio
import dataclasses

import pytest

from sidecar.domain.users import ADMINISTRATOR, Actor, Status
from sidecar.store import keys
from sidecar.store.outcomes import (
    ActorChanged,
    Changed,
    LastAdmin,
    NoAccount,
    NoUser,
    Removed,
    Stale,
    StillInvited,
    Unchanged,
)
from sidecar.store.scripting import run_write
from sidecar.store.sessions import Opened
from sidecar.store.users import PasswordChanged
from sidecar.tokens.ids import new_account_id, new_user_id

OPERATOR = Actor.operator()


async def test_a_record_is_read_as_it_is(town):
    admin = await town.account(email="ada@example.com")
    actor = await town.signed_in(admin)

    record = await town.users.record(admin.id)

    assert (record.id, record.account, record.email, record.name) == (admin.id, admin.account, "ada@example.com", "Ada")
    assert (record.role, record.status, record.epoch) == (ADMINISTRATOR, Status.ACTIVE, 1)
    assert record.revision > admin.revision
    assert set(record.sessions) == {actor.session}


@pytest.mark.parametrize("uid", ["", "usr_", "nobody", "usr_aaaaaaaaaaaa_bbbbbbbbbbbb", "usr_aaaaaaaaaaaa_BBBB"])
async def test_nobody_is_none(town, uid):
    assert await town.users.record(uid) is None
    assert await town.users.credentials_of(uid) is None
    assert await town.users.change(OPERATOR, uid, name="x") == NoUser()
    assert await town.users.remove(OPERATOR, uid) == NoUser()
    assert await town.users.sign_out_everywhere(uid, OPERATOR) == NoUser()
    assert not await town.users.rehash(uid, expected_epoch=1, password_hash="h")


async def test_R9_only_a_link_known_as_mailed_verifies_the_email(town):
    admin = await town.account()
    for reset in (
        {"maker": ""},
        {"maker": "", "shown": None},
        {"maker": "", "shown": True},
        {"maker": "", "shown": False},
    ):
        record = await town.users.record(admin.id)
        reply = await run_write(
            town.store, "user_password", admin.account, OPERATOR,
            uid=admin.id, epoch=str(record.epoch), pw="hash", reset=reset,
        )  # fmt: skip
        assert reply["o"] == "changed"
        assert (await town.users.record(admin.id)).email_verified is (reset.get("shown") is False)


async def test_names_keep_every_letter(town):
    admin = await town.account()
    name = 'Zoë "Ω" O\'Neill \\ 漢字 🦊 {p00} %s'

    changed = await town.users.change(OPERATOR, admin.id, name=name)

    assert isinstance(changed, Changed)
    assert changed.record.name == name
    assert (await town.users.record(admin.id)).name == name


async def test_a_role_change_applies_and_keeps_epoch_and_sessions(town):
    admin = await town.account()
    member = await town.member(OPERATOR, admin.account, "b@example.com", role="marketer")
    signed_in = await town.signed_in(member)

    changed = await town.users.change(OPERATOR, member.id, role="developer")

    assert isinstance(changed, Changed)
    assert (changed.record.role, changed.record.epoch) == ("developer", 1)
    assert changed.record.revision > member.revision
    assert set(changed.record.sessions) == {signed_in.session}
    event = (await town.feed())[-1]
    assert (event["k"], event["u"], event["ack"]) == ("user", member.id, "1")
    assert int(event["n"]) == changed.position.n
    assert int(event["s"]) == changed.record.revision


async def test_what_is_so_already_is_not_written(town):
    admin = await town.account()
    before = len(await town.feed())

    assert isinstance(await town.users.change(OPERATOR, admin.id, role=ADMINISTRATOR), Unchanged)
    assert isinstance(await town.users.change(OPERATOR, admin.id, status=Status.ACTIVE), Unchanged)
    assert isinstance(await town.users.change(OPERATOR, admin.id), Unchanged)
    assert len(await town.feed()) == before


async def test_role_name_and_status_change_at_once_or_not_at_all(town):
    admin = await town.account()

    refused = await town.users.change(OPERATOR, admin.id, role="marketer", name="New", status=Status.SUSPENDED)

    assert refused == LastAdmin()
    assert await town.users.record(admin.id) == admin


async def test_suspension_ends_sessions_for_good_and_keeps_the_seat(town):
    admin = await town.account(cap=2)
    member = await town.member(OPERATOR, admin.account, "b@example.com")
    await town.signed_in(member)

    suspended = await town.users.change(OPERATOR, member.id, status=Status.SUSPENDED)

    assert isinstance(suspended, Changed)
    assert (suspended.record.status, suspended.record.sessions) == (Status.SUSPENDED, {})
    assert await town.sessions.open(member.id, expected_epoch=1, session=town.session()) == NoUser()
    assert (await town.accounts.find(admin.account)).seats.used == 2

    resumed = await town.users.change(OPERATOR, member.id, status=Status.ACTIVE)
    assert isinstance(resumed, Changed)
    assert resumed.record.sessions == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda users, uid: users.change(OPERATOR, uid, role="developer"),
        lambda users, uid: users.change(OPERATOR, uid, status=Status.SUSPENDED),
        lambda users, uid: users.remove(OPERATOR, uid),
    ],
    ids=["demote", "suspend", "remove"],
)
async def test_the_last_active_administrator_stays(town, change):
    admin = await town.account()
    await town.member(OPERATOR, admin.account, "b@example.com", role="developer")
    await town.invite(OPERATOR, admin.account, "c@example.com", role=ADMINISTRATOR)  # an invited one does not count
    sleeping = await town.administrator(OPERATOR, admin.account, "d@example.com")
    assert isinstance(
        await town.users.change(OPERATOR, sleeping.id, status=Status.SUSPENDED), Changed
    )  # nor a suspended

    assert await change(town.users, admin.id) == LastAdmin()
    assert isinstance(await town.users.change(OPERATOR, sleeping.id, status=Status.ACTIVE), Changed)
    assert isinstance(await change(town.users, admin.id), Changed | Removed)
    assert await change(town.users, sleeping.id) == LastAdmin()


async def test_administrators_demoting_each_other_leave_one(town):
    admin = await town.account()
    other = await town.administrator(OPERATOR, admin.account, "b@example.com")
    for _ in range(20):
        one, two = await town.signed_in(admin), await town.signed_in(other)
        outcomes = await asyncio.gather(
            town.users.change(one, other.id, role="marketer", expected_role=ADMINISTRATOR),
            town.users.change(two, admin.id, role="marketer", expected_role=ADMINISTRATOR),
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ActorChanged", "Changed"]
        for user in (admin, other):
            await town.users.change(OPERATOR, user.id, role=ADMINISTRATOR)


async def test_removal_frees_seat_and_email_and_kills_every_session(town):
    admin = await town.account(cap=2)
    member = await town.member(OPERATOR, admin.account, "b@example.com")
    await town.signed_in(member)

    removed = await town.users.remove(OPERATOR, member.id)

    assert isinstance(removed, Removed)
    assert removed.record.email == "b@example.com"
    assert await town.users.record(member.id) is None
    assert await town.users.find(admin.account, "b@example.com") is None
    assert await town.users.accounts_of("b@example.com") == []
    assert await town.sessions.listing(member.id) == []
    assert (await town.accounts.find(admin.account)).seats.used == 1
    assert (await town.feed())[-1]["k"] == "removed"
    assert await town.users.remove(OPERATOR, member.id) == NoUser()
    again = await town.member(OPERATOR, admin.account, "b@example.com")
    assert again.id != member.id


async def test_removing_an_invited_user_kills_the_invitation(town):
    admin = await town.account(cap=2)
    invited = await town.invite(OPERATOR, admin.account, "b@example.com")
    uid = invited.member.record.id

    assert isinstance(await town.users.remove(OPERATOR, uid), Removed)

    assert (await town.accounts.find(admin.account)).seats.used == 1
    assert type(await town.invitations.peek(uid, "digest-b@example.com")).__name__ == "InvitationGone"
    assert await town.users.accounts_of("b@example.com") == []


async def test_an_invited_user_of_a_full_account_can_change_role(town):
    admin = await town.account(cap=2)
    invited = await town.invite(OPERATOR, admin.account, "b@example.com", role="marketer")
    uid = invited.member.record.id

    changed = await town.users.change(OPERATOR, uid, role="developer", name="Bea")

    assert isinstance(changed, Changed)
    assert (changed.record.role, changed.record.name, changed.record.status) == ("developer", "Bea", Status.INVITED)
    assert await town.users.change(OPERATOR, uid, status=Status.ACTIVE) == StillInvited()
    accepted = await town.invitations.accept(
        uid, digest="digest-b@example.com", password_hash="h", name=None, session=None
    )
    assert (accepted.record.role, accepted.record.name) == ("developer", "Bea")


async def test_the_roster_lists_everybody_with_times_and_seats(town):
    admin = await town.account(cap=4)
    await town.signed_in(admin)
    member = await town.member(OPERATOR, admin.account, "b@example.com")
    invited = await town.invite(OPERATOR, admin.account, "c@example.com")

    roster = await town.users.roster(admin.account)

    assert [found.record.id for found in roster.members] == [admin.id, member.id, invited.member.record.id]
    first, second, third = roster.members
    assert first.last_login_at is not None
    assert (second.last_login_at, second.invite_expires_at) == (None, None)
    assert third.invite_expires_at == invited.expires_at
    assert third.record.status is Status.INVITED
    assert (roster.seats.cap, roster.seats.used, roster.seats.members) == (4, 3, 2)
    assert [pending.email for pending in roster.seats.invitations] == ["c@example.com"]
    assert await town.users.roster(new_account_id(town.entropy(17))) == NoAccount()


# Credentials ----------------------------------------------------------------------------------------------------------


async def test_credentials_are_found_by_email_and_by_id(town):
    admin = await town.account(email="ada@example.com")

    found = await town.users.credentials(admin.account, "ada@example.com")

    assert found is not None
    assert (found.record.id, found.password_hash, found.reset_required) == (admin.id, "hash-0", False)
    assert await town.users.credentials_of(admin.id) == found
    assert await town.users.credentials(admin.account, "nobody@example.com") is None
    assert "hash-0" not in repr(found)


async def test_an_invited_user_has_no_password(town):
    admin = await town.account()
    invited = await town.invite(OPERATOR, admin.account, "b@example.com")

    found = await town.users.credentials(admin.account, "b@example.com")

    assert (found.record.id, found.record.status, found.password_hash) == (
        invited.member.record.id,
        Status.INVITED,
        "",
    )


async def test_a_password_change_raises_the_epoch_and_ends_sessions(town):
    admin = await town.account()
    actor = await town.signed_in(admin)
    await town.signed_in(admin)
    session = town.session()

    changed = await town.users.change_password(
        admin.id, expected_epoch=1, password_hash="hash-new", session=session, actor=actor
    )

    assert isinstance(changed, PasswordChanged)
    assert (changed.record.epoch, set(changed.record.sessions)) == (2, {session.id})
    assert (await town.users.credentials_of(admin.id)).password_hash == "hash-new"
    event = (await town.feed())[-1]
    assert (event["tv"], event["ack"]) == ("2", "1")


async def test_of_fifty_password_changes_at_once_one_wins(town):
    admin = await town.account()
    actor = dataclasses.replace(await town.signed_in(admin), session=None)

    outcomes = await asyncio.gather(
        *(
            town.users.change_password(
                admin.id, expected_epoch=1, password_hash=f"hash-{number}", session=None, actor=actor
            )
            for number in range(50)
        )
    )

    assert sum(isinstance(outcome, PasswordChanged) for outcome in outcomes) == 1
    assert outcomes.count(Stale(2)) == 49
    winner = next(number for number, outcome in enumerate(outcomes) if isinstance(outcome, PasswordChanged))
    assert (await town.users.credentials_of(admin.id)).password_hash == f"hash-{winner}"


async def test_a_password_change_needs_an_active_user_and_session(town):
    admin = await town.account()
    member = await town.member(OPERATOR, admin.account, "b@example.com")
    actor = await town.signed_in(member)
    await town.sessions.end(member.id, [actor.session], OPERATOR)

    async def change(actor: Actor) -> object:
        return await town.users.change_password(
            member.id, expected_epoch=1, password_hash="x", session=None, actor=actor
        )

    assert await change(actor) == ActorChanged()
    await town.users.change(OPERATOR, member.id, status=Status.SUSPENDED)
    assert await change(Actor.bearer(member.id)) == NoUser()


async def test_signing_out_everywhere_raises_the_epoch(town):
    admin = await town.account()
    actor = await town.signed_in(admin)
    await town.signed_in(admin)

    out = await town.users.sign_out_everywhere(admin.id, actor)

    assert isinstance(out, Changed)
    assert (out.record.epoch, set(out.record.sessions)) == (2, set())
    assert await town.users.sign_out_everywhere(admin.id, actor) == ActorChanged()


async def test_a_rehash_keeps_the_epoch_and_any_newer_password(town):
    admin = await town.account()
    before = len(await town.feed())

    assert await town.users.rehash(admin.id, expected_epoch=1, password_hash="stronger")
    assert (await town.users.credentials_of(admin.id)).password_hash == "stronger"
    assert (await town.users.record(admin.id)) == admin
    assert len(await town.feed()) == before
    assert not await town.users.rehash(admin.id, expected_epoch=2, password_hash="late")
    assert (await town.users.credentials_of(admin.id)).password_hash == "stronger"


async def test_a_repaired_epoch_requires_a_password_reset(town):
    admin = await town.account()
    await town.signed_in(admin)

    healed = await town.users.raise_epoch(admin.id, 7)

    assert isinstance(healed, Changed)
    assert (healed.record.epoch, healed.record.sessions) == (7, {})
    assert (await town.users.credentials_of(admin.id)).reset_required
    assert isinstance(await town.users.raise_epoch(admin.id, 7), Unchanged)
    await town.users.sign_out_everywhere(admin.id, OPERATOR)
    assert (await town.users.credentials_of(admin.id)).reset_required
    await town.users.change_password(
        admin.id, expected_epoch=8, password_hash="n", session=None, actor=Actor.bearer(admin.id)
    )
    assert not (await town.users.credentials_of(admin.id)).reset_required


async def test_an_epoch_is_raised_by_at_most_a_hundred(town):
    admin = await town.account()

    healed = await town.users.raise_epoch(admin.id, 10**9)

    assert healed.record.epoch == 101


# R11 ------------------------------------------------------------------------------------------------------------------


def other(actor: Actor, **fields: object) -> Actor:
    return dataclasses.replace(actor, **fields)


async def test_R11_a_script_refuses_an_actor_that_is_not_as_judged(town):
    admin = await town.account()
    await town.administrator(OPERATOR, admin.account, "b@example.com")
    member = await town.member(OPERATOR, admin.account, "c@example.com")
    actor = await town.signed_in(admin)
    stranger = await town.signed_in(await town.account(name="Other", email="x@example.com"))
    nobody = new_user_id(admin.account, town.entropy(17))

    for wrong in (
        other(actor, role="developer"),
        other(actor, epoch=2),
        other(actor, epoch=0),
        other(actor, session=town.sid()),
        other(actor, user=nobody),
        stranger,
    ):
        assert await town.users.change(wrong, member.id, role="developer") == ActorChanged()
        assert await town.users.remove(wrong, member.id) == ActorChanged()
        assert await town.invite(wrong, admin.account, "d@example.com") == ActorChanged()
        assert await town.users.sign_out_everywhere(member.id, wrong) == ActorChanged()
        assert await town.sessions.end(member.id, [town.sid()], wrong) == ActorChanged()
    assert isinstance(await town.users.change(actor, member.id, role="developer"), Changed)


async def test_R11_an_actor_who_lost_access_changes_nothing(town):
    admin = await town.account(cap=10)
    member = await town.member(OPERATOR, admin.account, "c@example.com")
    undo = [
        lambda uid: town.users.change(OPERATOR, uid, role="marketer"),
        lambda uid: town.users.change(OPERATOR, uid, status=Status.SUSPENDED),
        lambda uid: town.users.sign_out_everywhere(uid, OPERATOR),
        lambda uid: town.users.remove(OPERATOR, uid),
    ]
    for number, undone in enumerate(undo):
        one = await town.administrator(OPERATOR, admin.account, f"a{number}@example.com")
        actor = await town.signed_in(one)
        await undone(one.id)
        assert await town.users.change(actor, member.id, role="developer") == ActorChanged()


async def test_R11_a_target_with_a_changed_role_is_left_unchanged(town):
    admin = await town.account()
    actor = await town.signed_in(admin)
    member = await town.member(OPERATOR, admin.account, "b@example.com", role="developer")
    await town.users.change(OPERATOR, member.id, role="accountant")

    assert await town.users.change(actor, member.id, name="x", expected_role="developer") == ActorChanged()
    assert await town.users.remove(actor, member.id, expected_role="developer") == ActorChanged()
    assert isinstance(await town.users.remove(actor, member.id, expected_role="accountant"), Removed)


async def test_R19_what_a_read_of_a_record_returns_holds_no_hash(town):
    admin = await town.account()
    from sidecar.store.scripting import run_read

    for script in ("record", "roster"):
        reply = await run_read(town.store, script, admin.account, uids=[admin.id])
        assert "hash-0" not in str(reply)


async def test_who_never_signed_in_by_a_browser_is_known(town):
    admin = await town.account()

    async def sign_in(**how):
        opened = await town.sessions.open(admin.id, expected_epoch=1, session=town.session(**how))
        assert isinstance(opened, Opened)
        return await token_only()

    async def token_only():
        return (await town.users.roster(admin.account)).members[0].token_only

    assert not await token_only(), "without a sign-in nothing is known"
    assert await sign_in()
    assert await sign_in()
    assert not await sign_in(browser=True)
    assert not await sign_in(), "a browser was used before"


async def test_a_user_from_before_this_fact_counts_as_a_browsers(town):
    admin = await town.account()
    await town.store.client.hset(f"{keys.account(admin.account, town.store.partitions)}:u:{admin.id}", "seen", "1000")
    await town.sessions.open(admin.id, expected_epoch=1, session=town.session())
    assert not (await town.users.roster(admin.account)).members[0].token_only


async def test_a_sign_in_is_remembered(town):
    admin = await town.account()
    opened = await town.sessions.open(admin.id, expected_epoch=1, session=town.session())
    assert isinstance(opened, Opened)
    assert (await town.users.roster(admin.account)).members[0].last_login_at is not None
