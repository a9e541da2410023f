"""Change of one's own password: required proofs, revoked sessions, and no effect of a failed change."""

import asyncio

import pytest

from sidecar.domain.users import Actor, SessionId, Status
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Hashing, Overloaded
from sidecar.identity.password_change import Mismatch, NewPassword, Replaced, SamePassword
from sidecar.identity.password_proof import WrongPassword
from sidecar.identity.passwords import Weakness, WeakPassword
from sidecar.identity.sessions import Grant, InvalidGrant, refresh
from sidecar.store import keys
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.factor_proofs import FactorRequired
from sidecar.store.outcomes import ActorChanged

OLD = "unquiet-otter-marble-41"
NEW = "velvet-anchor-pigeon-77"


def actor_of(grant: Grant) -> Actor:
    record = grant.record
    return Actor(record.id, record.role, record.epoch, grant.session, "192.0.2.1", "r-1")


async def change(town, grant, typed):
    return await town.people.password_change.change(grant.record.id, typed, actor_of(grant), town.client)


async def test_the_answer_is_the_only_session_left(town, issuer):
    await town.found()
    elsewhere = await town.grant("ada@example.com")
    here = await town.grant("ada@example.com")
    done = await change(town, here, NewPassword(OLD, NEW, NEW))
    assert isinstance(done, Replaced)
    assert done.revocation.complete
    assert done.grant.record.epoch == here.record.epoch + 1
    assert set(done.grant.record.sessions) == {done.grant.session}
    assert town.fleet.waited
    for old in (here, elsewhere):
        assert await refresh(issuer, town.people.sessions, town.fleet, old.refresh_token, town.client) == InvalidGrant()
    assert isinstance(
        await refresh(issuer, town.people.sessions, town.fleet, done.grant.refresh_token, town.client), Grant
    )
    assert await town.sign_in("ada@example.com", OLD) == InvalidGrant()
    assert isinstance(await town.sign_in("ada@example.com", NEW), Grant)


@pytest.mark.parametrize(
    ("typed", "outcome"),
    [
        (NewPassword("wrong-otter-marble-41", NEW), WrongPassword()),
        (NewPassword("", NEW), WrongPassword()),
        (NewPassword("x" * 5000, NEW), WrongPassword()),
        (NewPassword(OLD, NEW, NEW + " "), Mismatch()),
        (NewPassword(OLD, OLD), SamePassword()),
        (NewPassword(OLD, OLD.replace("unquiet", "ｕｎｑｕｉｅｔ")), SamePassword()),
        (NewPassword(OLD, "short"), WeakPassword((Weakness.TOO_SHORT,))),
        (NewPassword(OLD, "z1Y2x3W4" * 200), WeakPassword((Weakness.TOO_LONG,))),
        (NewPassword("wrong-otter-marble-41", "short"), WeakPassword((Weakness.TOO_SHORT,))),
    ],
)
async def test_a_failed_change_changes_nothing(town, issuer, typed, outcome):
    await town.found()
    grant = await town.grant("ada@example.com")
    before = await town.people.users.credentials_of(grant.record.id)
    assert await change(town, grant, typed) == outcome
    assert await town.people.users.credentials_of(grant.record.id) == before
    assert town.fleet.waited == []
    assert isinstance(await refresh(issuer, town.people.sessions, town.fleet, grant.refresh_token, town.client), Grant)


async def test_R16_guesses_of_the_old_password_are_limited(town):
    await town.found()
    grant = await town.grant("ada@example.com")
    await change(town, grant, NewPassword("wrong-otter-marble-41", NEW))
    assert town.limits.failures == [grant.record.id]
    await change(town, grant, NewPassword(OLD, OLD))
    assert town.limits.failures == [grant.record.id]
    town.limits.refuse = Limited(9)
    assert await change(town, grant, NewPassword(OLD, NEW)) == Limited(9)


async def test_of_many_changes_at_once_one_wins(town):
    await town.found()
    grant = await town.grant("ada@example.com")
    outcomes = await asyncio.gather(*(change(town, grant, NewPassword(OLD, f"{NEW}-{number}")) for number in range(8)))
    won = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Replaced)]
    assert len(won) == 1
    assert {type(outcome) for outcome in outcomes} <= {Replaced, ActorChanged, WrongPassword}
    assert isinstance(await town.sign_in("ada@example.com", f"{NEW}-{won[0]}"), Grant)


async def test_an_actor_that_is_suspended_meanwhile_changes_nothing(town):
    admin = await town.found()
    await town.join(admin, "bob@example.com")
    bob = await town.grant("bob@example.com")
    await town.people.users.change(town.actor(admin), bob.record.id, status=Status.SUSPENDED)
    assert await change(town, bob, NewPassword(OLD, NEW)) == ActorChanged()


async def test_an_older_token_changes_nothing(town):
    await town.found()
    grant = await town.grant("ada@example.com")
    first = await change(town, grant, NewPassword(OLD, NEW))
    assert isinstance(first, Replaced)
    assert await change(town, grant, NewPassword(NEW, "third-anchor-pigeon-77")) == ActorChanged()
    assert isinstance(await town.sign_in("ada@example.com", NEW), Grant)


async def test_R36_without_a_session_a_factor_forbids_the_change(town, store):
    """An external issuer's token and the password must not open a session that its user's factor guards."""
    ada = await town.found()
    home = keys.account(ada.account, store.partitions)
    await store.change("HSET", f"{home}:factors:{ada.id}", "totp_aaaaaaaaaaaaaaaa", "1")
    outside = Actor(ada.id, ada.role, ada.epoch, SessionId(""))
    typed = NewPassword(OLD, NEW)
    assert await town.people.password_change.change(ada.id, typed, outside, town.client) == FactorRequired()
    assert (await town.people.users.record(ada.id)).sessions == {}
    assert await town.sign_in("ada@example.com", NEW) == InvalidGrant()


async def test_R31_a_store_outage_after_the_change_is_no_failed_change(town, monkeypatch):
    await town.found()
    grant = await town.grant("ada@example.com")

    async def silent(position):
        raise StoreUnavailableError("out")

    monkeypatch.setattr(town.fleet, "wait_applied", silent)
    done = await change(town, grant, NewPassword(OLD, NEW))
    assert isinstance(done, Replaced)
    assert done.revocation.complete is False


async def test_a_full_pool_changes_nothing_and_counts_as_no_failure(town, monkeypatch):
    await town.found()
    grant = await town.grant("ada@example.com")

    async def full(self, priority, *arguments):
        return Overloaded(3)

    monkeypatch.setattr(Hashing, "compare", full)
    assert await change(town, grant, NewPassword(OLD, NEW)) == Overloaded(3)
    assert town.limits.failures == []


def test_no_password_shows_in_a_repr():
    assert OLD not in repr(NewPassword(OLD, NEW, NEW))
    assert NEW not in repr(NewPassword(OLD, NEW, NEW))


async def test_the_new_session_has_a_proof_of_the_password(town):
    await town.found()
    here = await town.grant("ada@example.com")
    done = await change(town, here, NewPassword(OLD, NEW, NEW))
    before, after = here.record.sessions[here.session], done.grant.record.sessions[done.grant.session]
    assert [proof.method for proof in before.methods] == [proof.method for proof in after.methods] == ["password"]
    assert before.signed_in_at <= after.signed_in_at == after.methods[0].at
