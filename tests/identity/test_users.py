"""Changes and removals of users: permissions, and the state when the response arrives."""

import asyncio

import pytest

from sidecar.domain.users import ADMINISTRATOR, Actor, Status, UserRecord
from sidecar.identity.account_creation import InvalidName, NewAccount, create_account
from sidecar.identity.invitations import InvalidEmail
from sidecar.identity.passwords import WeakPassword
from sidecar.identity.role_assignment import RoleAboveYours, UnknownRole, may_assign
from sidecar.identity.sessions import InvalidGrant, refresh
from sidecar.identity.users import Edited, RemovedUser, UserEdit
from sidecar.store.accounts import AccountExists
from sidecar.store.outcomes import ActorChanged, LastAdmin, NoUser, StillInvited


async def edit(town, admin, user, change, actor=None):
    outcome = await town.people.membership.edit(
        actor or town.actor(admin), town.generation, admin.account, user, change
    )
    return outcome.record if isinstance(outcome, Edited) else outcome


async def remove(town, admin, user, actor=None):
    return await town.people.membership.remove(actor or town.actor(admin), town.generation, admin.account, user)


async def test_a_change_answers_only_when_the_fleet_has_heard_of_it(town):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com")
    changed = await edit(town, admin, bob.id, UserEdit(role="marketer", name="Bob"))
    assert isinstance(changed, UserRecord)
    assert (changed.role, changed.name) == ("marketer", "Bob")
    assert len(town.fleet.waited) == 1
    assert (await edit(town, admin, bob.id, UserEdit(role="marketer"))).revision == changed.revision
    assert town.fleet.waited == town.fleet.waited[:1] * 2, "an earlier change is waited for as well"


async def test_a_suspended_user_is_out_and_comes_back(town, issuer):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com")
    grant = await town.grant("bob@example.com")
    assert (await edit(town, admin, bob.id, UserEdit(status=Status.SUSPENDED))).status is Status.SUSPENDED
    assert await refresh(issuer, town.people.sessions, town.fleet, grant.refresh_token, town.client) == InvalidGrant()
    assert await town.sign_in("bob@example.com") == InvalidGrant()
    assert (await edit(town, admin, bob.id, UserEdit(status=Status.ACTIVE))).status is Status.ACTIVE
    await town.grant("bob@example.com")


async def test_a_removed_user_is_nobody(town, issuer):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com")
    grant = await town.grant("bob@example.com")
    assert isinstance(await remove(town, admin, bob.id), RemovedUser)
    assert await remove(town, admin, bob.id) == NoUser()
    assert await refresh(issuer, town.people.sessions, town.fleet, grant.refresh_token, town.client) == InvalidGrant()


async def test_an_invited_user_can_be_edited_removed_not_suspended(town):
    admin = await town.found(seats=2)
    sent = await town.invite(admin, "bob@example.com")
    user = sent.member.record.id
    assert (await edit(town, admin, user, UserEdit(role="marketer"))).role == "marketer"
    assert await edit(town, admin, user, UserEdit(status=Status.SUSPENDED)) == StillInvited()
    assert isinstance(await remove(town, admin, user), RemovedUser)
    assert (await town.people.accounts.find(admin.account)).seats.available == 1


@pytest.mark.parametrize("user", ["", "usr_nobody", "OTHER", "usr_aaaaaaaaaaaa_bbbbbbbbbbbb", "../x", "usr_\ud800"])
async def test_users_of_another_account_are_nobody(town, user):
    admin = await town.found()
    other = await town.found("Bolt", "eve@example.com")
    user = other.id if user == "OTHER" else user
    assert await edit(town, admin, user, UserEdit(name="X")) == NoUser()
    assert await remove(town, admin, user) == NoUser()
    assert (await town.people.users.record(other.id)).name == "Ada"


async def test_the_last_administrator_stays(town):
    admin = await town.found()
    assert await edit(town, admin, admin.id, UserEdit(role="developer")) == LastAdmin()
    assert await edit(town, admin, admin.id, UserEdit(status=Status.SUSPENDED)) == LastAdmin()
    assert await remove(town, admin, admin.id) == LastAdmin()


async def test_two_administrators_that_demote_each_other_leave_one(town):
    admin = await town.found()
    for _ in range(10):
        bob = await town.join(admin, "bob@example.com", ADMINISTRATOR)
        outcomes = await asyncio.gather(
            edit(town, admin, bob.id, UserEdit(role="developer"), actor=town.actor(admin)),
            edit(town, admin, admin.id, UserEdit(role="developer"), actor=town.actor(bob)),
        )
        assert sum(isinstance(outcome, UserRecord) for outcome in outcomes) == 1
        members = (await town.people.users.roster(admin.account)).members
        left = [member.record for member in members if member.record.role == ADMINISTRATOR]
        assert len(left) == 1
        gone = next(member.record for member in members if member.record.role != ADMINISTRATOR)
        assert isinstance(await remove(town, left[0], gone.id), RemovedUser)
        admin = left[0]
        if admin.email == "bob@example.com":
            return


