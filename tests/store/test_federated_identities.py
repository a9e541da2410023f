"""Links of external subjects to users (R10): by a verified e-mail, once, to an active user, and removed with it."""

import asyncio

import pytest

from sidecar.domain.factors import FactorId
from sidecar.domain.users import Status
from sidecar.store.factors import Factors
from sidecar.store.federated_identities import (
    FederatedIdentities,
    Linked,
    LinkedIdentity,
    LinkForbidden,
    LinkHeld,
    LinkQuery,
    LinkTaken,
    NoMatchingUser,
    NotLinked,
    Unlinked,
)
from sidecar.store.maintenance.fsck import Fsck
from sidecar.store.outcomes import NoUser, Stale

ISSUER = "https://login.example"


@pytest.fixture
def links(store):
    return FederatedIdentities(store)


async def link(links, account, subject="s-1", email="ada@example.com", issuer=ISSUER):
    return await links.link(account, issuer=issuer, subject=subject, email=email)


async def test_R10_a_subject_is_linked_once_and_found_ever_after(town, links):
    ada = await town.account()
    assert await links.find(ada.account, ISSUER, "s-1") is None
    assert await link(links, ada.account) == Linked(ada.id)
    assert await links.find(ada.account, ISSUER, "s-1") == LinkedIdentity(ada.id, ada.epoch)
    row = (await town.audit(ada.account))[-1]
    assert (row["action"], row["target"], row["actor"]) == ("user.linked", ada.id, "")
    assert '"subject":"s-1"' in row["after"]


async def test_R10_the_email_is_ignored_once_linked(town, links):
    ada = await town.account()
    bob = await town.member(await town.signed_in(ada), ada.account, "bob@example.com")
    await link(links, ada.account)
    assert await link(links, ada.account, email="bob@example.com") == Linked(ada.id)
    assert bob.id != ada.id


async def test_R10_an_email_that_went_to_another_subject_opens_nothing(town, links):
    ada = await town.account()
    await link(links, ada.account, "s-1")
    assert await link(links, ada.account, "s-2") == LinkTaken()
    assert await links.find(ada.account, ISSUER, "s-2") is None
    assert await link(links, ada.account, "s-2", issuer=ISSUER + ".org") == Linked(ada.id), "another issuer's subject"


async def test_issuers_whose_names_begin_alike_are_two(town, links):
    ada = await town.account()
    assert await link(links, ada.account, "x", issuer="https://a") == Linked(ada.id)
    assert await links.find(ada.account, "https://a:", "x") is None


async def test_R10_only_active_users_are_linked(town, links):
    ada = await town.account()
    actor = await town.signed_in(ada)
    await town.invite(actor, ada.account, "invited@example.com")
    bob = await town.member(actor, ada.account, "bob@example.com")
    await town.users.change(actor, bob.id, status=Status.SUSPENDED)
    for email in ("invited@example.com", "bob@example.com", "nobody@example.com"):
        assert await link(links, ada.account, email=email) == NoMatchingUser()


@pytest.mark.parametrize(
    ("mailbox", "email", "linked"),
    [
        ("Bob@example.com", "bob@example.com", True),
        ("stra\u00dfe@example.com", "strasse@example.com", False),
        ("\uff42ob@example.com", "bob@example.com", False),
    ],
)
async def test_R10_a_mailbox_that_only_folds_alike_is_not_linked(town, links, mailbox, email, linked):
    ada = await town.account()
    invited = await town.invite(await town.signed_in(ada), ada.account, email, mailbox=mailbox, digest="d")
    accepted = await town.invitations.accept(
        invited.member.record.id, digest="d", password_hash="h", name=None, session=None
    )
    assert accepted.record.mailbox == mailbox
    outcome = await link(links, ada.account, email=email)
    assert outcome == (Linked(accepted.record.id) if linked else NoMatchingUser())


