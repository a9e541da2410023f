"""Accounts: unique names, the first administrator, caps that remove no user, suspension of all users at once."""

import asyncio

from sidecar.domain.users import ADMINISTRATOR, Actor, Status
from sidecar.store import keys
from sidecar.store.accounts import AccountExists, Created, Deleted, SeatsSet, StatusSet
from sidecar.store.invitations import SeatLimit
from sidecar.store.maintenance.fsck import Fsck
from sidecar.store.outcomes import ActorChanged, NoAccount
from sidecar.tokens.ids import new_account_id

OPERATOR = Actor.operator()


async def test_an_account_starts_with_one_active_administrator(town):
    admin = await town.account(name="Acme", cap=5, email="ada@example.com")

    assert (admin.role, admin.status, admin.epoch) == (ADMINISTRATOR, Status.ACTIVE, 1)
    found = await town.accounts.find("Acme")
    assert found is not None
    assert (found.id, found.name, found.status) == (admin.account, "Acme", Status.ACTIVE)
    assert (found.seats.cap, found.seats.members, found.seats.used, found.seats.available) == (5, 1, 1, 4)
    assert await town.accounts.find(admin.account) == found


async def test_R9_the_operators_email_is_verified(town):
    assert (await town.account()).email_verified


async def test_two_accounts_never_share_a_name(town):
    first = await town.account(name="Straße GmbH")

    again = await town.accounts.create(
        account=(other := new_account_id(town.entropy(17))),
        name="  STRASSE gmbh ",
        cap=5,
        admin=town.uid(other),
        email="b@example.com",
        admin_name="B",
        password_hash="h",
        actor=OPERATOR,
    )

    assert again == AccountExists(first.account)
    assert [account.name for account in await town.accounts.all()] == ["Straße GmbH"]


async def create(town, account, name):
    return await town.accounts.create(
        account=account, name=name, cap=5, admin=town.uid(account), email="b@example.com", admin_name="B",
        password_hash="h", actor=OPERATOR,
    )  # fmt: skip


async def test_an_id_that_exists_blocks_no_name(town):
    """The account keeps its own name, and the name that was claimed for it is free at once."""
    first = await town.account(name="Acme")
    assert await create(town, first.account, "Bolt") == AccountExists(first.account)
    assert await create(town, first.account, "ACME") == AccountExists(first.account)

    assert await town.store.pairs("HGETALL", keys.names()) == [("acme", first.account)]
    assert isinstance(await create(town, new_account_id(town.entropy(17)), "Bolt"), Created)
    assert (await town.accounts.find("Acme")).id == first.account
    assert (await Fsck(town.store).run()).clean


async def test_an_existing_id_keeps_its_unsettled_name(town):
    first = await town.account(name="Acme")
    await town.store.change("HSET", keys.names(), "acme", f"{first.account} 1000")
    assert await create(town, first.account, "Acme") == AccountExists(first.account)
    assert await town.store.command("HGET", keys.names(), "acme") == first.account


async def test_an_unsettled_name_still_belongs_to_its_account(town):
    """Its process was killed between creating it and settling the claim; a minute later another account is created
    under the name.
    """
    first = await town.account(name="Acme")
    await town.store.change("HSET", keys.names(), "acme", f"{first.account} 1000")
    other = new_account_id(town.entropy(17))
    for _ in range(2):
        again = await town.accounts.create(
            account=other, name="ACME", cap=5, admin=town.uid(other), email="b@example.com", admin_name="B",
            password_hash="h", actor=OPERATOR,
        )  # fmt: skip
        assert again == AccountExists(first.account)
    assert await town.store.command("HGET", keys.names(), "acme") == first.account
    assert [account.id for account in await town.accounts.all()] == [first.account]
    nobody = new_account_id(town.entropy(17))
    await town.store.change("HSET", keys.names(), "bolt", f"{nobody} 1000")
    assert (await town.account(name="Bolt")).account != nobody, "no account was created under that claim"


async def test_of_many_who_take_a_name_at_once_one_gets_it(town):
    async def create(number: int) -> object:
        account = new_account_id(town.entropy(17))
        return await town.accounts.create(
            account=account,
            name="Acme",
            cap=5,
            admin=town.uid(account),
            email=f"a{number}@example.com",
            admin_name="A",
            password_hash="h",
            actor=OPERATOR,
        )

    outcomes = await asyncio.gather(*(create(number) for number in range(20)))

    assert sum(isinstance(outcome, Created) for outcome in outcomes) == 1
    assert len(await town.accounts.all()) == 1


async def test_lowering_the_cap_keeps_everybody_and_adds_nobody(town):
    admin = await town.account(cap=3)
    actor = await town.signed_in(admin)
    await town.member(actor, admin.account, "b@example.com")
    await town.invite(actor, admin.account, "c@example.com")

    lowered = await town.accounts.set_seats(admin.account, 1, OPERATOR)

    assert isinstance(lowered, SeatsSet)
    assert (lowered.seats.cap, lowered.seats.used, lowered.seats.available) == (1, 3, 0)
    assert isinstance(await town.invite(actor, admin.account, "d@example.com"), SeatLimit)
    assert len((await town.users.roster(admin.account)).members) == 3


async def test_suspending_an_account_suspends_its_records_and_actors(town):
    admin = await town.account()
    actor = await town.signed_in(admin)

    suspended = await town.accounts.set_status(admin.account, Status.SUSPENDED, OPERATOR)

    assert isinstance(suspended, StatusSet)
    assert suspended.account.status is Status.SUSPENDED
    assert (await town.users.record(admin.id)).status is Status.SUSPENDED
    assert await town.invite(actor, admin.account, "b@example.com") == ActorChanged()

    await town.accounts.set_status(admin.account, Status.ACTIVE, OPERATOR)
    assert (await town.users.record(admin.id)).status is Status.ACTIVE
    assert [event["k"] for event in await town.feed()][-2:] == ["account", "account"]


async def test_a_deleted_account_removes_its_users_and_frees_its_name(town):
    admin = await town.account(name="Acme")
    actor = await town.signed_in(admin)
    member = await town.member(actor, admin.account, "b@example.com")
    await town.invite(actor, admin.account, "c@example.com")

    deleted = await town.accounts.delete(admin.account, OPERATOR)

    assert isinstance(deleted, Deleted)
    assert len(deleted.users) == 3
    assert await town.accounts.find("Acme") is None
    assert await town.accounts.find(admin.account) is None
    assert await town.users.record(member.id) is None
    assert await town.users.accounts_of("b@example.com") == []
    assert await town.accounts.delete(admin.account, OPERATOR) == NoAccount()
    assert (await town.account(name="Acme")).account != admin.account


async def test_what_does_not_exist_is_an_outcome(town):
    nowhere = new_account_id(town.entropy(17))

    assert await town.accounts.find("nobody") is None
    assert await town.accounts.find(nowhere) is None
    assert await town.accounts.set_seats(nowhere, 9, OPERATOR) == NoAccount()
    assert await town.accounts.set_status(nowhere, Status.ACTIVE, OPERATOR) == NoAccount()
    assert await town.accounts.all() == []
