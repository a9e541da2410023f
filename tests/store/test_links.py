"""Links of outside subjects to users (R10): by a verified e-mail, once, to an active user, and gone with it."""

import asyncio

import pytest

from sidecar.store.links import Held, LinkBarred, Linked, Links, LinkTaken, NobodyToLink, NotLinked, Unlinked
from sidecar.store.outcomes import NoUser
from sidecar.vocabulary.people import Status

ISSUER = "https://login.example"


@pytest.fixture
def links(store):
    return Links(store)


async def link(links, account, subject="s-1", email="ada@example.com", issuer=ISSUER):
    return await links.link(account, issuer=issuer, subject=subject, email=email)


async def test_R10_a_subject_is_linked_once_and_found_ever_after(town, links):
    ada = await town.account()
    assert await links.find(ada.account, ISSUER, "s-1") is None
    assert await link(links, ada.account) == Linked(ada.id)
    assert await links.find(ada.account, ISSUER, "s-1") == Held(ada.id, ada.epoch)
    row = (await town.audit(ada.account))[-1]
    assert (row["k"], row["u"], row["by"]) == ("user.linked", ada.id, "")
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
        assert await link(links, ada.account, email=email) == NobodyToLink()


@pytest.mark.parametrize(
    ("mailbox", "email", "linked"),
    [
        ("Bob@example.com", "bob@example.com", True),
        ("stra\u00dfe@example.com", "strasse@example.com", False),
        ("\uff42ob@example.com", "bob@example.com", False),
    ],
)
async def test_R10_the_verified_owner_of_another_mailbox_that_folds_alike_is_not_linked(
    town, links, mailbox, email, linked
):
    ada = await town.account()
    invited = await town.invite(await town.signed_in(ada), ada.account, email, mailbox=mailbox, digest="d")
    accepted = await town.invitations.accept(
        invited.member.record.id, digest="d", password_hash="h", name=None, session=None
    )
    assert accepted.record.mailbox == mailbox
    outcome = await link(links, ada.account, email=email)
    assert outcome == (Linked(accepted.record.id) if linked else NobodyToLink())


async def test_a_removed_user_takes_its_links_along(town, links, store):
    ada = await town.account()
    actor = await town.signed_in(ada)
    bob = await town.member(actor, ada.account, "bob@example.com")
    await link(links, ada.account, "s-bob", "bob@example.com")
    await link(links, ada.account, "s-ada")
    await town.users.remove(actor, bob.id)
    assert await links.find(ada.account, ISSUER, "s-bob") is None
    assert await link(links, ada.account, "s-bob", "bob@example.com") == NobodyToLink()
    again = await town.member(actor, ada.account, "bob@example.com")
    assert await link(links, ada.account, "s-bob", "bob@example.com") == Linked(again.id)
    assert await links.find(ada.account, ISSUER, "s-ada") == Held(ada.id, ada.epoch)


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


async def test_R10_a_suspension_ends_what_outside_issuers_issued_as_it_ends_sessions(town):
    ada = await town.account()
    actor = await town.signed_in(ada)
    bob = await town.member(actor, ada.account, "bob@example.com")
    before = int(await town.now_ms() / 1000)
    for status in (Status.SUSPENDED, Status.ACTIVE):
        await town.users.change(actor, bob.id, status=status)
    resumed = await town.users.record(bob.id)
    assert (resumed.epoch, resumed.sessions) == (bob.epoch, {})
    assert resumed.epoch_changed_at >= before


async def test_R10_a_subject_that_was_parted_does_not_come_back_and_another_may(town, links):
    ada = await town.account()
    await town.signed_in(ada)
    await link(links, ada.account, "s-1")
    parted = await links.unlink(ada.id)
    assert isinstance(parted, Unlinked)
    assert (parted.subjects, parted.record.epoch, parted.record.sessions) == (1, ada.epoch + 1, {})
    assert parted.record.epoch_changed_at > 0
    assert await links.find(ada.account, ISSUER, "s-1") is None
    assert await link(links, ada.account, "s-1") == LinkBarred()
    assert await link(links, ada.account, "s-2") == Linked(ada.id)
    assert await links.find(ada.account, ISSUER, "s-2") == Held(ada.id, ada.epoch + 1)
    row = next(row for row in await town.audit(ada.account) if row["k"] == "user.unlinked")
    assert (row["u"], row["by"], row["addr"]) == (ada.id, "", "cli")
    assert '"subjects":1' in row["before"]


async def test_a_subject_that_may_return_is_linked_anew(town, links):
    ada = await town.account()
    await link(links, ada.account, "s-1")
    assert isinstance(await links.unlink(ada.id), Unlinked)
    assert await links.unlink(ada.id) == NotLinked(), "it is parted already"
    assert isinstance(await links.unlink(ada.id, may_return=True), Unlinked)
    assert await link(links, ada.account, "s-1") == Linked(ada.id)
    assert isinstance(await links.unlink(ada.id, may_return=True), Unlinked)
    assert await link(links, ada.account, "s-1") == Linked(ada.id)


async def test_only_the_subjects_of_one_user_and_of_the_issuer_that_was_named_are_parted(town, links):
    ada = await town.account()
    bob = await town.member(await town.signed_in(ada), ada.account, "bob@example.com")
    other = ISSUER + ".org"
    await link(links, ada.account, "s-1")
    await link(links, ada.account, "s-1", issuer=other)
    await link(links, ada.account, "s-bob", "bob@example.com")
    assert await links.unlink(bob.id, issuer=other) == NotLinked()
    assert (await town.users.record(bob.id)).epoch == bob.epoch, "who is not linked keeps its tokens"
    assert (await links.unlink(ada.id, issuer=other)).subjects == 1
    assert (await links.find(ada.account, ISSUER, "s-1")).user == ada.id
    assert (await links.find(ada.account, ISSUER, "s-bob")).user == bob.id
    assert await links.unlink("usr_aaaaaaaaaaaa_bbbbbbbbbbbb") == NoUser()


async def test_a_user_that_was_invited_anew_is_not_barred_from_its_old_subject(town, links):
    ada = await town.account()
    actor = await town.signed_in(ada)
    bob = await town.member(actor, ada.account, "bob@example.com")
    await link(links, ada.account, "s-bob", "bob@example.com")
    await links.unlink(bob.id)
    await town.users.remove(actor, bob.id)
    again = await town.member(actor, ada.account, "bob@example.com")
    assert await link(links, ada.account, "s-bob", "bob@example.com") == Linked(again.id)