async def test_a_removed_user_takes_its_links_along(town, links, store):
    ada = await town.account()
    actor = await town.signed_in(ada)
    bob = await town.member(actor, ada.account, "bob@example.com")
    await link(links, ada.account, "s-bob", "bob@example.com")
    await link(links, ada.account, "s-ada")
    await town.users.remove(actor, bob.id)
    assert await links.find(ada.account, ISSUER, "s-bob") is None
    assert await link(links, ada.account, "s-bob", "bob@example.com") == NoMatchingUser()
    again = await town.member(actor, ada.account, "bob@example.com")
    assert await link(links, ada.account, "s-bob", "bob@example.com") == Linked(again.id)
    assert await links.find(ada.account, ISSUER, "s-ada") == LinkedIdentity(ada.id, ada.epoch)


async def test_of_many_subjects_at_once_one_gets_the_user(town, links):
    ada = await town.account()
    outcomes = await asyncio.gather(*(link(links, ada.account, f"s-{n}") for n in range(10)))
    assert outcomes.count(Linked(ada.id)) == 1
    assert outcomes.count(LinkTaken()) == 9


async def test_R10_the_record_knows_when_its_epoch_last_changed(town):
    ada = await town.account()
    assert ada.epoch_changed_at == 0
    actor = await town.signed_in(ada)
    before = int(await town.now_ms() / 1000)
    await town.users.change(actor, ada.id, name="Ada Admin")
    assert (await town.users.record(ada.id)).epoch_changed_at == 0
    await town.users.sign_out_everywhere(ada.id, actor)
    assert (await town.users.record(ada.id)).epoch_changed_at >= before


async def test_R10_a_suspension_ends_external_tokens_and_sessions(town):
    ada = await town.account()
    actor = await town.signed_in(ada)
    bob = await town.member(actor, ada.account, "bob@example.com")
    before = int(await town.now_ms() / 1000)
    for status in (Status.SUSPENDED, Status.ACTIVE):
        await town.users.change(actor, bob.id, status=status)
    resumed = await town.users.record(bob.id)
    assert (resumed.epoch, resumed.sessions) == (bob.epoch, {})
    assert resumed.epoch_changed_at >= before


async def test_R10_an_unlinked_subject_stays_out_but_another_may_link(town, links):
    ada = await town.account()
    await town.signed_in(ada)
    await link(links, ada.account, "s-1")
    parted = await links.unlink(ada.id)
    assert isinstance(parted, Unlinked)
    assert (parted.subjects, parted.record.epoch, parted.record.sessions) == (1, ada.epoch + 1, {})
    assert parted.record.epoch_changed_at > 0
    assert await links.find(ada.account, ISSUER, "s-1") is None
    assert await link(links, ada.account, "s-1") == LinkForbidden()
    assert await link(links, ada.account, "s-2") == Linked(ada.id)
    assert await links.find(ada.account, ISSUER, "s-2") == LinkedIdentity(ada.id, ada.epoch + 1)
    row = next(row for row in await town.audit(ada.account) if row["action"] == "user.unlinked")
    assert (row["target"], row["actor"], row["addr"]) == (ada.id, "", "cli")
    assert '"subjects":1' in row["before"]


async def test_a_subject_that_may_return_is_linked_anew(town, links):
    ada = await town.account()
    await link(links, ada.account, "s-1")
    assert isinstance(await links.unlink(ada.id), Unlinked)
    assert await links.unlink(ada.id) == NotLinked(), "it is unlinked already"
    assert isinstance(await links.unlink(ada.id, may_return=True), Unlinked)
    assert await link(links, ada.account, "s-1") == Linked(ada.id)
    assert isinstance(await links.unlink(ada.id, may_return=True), Unlinked)
    assert await link(links, ada.account, "s-1") == Linked(ada.id)