async def test_R11_nobody_touches_a_role_above_their_own(town):
    """The policy decides: a role with users/manage and little else is not root."""
    admin = await town.found(seats=9)
    marketer = await town.join(admin, "mia@example.com", "marketer")
    peer = await town.join(admin, "max@example.com", "marketer")
    developer = await town.join(admin, "dev@example.com", "developer")
    actor = town.actor(marketer)
    above = [
        (admin.id, UserEdit(name="X"), ADMINISTRATOR),
        (admin.id, UserEdit(status=Status.SUSPENDED), ADMINISTRATOR),
        (developer.id, UserEdit(role="marketer"), "developer"),
        (peer.id, UserEdit(role="developer"), "developer"),
        (peer.id, UserEdit(role=ADMINISTRATOR), ADMINISTRATOR),
        (marketer.id, UserEdit(role=ADMINISTRATOR), ADMINISTRATOR),
        (marketer.id, UserEdit(role="accountant"), "accountant"),
    ]
    for user, change, role in above:
        assert await edit(town, admin, user, change, actor) == RoleAboveYours(role)
    assert await remove(town, admin, developer.id, actor) == RoleAboveYours("developer")
    assert isinstance(await edit(town, admin, peer.id, UserEdit(name="Max"), actor), UserRecord)
    assert isinstance(await remove(town, admin, peer.id, actor), RemovedUser)


async def test_R11_what_a_user_may_assign_is_a_part_of_what_it_may(town):
    def assignable(role):
        return [one.id for one in may_assign(town.generation, role)]

    assert assignable(ADMINISTRATOR) == ["account-administrator", "accountant", "developer", "marketer"]
    assert assignable("developer") == ["developer", "marketer"]
    assert assignable("accountant") == ["accountant"]
    assert assignable("no-such-role") == []


async def test_R11_an_actor_that_has_changed_does_nothing(town):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com")
    for actor in (
        Actor(admin.id, admin.role, admin.epoch + 1, None),
        Actor(bob.id, ADMINISTRATOR, bob.epoch, None),
    ):
        assert await edit(town, admin, bob.id, UserEdit(name="X"), actor) == ActorChanged()
        assert await remove(town, admin, bob.id, actor) == ActorChanged()


async def test_R11_a_target_that_is_promoted_meanwhile_is_judged_again(town, monkeypatch):
    admin = await town.found()
    mia = await town.join(admin, "mia@example.com", "marketer")
    max_ = await town.join(admin, "max@example.com", "marketer")
    read = town.people.membership.find
    reads = []

    async def promoted(account, user):
        record = await read(account, user)
        if not reads:
            await town.people.users.change(town.actor(admin), max_.id, role="developer")
        reads.append(record)
        return record

    monkeypatch.setattr(type(town.people.membership), "find", lambda self, account, user: promoted(account, user))
    assert await remove(town, admin, max_.id, town.actor(mia)) == RoleAboveYours("developer")
    assert len(reads) == 2


async def test_an_operator_may_give_any_role_that_exists(town):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com")
    assert (await edit(town, admin, bob.id, UserEdit(role=ADMINISTRATOR), Actor.operator())).role == ADMINISTRATOR
    assert isinstance(await edit(town, admin, bob.id, UserEdit(role="member"), Actor.operator()), UnknownRole)


@pytest.mark.parametrize(
    ("founding", "outcome"),
    [
        (NewAccount("", "ada@example.com", "unquiet-otter-marble-41"), InvalidName),
        (NewAccount("acc_aaaaaaaaaaaa", "ada@example.com", "unquiet-otter-marble-41"), InvalidName),
        (NewAccount("Acme\n", "ada@example.com", "unquiet-otter-marble-41"), InvalidName),
        (NewAccount("Acme", "ada", "unquiet-otter-marble-41"), InvalidEmail),
        (NewAccount("Acme", "ada@example.com", "short"), WeakPassword),
        (NewAccount("ACME", "ada@example.com", "unquiet-otter-marble-41"), AccountExists),
    ],
)
async def test_an_account_that_cannot_be_founded(town, founding, outcome):
    await town.found("Acme", "first@example.com")
    made = await create_account(
        town.people.accounts, town.hashing, founding, actor=Actor.operator(), entropy=town.entropy
    )
    assert isinstance(made, outcome)
    assert len(await town.people.accounts.all()) == 1
    assert "otter" not in repr(founding)
