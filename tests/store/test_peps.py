"""Keys of PEPs: created once, listed without the key, rejected at once when revoked; a copy is used only while it is
live.
"""

import pytest

from sidecar.domain.peps import Pep, PepId, Scope, account_of_pep
from sidecar.domain.users import AccountId, Actor, Status, UserId
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.live.change_feed import FeedEntry, FeedReset
from sidecar.store.outcomes import ActorChanged, NoAccount
from sidecar.store.peps import MAX_KEYS, NoPep, PepCopies, PepCreated, PepExists, PepRevoked, Peps, TooManyPeps

OPERATOR = Actor.operator()
DAY = 86400.0


def pep_id(account: AccountId, number: int = 0) -> PepId:
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    return PepId(f"pep_{account[4:]}_" + "a" * 10 + letters[number // 32] + letters[number % 32])


async def created(peps: Peps, account: AccountId, number: int = 0, **more: object) -> Pep:
    outcome = await peps.create(
        OPERATOR,
        pep_id(account, number),
        name=str(more.get("name", f"gateway-{number}")),
        scopes=frozenset({Scope.EVALUATE, Scope.SEARCH}),
        digest="d" * 64,
        ttl=float(more.get("ttl", DAY)),
        rate=7,
    )
    assert isinstance(outcome, PepCreated)
    return outcome.pep


def change(kind: str, account: AccountId, user: str, n: int, seq: int) -> FeedEntry:
    return FeedEntry(n=n, kind=kind, account=account, user=UserId(user), epoch=0, seq=seq, ack=False)


class Lease:
    """A lease that a test sets to live or not."""

    def __init__(self) -> None:
        self.live = True

    def __call__(self, _account: AccountId) -> bool:
        return self.live


async def test_what_was_made_is_what_is_read(town) -> None:
    admin = await town.account()
    peps = Peps(town.store)
    pep = await created(peps, admin.account)
    assert pep.name == "gateway-0"
    assert pep.scopes == {Scope.EVALUATE, Scope.SEARCH}
    assert pep.expires_at - pep.created_at == DAY
    assert (pep.rate, pep.suspended) == (7, False)
    assert await PepCopies(town.store, live=Lease()).read(pep.id) == pep
    assert await peps.listing(admin.account) == [pep]
    assert "d" * 64 not in repr(pep)


async def test_R20_the_audit_names_the_key_and_holds_no_proof_of_it(town) -> None:
    admin = await town.account()
    pep = await created(Peps(town.store), admin.account)
    await Peps(town.store).revoke(OPERATOR, pep.id)
    rows = [row for row in await town.audit(admin.account) if row["action"].startswith("pep.")]
    assert [row["action"] for row in rows] == ["pep.created", "pep.revoked"]
    assert all(row["target"] == pep.id for row in rows)
    assert "d" * 64 not in repr(rows)


async def test_a_name_is_taken_once_in_an_account(town) -> None:
    admin, other = await town.account(), await town.account("Other", email="eve@example.com")
    peps = Peps(town.store)
    pep = await created(peps, admin.account, name="nginx")
    again = await peps.create(
        OPERATOR, pep_id(admin.account, 1), name="nginx", scopes=pep.scopes, digest="e", ttl=DAY, rate=1
    )
    assert again == PepExists(pep.id)
    assert (await created(peps, other.account, name="nginx")).account == other.account
    await peps.revoke(OPERATOR, pep.id)
    await created(peps, admin.account, 2, name="nginx")


async def test_an_account_has_only_so_many_keys(town) -> None:
    admin = await town.account()
    peps = Peps(town.store)
    for number in range(MAX_KEYS):
        await created(peps, admin.account, number)
    outcome = await peps.create(
        OPERATOR,
        pep_id(admin.account, MAX_KEYS),
        name="more",
        scopes=frozenset({Scope.SEARCH}),
        digest="e",
        ttl=DAY,
        rate=1,
    )
    assert outcome == TooManyPeps()


async def test_revoked_is_gone(town) -> None:
    admin = await town.account()
    peps = Peps(town.store)
    pep = await created(peps, admin.account)
    revoked = await peps.revoke(OPERATOR, pep.id)
    assert isinstance(revoked, PepRevoked)
    assert revoked.pep == pep
    assert await peps.revoke(OPERATOR, pep.id) == NoPep()
    assert await peps.listing(admin.account) == []
    assert await PepCopies(town.store, live=Lease()).read(pep.id) is None
    assert (await town.feed())[-1]["k"] == "pep"
    assert (await town.feed())[-1]["ack"] == "1"


async def test_nobody_makes_a_key_for_an_account_that_is_not_there(town) -> None:
    nowhere = AccountId("acc_" + "a" * 12)
    outcome = await Peps(town.store).create(
        OPERATOR, pep_id(nowhere), name="x", scopes=frozenset({Scope.SEARCH}), digest="e", ttl=DAY, rate=1
    )
    assert outcome == NoAccount()
    assert await Peps(town.store).listing(nowhere) == []


async def test_R11_an_actor_that_changed_makes_and_revokes_nothing(town) -> None:
    admin = await town.account()
    stale = Actor(admin.id, "marketer", admin.epoch, None)
    peps = Peps(town.store)
    pep = await created(peps, admin.account)
    outcome = await peps.create(
        stale, pep_id(admin.account, 1), name="x", scopes=frozenset({Scope.SEARCH}), digest="e", ttl=DAY, rate=1
    )
    assert outcome == ActorChanged()
    assert await peps.revoke(stale, pep.id) == ActorChanged()
    assert await peps.listing(admin.account) == [pep]


async def test_keys_go_with_their_account_and_rest_with_it(town) -> None:
    admin = await town.account()
    pep = await created(Peps(town.store), admin.account)
    copies = PepCopies(town.store, live=Lease())
    await town.accounts.set_status(admin.account, Status.SUSPENDED, OPERATOR)
    assert (await copies.read(pep.id)).suspended
    await town.accounts.set_status(admin.account, Status.ACTIVE, OPERATOR)
    assert not (await copies.read(pep.id)).suspended
    await town.accounts.delete(admin.account, OPERATOR)
    assert await copies.read(pep.id) is None


async def test_a_copy_is_used_only_while_its_lease_lasts(town) -> None:
    admin = await town.account()
    pep = await created(Peps(town.store), admin.account)
    lease = Lease()
    copies = PepCopies(town.store, live=lease)
    assert copies.peek(pep.id) is None
    await copies.read(pep.id)
    assert copies.peek(pep.id) == pep
    lease.live = False
    assert copies.peek(pep.id) is None


async def test_what_is_read_without_a_lease_is_not_kept(town) -> None:
    admin = await town.account()
    pep = await created(Peps(town.store), admin.account)
    lease = Lease()
    lease.live = False
    copies = PepCopies(town.store, live=lease)
    assert await copies.read(pep.id) == pep
    lease.live = True
    assert copies.peek(pep.id) is None


@pytest.mark.parametrize("kind", ["pep", "account"])
async def test_R20_a_revocation_in_the_feed_drops_the_copy(town, kind: str) -> None:
    admin = await town.account()
    pep = await created(Peps(town.store), admin.account)
    copies = PepCopies(town.store, live=Lease())
    await copies.read(pep.id)
    copies.apply(0, change("user", admin.account, admin.id, 8, 1))
    assert copies.peek(pep.id) == pep
    copies.apply(0, change(kind, admin.account, pep.id if kind == "pep" else "", 9, 1))
    assert copies.peek(pep.id) is None


async def test_a_flush_drops_every_copy(town) -> None:
    admin = await town.account()
    pep = await created(Peps(town.store), admin.account)
    copies = PepCopies(town.store, live=Lease())
    await copies.read(pep.id)
    copies.flush(FeedReset(0, 5, new_data_set=False))
    assert copies.peek(pep.id) is None


async def test_what_changes_while_it_is_read_is_not_kept(town, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = await town.account()
    pep = await created(Peps(town.store), admin.account)
    copies = PepCopies(town.store, live=Lease())
    answered = town.store.run

    async def run(*words: object, **more: object) -> object:
        reply = await answered(*words, **more)
        copies.apply(0, change("pep", admin.account, pep.id, 9, 10_000))
        return reply

    monkeypatch.setattr(town.store, "run", run)
    assert await copies.read(pep.id) == pep  # true at the request
    assert copies.peek(pep.id) is None


async def test_a_store_that_went_back_in_time_is_not_believed(town) -> None:
    admin = await town.account()
    pep = await created(Peps(town.store), admin.account)
    copies = PepCopies(town.store, live=Lease())
    copies.apply(0, change("user", admin.account, admin.id, 9, 10_000))
    assert await copies.read(pep.id) == pep  # a newer record of a user does not make a key older
    for kind, subject in (("pep", pep.id), ("account", "")):
        copies.apply(0, change(kind, admin.account, subject, 9, 10_000))
        with pytest.raises(StoreUnavailableError):
            await copies.read(pep.id)
        copies.flush(FeedReset(0, 1, new_data_set=True))
        assert await copies.read(pep.id) == pep


async def test_a_backup_may_bring_a_key_back_that_was_revoked_since(town) -> None:
    admin = await town.account()
    pep = await created(Peps(town.store), admin.account)
    copies = PepCopies(town.store, live=Lease())
    copies.apply(0, change("pep", admin.account, pep.id, 9, 10_000))
    copies.apply(0, change("restored", admin.account, "", 10, 1))
    assert await copies.read(pep.id) == pep


@pytest.mark.parametrize("text", ["", "pep_", "usr_aaaaaaaaaaaa_bbbbbbbbbbbb", "pep_aaaaaaaaaaaa_bbbbbbbbbbbb_c"])
def test_what_is_not_an_id_names_no_account(text: str) -> None:
    assert account_of_pep(text) is None