async def test_unlinking_is_limited_to_one_user_and_the_named_issuer(town, links):
    ada = await town.account()
    bob = await town.member(await town.signed_in(ada), ada.account, "bob@example.com")
    other = ISSUER + ".org"
    await link(links, ada.account, "s-1")
    await link(links, ada.account, "s-1", issuer=other)
    await link(links, ada.account, "s-bob", "bob@example.com")
    bob = await town.users.record(bob.id)
    assert await links.unlink(bob.id, issuer=other) == NotLinked()
    assert (await town.users.record(bob.id)).epoch == bob.epoch, "an unlinked subject keeps its tokens"
    assert (await links.unlink(ada.id, issuer=other)).subjects == 1
    assert (await links.find(ada.account, ISSUER, "s-1")).user == ada.id
    assert (await links.find(ada.account, ISSUER, "s-bob")).user == bob.id
    assert await links.unlink("usr_aaaaaaaaaaaa_bbbbbbbbbbbb") == NoUser()


async def test_a_reinvited_user_can_link_its_old_subject(town, links):
    ada = await town.account()
    actor = await town.signed_in(ada)
    bob = await town.member(actor, ada.account, "bob@example.com")
    await link(links, ada.account, "s-bob", "bob@example.com")
    await links.unlink(bob.id)
    await town.users.remove(actor, bob.id)
    again = await town.member(actor, ada.account, "bob@example.com")
    assert await link(links, ada.account, "s-bob", "bob@example.com") == Linked(again.id)


# A user with an unverified e-mail -------------------------------------------------------------------------------------


async def unproven(town, ada):
    """Bob, whose link was intercepted and used: a session and a password of the attacker."""
    bob = await town.member(await town.signed_in(ada), ada.account, "bob@example.com")
    assert not bob.email_verified
    return bob, await town.signed_in(bob)


@pytest.mark.parametrize("by", ["e-mail", "operator"])
async def test_R9_R10_a_link_to_an_unproven_user_ends_its_credentials(town, links, by):
    ada = await town.account()
    bob, stranger = await unproven(town, ada)
    factors, passkey = Factors(town.store), FactorId("passkey_" + "a" * 16)
    await factors.add(stranger, passkey, sealed="s", ttl=60)
    await factors.confirm(stranger, passkey, name="Mine", codes=("d" * 64,), wait=0, counter=0)
    if by == "e-mail":
        linked = await link(links, ada.account, "s-bob", "bob@example.com")
    else:
        linked = await links.link_user(bob.id, issuer=ISSUER, subject="s-bob")
    assert linked == Linked(bob.id)
    assert linked.cleared
    now = await town.users.record(bob.id)
    assert now.factors == {}, "a passkey would sign in without the password"
    assert (now.epoch, now.sessions, now.email_verified) == (bob.epoch + 1, {}, True)
    assert now.epoch_changed_at == 0, "earlier tokens of the issuer stay valid, the linking one among them"
    assert (await town.users.credentials_of(bob.id)).password_hash == ""
    assert await town.sessions.open(bob.id, expected_epoch=bob.epoch, session=town.session()) == Stale(now.epoch)
    changed = await town.users.change_password(
        bob.id, expected_epoch=bob.epoch, password_hash="hash-2", session=None, actor=stranger
    )
    assert changed == Stale(now.epoch), "a concurrent change loses"
    event = (await town.feed())[-1]
    assert (event["u"], event["tv"], event["ack"]) == (bob.id, str(now.epoch), "1")
    assert linked.position.n == int(event["n"])
    assert (await Fsck(town.store).run()).clean


async def test_R9_R10_what_a_link_takes_is_in_the_audit(town, links):
    ada = await town.account()
    bob, _ = await unproven(town, ada)
    await link(links, ada.account, "s-bob", "bob@example.com")
    row = (await town.audit(ada.account))[-1]
    assert (row["action"], row["target"]) == ("user.linked", bob.id)
    for part in ('"email_verified":true', '"password_taken":true', '"sessions_ended":1', '"epoch":"2"'):
        assert part in row["after"], part
    assert '"email_verified":false' in row["before"]


@pytest.mark.parametrize("by", ["e-mail", "operator"])
async def test_R10_a_link_to_a_proven_user_keeps_its_credentials(town, links, by):
    ada = await town.account()
    actor = await town.signed_in(ada)
    if by == "e-mail":
        linked = await link(links, ada.account)
    else:
        linked = await links.link_user(ada.id, issuer=ISSUER, subject="s-1")
    assert not linked.cleared
    now = await town.users.record(ada.id)
    assert (now.epoch, set(now.sessions)) == (ada.epoch, {actor.session})
    assert (await town.users.credentials_of(ada.id)).password_hash == "hash-0"


async def test_R10_of_links_at_once_one_takes_the_password(town, links):
    ada = await town.account()
    bob, _ = await unproven(town, ada)
    await asyncio.gather(
        *(link(links, ada.account, "s-bob", "bob@example.com", issuer=f"{ISSUER}/{n}") for n in range(5))
    )
    assert (await town.users.record(bob.id)).epoch == bob.epoch + 1


async def test_an_operator_links_any_subject_and_lifts_the_bar(town, links):
    ada = await town.account()
    bob = await town.member(await town.signed_in(ada), ada.account, "bob@example.com")
    assert await links.link_user(ada.id, issuer=ISSUER, subject="s-1") == Linked(ada.id)
    again = await links.link_user(ada.id, issuer=ISSUER, subject="s-1")
    assert (again, again.position) == (Linked(ada.id), None), "nothing has changed"
    assert await links.link_user(bob.id, issuer=ISSUER, subject="s-1") == LinkHeld(ada.id)
    assert await links.link_user(ada.id, issuer=ISSUER, subject="s-2") == LinkTaken()
    await links.unlink(ada.id)
    assert await link(links, ada.account) == LinkForbidden()
    assert await links.link_user(bob.id, issuer=ISSUER, subject="s-1") == Linked(bob.id)
    assert (await links.find(ada.account, ISSUER, "s-1")).user == bob.id
    row = (await town.audit(ada.account))[-1]
    assert (row["action"], row["target"], row["addr"]) == ("user.linked", bob.id, "cli")


async def test_an_operator_links_active_users_alone(town, links):
    ada = await town.account()
    actor = await town.signed_in(ada)
    invited = (await town.invite(actor, ada.account, "invited@example.com")).member.record
    bob = await town.member(actor, ada.account, "bob@example.com")
    await town.users.change(actor, bob.id, status=Status.SUSPENDED)
    for uid in (invited.id, bob.id, ada.id[:-1] + "z", "nobody"):
        assert await links.link_user(uid, issuer=ISSUER, subject="s-1") == NoMatchingUser()


async def test_a_subject_is_sought_in_many_accounts_at_once(town, links):
    ada = await town.account()
    eve = await town.account("Evil", email="eve@example.com")
    none = "acc_aaaaaaaaaaaa"
    await link(links, ada.account)
    accounts = [ada.account, eve.account, none]
    sought = await links.seek(accounts, issuer=ISSUER, subject="s-1", email="eve@example.com")
    assert {one.account: one for one in sought} == {
        ada.account: LinkQuery(ada.account, LinkedIdentity(ada.id, ada.epoch), None),
        eve.account: LinkQuery(eve.account, None, eve.id, linkable=True),
        none: LinkQuery(none, None, None),
    }
    (there, *_) = await links.seek(accounts, issuer=ISSUER, subject="s-2", email=None)
    assert (there.link, there.by_email) == (None, None)
    await links.unlink(ada.id)
    (there, *_) = await links.seek([ada.account], issuer=ISSUER, subject="s-1", email="ada@example.com")
    assert (there.link, there.by_email, there.linkable) == (None, ada.id, False), "it is blocked"
    assert await link(links, ada.account, "s-2") == Linked(ada.id)
    (there, *_) = await links.seek([ada.account], issuer=ISSUER, subject="s-3", email="ada@example.com")
    assert (there.link, there.by_email, there.linkable) == (None, ada.id, False), "another subject"
    (there, *_) = await links.seek([ada.account], issuer=ISSUER + "/", subject="s-3", email="ada@example.com")
    assert there.linkable
