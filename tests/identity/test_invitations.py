"""Invitations: links, seats, roles that an inviter may assign, and acceptance by the invited user."""

import asyncio
import re

import pytest

from sidecar.domain.users import Actor, Status
from sidecar.identity import outbox
from sidecar.identity.hashing import Hashing
from sidecar.identity.invitations import InvalidEmail, Invitee, Sent
from sidecar.identity.passwords import WeakPassword
from sidecar.identity.role_assignment import RoleAboveYours, UnknownRole
from sidecar.identity.sessions import Grant
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.invitations import (
    AlreadyInvited,
    AlreadyMember,
    IdempotencyKey,
    InvitationGone,
    NotInvited,
    SeatLimit,
)
from sidecar.store.outcomes import ActorChanged, IdempotencyMismatch, NoUser
from sidecar.tokens.opaque import SecretKind, new_secret

GOOD = "velvet-anchor-pigeon-77"


def token_of(sent: Sent) -> str:
    assert sent.url is not None
    return sent.url.partition("#")[2]


async def invite(town, admin, email, role="developer", actor=None, key=None):
    return await town.people.inviting.invite(
        actor or town.actor(admin), town.generation, admin.account, Invitee(email, "Bob", role), key
    )


async def accept(town, token, password=GOOD, name=None):
    return await town.people.inviting.accept(token, password, name, town.client)


async def test_R12_the_link_has_the_public_url_and_a_secret_fragment(town):
    admin = await town.found()
    sent = await invite(town, admin, "Bob@Example.com")
    assert re.fullmatch(r"https://sidecar\.example/[a-z/]+#inv_[a-z2-7_]+", sent.url)
    assert sent.member.record.email == "bob@example.com"
    assert sent.member.record.status is Status.INVITED
    assert token_of(sent) not in repr(sent)


async def test_R19_the_store_keeps_no_secret(town, store):
    admin = await town.found()
    token = token_of(await invite(town, admin, "bob@example.com"))
    client = store.client
    for key in await client.keys("*"):
        kind = await client.type(key)
        kept = {
            "hash": client.hgetall,
            "string": client.get,
            "set": client.smembers,
            "zset": lambda name: client.zrange(name, 0, -1),
            "stream": client.xrange,
        }[kind]
        assert token.rpartition("_")[2] not in str(await kept(key))


async def test_accepting_makes_the_invited_user_active_and_signs_it_in(town):
    admin = await town.found()
    sent = await invite(town, admin, "bob@example.com", "marketer")
    grant = await accept(town, token_of(sent), name="Robert")
    assert isinstance(grant, Grant)
    assert grant.record.id == sent.member.record.id
    assert (grant.record.status, grant.record.role, grant.record.name) == (Status.ACTIVE, "marketer", "Robert")
    assert grant.record.email_verified is False  # R9: the link was shown to the inviter
    assert grant.session in grant.record.sessions
    assert (await town.grant("bob@example.com", GOOD)).record.id == grant.record.id


async def test_a_link_works_once_also_for_fifty_at_once(town):
    admin = await town.found()
    token = token_of(await invite(town, admin, "bob@example.com"))
    outcomes = await asyncio.gather(*(accept(town, token) for _ in range(50)))
    assert sum(isinstance(outcome, Grant) for outcome in outcomes) == 1
    assert sum(outcome == InvitationGone() for outcome in outcomes) == 49


async def test_R17_no_link_that_is_not_good_costs_a_hash(town, monkeypatch, entropy):
    admin = await town.found()
    sent = await invite(town, admin, "bob@example.com")
    used = token_of(await invite(town, admin, "eve@example.com"))
    assert isinstance(await accept(town, used), Grant)
    hashed = []
    original = Hashing.hash

    async def counted(self, *arguments):
        hashed.append(arguments)
        return await original(self, *arguments)

    monkeypatch.setattr(Hashing, "hash", counted)
    user = sent.member.record.id
    bad = [
        "",
        "inv_",
        "x" * 8000,
        used,
        token_of(sent)[:-1] + ("a" if token_of(sent)[-1] != "a" else "b"),
        new_secret(SecretKind.INVITATION, user, entropy(20)).text,
        new_secret(SecretKind.RESET, user, entropy(20)).text,
        new_secret(SecretKind.INVITATION, admin.id, entropy(20)).text,
        token_of(sent).upper(),
        token_of(sent) + "\n",
    ]
    assert [await accept(town, token) for token in bad] == [InvitationGone()] * len(bad)
    assert hashed == []
    assert isinstance(await accept(town, token_of(sent)), Grant)


async def test_a_weak_password_leaves_the_link_unspent(town):
    admin = await town.found()
    token = token_of(await invite(town, admin, "robert@example.com"))
    for password in ("short", "password1234", "robert-otter-marble"):
        assert isinstance(await accept(town, token, password), WeakPassword)
    assert isinstance(await accept(town, token), Grant)


async def test_a_new_link_replaces_the_old_one_and_keeps_seat_and_id(town):
    admin = await town.found(seats=2)
    sent = await invite(town, admin, "bob@example.com")
    again = await town.people.inviting.resend(town.actor(admin), town.generation, admin.account, sent.member.record.id)
    assert isinstance(again, Sent)
    assert again.member.record.id == sent.member.record.id
    assert await accept(town, token_of(sent)) == InvitationGone()
    assert isinstance(await accept(town, token_of(again)), Grant)


async def test_R12_a_user_that_is_not_invited_gets_no_link(town):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com")
    inviting, actor = town.people.inviting, town.actor(admin)
    assert await inviting.resend(actor, town.generation, admin.account, bob.id) == NotInvited()
    assert await inviting.resend(actor, town.generation, admin.account, "usr_nobody") == NoUser()
    other = await town.found("Bolt", "eve@example.com")
    pending = await invite(town, other, "zoe@example.com")
    assert await inviting.resend(actor, town.generation, admin.account, pending.member.record.id) == NoUser()


async def test_every_refusal_of_an_invitation(town):
    admin = await town.found(seats=3)
    bob = await town.join(admin, "bob@example.com")
    assert await invite(town, admin, "not an e-mail") == InvalidEmail()
    assert await invite(town, admin, "BOB@example.com") == AlreadyMember(bob.id)
    sent = await invite(town, admin, "eve@example.com")
    already = await invite(town, admin, "eve@EXAMPLE.com")
    assert already == AlreadyInvited(sent.member.record.id, sent.expires_at)
    full = await invite(town, admin, "zoe@example.com")
    assert isinstance(full, SeatLimit)
    assert (full.seats.cap, full.seats.members, full.seats.used) == (3, 2, 3)
    assert [one.email for one in full.seats.invitations] == ["eve@example.com"]


@pytest.mark.parametrize(
    ("role", "nearest"), [("marketeer", "marketer"), ("Accountant", "accountant"), ("member", None), ("zzz", None)]
)
async def test_an_unknown_role_is_named_with_the_nearest(town, role, nearest):
    admin = await town.found()
    refused = await invite(town, admin, "bob@example.com", role)
    assert isinstance(refused, UnknownRole)
    assert set(refused.roles) == {"account-administrator", "accountant", "developer", "marketer"}
    assert "member" not in refused.roles
    if nearest:
        assert refused.nearest == nearest


async def test_R11_nobody_invites_to_more_than_they_have(town):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com", "marketer")
    for role in ("account-administrator", "developer", "accountant"):
        assert await invite(town, admin, "eve@example.com", role, actor=town.actor(bob)) == RoleAboveYours(role)
    assert isinstance(await invite(town, admin, "eve@example.com", "marketer", actor=town.actor(bob)), Sent)
    assert isinstance(await invite(town, admin, "zoe@example.com", "developer", actor=Actor.operator()), Sent)


async def test_R11_invitations_to_higher_roles_are_out_of_reach(town):
    admin = await town.found(seats=9)
    mia = await town.join(admin, "mia@example.com", "marketer")
    above = (await invite(town, admin, "eve@example.com", "developer")).member.record.id
    peer = (await invite(town, admin, "max@example.com", "marketer")).member.record.id
    actor = town.actor(mia)
    inviting, membership = town.people.inviting, town.people.membership
    refused = RoleAboveYours("developer")
    assert await inviting.resend(actor, town.generation, admin.account, above) == refused
    assert await membership.remove(actor, town.generation, admin.account, above) == refused
    assert isinstance(await inviting.resend(actor, town.generation, admin.account, peer), Sent)


async def test_R11_an_actor_that_has_changed_invites_nobody(town):
    admin = await town.found()
    stale = Actor(admin.id, "account-administrator", admin.epoch + 1, None)
    assert await invite(town, admin, "bob@example.com", actor=stale) == ActorChanged()


async def test_R13_a_replay_gets_the_same_user_and_no_secret(town):
    admin = await town.found()
    key = IdempotencyKey("k" * 64, "b" * 64)
    first = await invite(town, admin, "bob@example.com", key=key)
    second = await invite(town, admin, "bob@example.com", key=key)
    assert isinstance(second, Sent)
    assert second.member.record.id == first.member.record.id
    assert second.url is None
    other = await invite(town, admin, "eve@example.com", key=IdempotencyKey("k" * 64, "c" * 64))
    assert other == IdempotencyMismatch()
    assert isinstance(await accept(town, token_of(first)), Grant)


async def mailed_link(town):
    await town.outbox.close()
    (mail,) = town.mailed
    town.mailed.clear()
    return mail, next(line for line in mail.text.splitlines() if line.startswith("https://"))


async def test_R9_a_mailed_link_verifies_the_email_a_shown_one_not(town):
    admin = await town.found(seats=9)
    for email, by_mail in (("bob@example.com", True), ("eve@example.com", False)):
        sent = await town.invite(admin, email)
        mail, link = await mailed_link(town)
        assert (mail.recipient, "Acme" in mail.text) == (email, True)
        assert link.startswith(sent.url)
        assert link != sent.url
        token = (link if by_mail else sent.url).partition("#")[2]
        grant = await town.people.inviting.accept(token, GOOD, None, town.client)
        assert grant.record.email_verified is by_mail


@pytest.mark.parametrize(
    ("written", "proven"),
    [
        ("Bob@Example.com", "bob@example.com"),
        ("stra\u00dfe@example.com", None),
        ("\ufb01ona@example.com", None),
        ("\uff42ob@example.com", None),
    ],
)
async def test_R9_mail_goes_to_the_written_form_and_proves_that_alone(town, written, proven):
    """Sign-in compares the folded form. ``email_verified`` is about the folded form, so it needs the same mailbox."""
    admin = await town.found()
    sent = await town.invite(admin, written)
    mail, link = await mailed_link(town)
    assert mail.recipient == sent.member.record.mailbox == written.replace("Example", "example")
    again = await town.people.inviting.resend(town.actor(admin), town.generation, admin.account, sent.member.record.id)
    assert again.member.record.mailbox == mail.recipient
    mail, link = await mailed_link(town)
    assert mail.recipient == again.member.record.mailbox
    grant = await town.people.inviting.accept(link.partition("#")[2], GOOD, None, town.client)
    assert grant.record.mailbox == mail.recipient
    assert grant.record.email_verified is (proven is not None)
    assert (await town.grant(written, GOOD)).record.id == grant.record.id


async def test_R9_a_mailed_link_cannot_be_derived_from_a_shown_one(town):
    admin = await town.found()
    sent = await town.invite(admin, "bob@example.com")
    other = await town.invite(admin, "eve@example.com")
    await town.outbox.close()
    proofs = [mail.text.partition("#")[2].split()[0].rpartition("_")[2] for mail in town.mailed]
    shown = sent.url.partition("#")[2]
    for forged in ("_", "_" + "a" * 26, "_" + proofs[1], "_" + proofs[0].upper(), "_ä", "_" + proofs[0] + "a"):
        assert await town.people.inviting.accept(shown + forged, GOOD, None, town.client) == InvitationGone()
    assert other.url
    grant = await town.people.inviting.accept(f"{shown}_{proofs[0]}", GOOD, None, town.client)
    assert grant.record.email_verified


async def test_R9_a_new_link_is_mailed_and_the_mailed_old_one_is_dead(town):
    admin = await town.found()
    sent = await town.invite(admin, "bob@example.com")
    _, old = await mailed_link(town)
    again = await town.people.inviting.resend(town.actor(admin), town.generation, admin.account, sent.member.record.id)
    _, new = await mailed_link(town)
    assert new.startswith(again.url)
    accept = town.people.inviting.accept
    assert await accept(old.partition("#")[2], GOOD, None, town.client) == InvitationGone()
    assert (await accept(new.partition("#")[2], GOOD, None, town.client)).record.email_verified


async def test_R12_invitation_mails_have_recipient_and_account_limits(town):
    admin = await town.found()
    for refused, email, outcome in (
        ("bob@example.com", "bob@example.com", "recipient_limit"),
        (admin.account, "eve@example.com", "account_limit"),
    ):
        town.limits.no_mail = {refused}
        town.limits.asked.clear()
        sent = await town.invite(admin, email)
        assert sent.mailed is False
        assert town.counted["user", outcome] == 1
        await town.outbox.close()
        assert town.mailed == []
    assert town.limits.asked == [("user", "recipient"), ("user", "account")], "the recipient's first"


async def test_whoever_invites_learns_whether_a_mail_is_queued(town, monkeypatch):
    admin = await town.found(seats=9)
    inviting, actor = town.people.inviting, town.actor(admin)
    sent = await town.invite(admin, "bob@example.com")
    assert sent.mailed is True
    assert town.counted["user", "queued"] == 1
    again = await inviting.resend(actor, town.generation, admin.account, sent.member.record.id)
    assert again.mailed is True

    async def out(*_):
        raise StoreUnavailableError("out")

    with monkeypatch.context() as broken:
        broken.setattr(town.limits, "may_mail", out)
        assert (await town.invite(admin, "eve@example.com")).mailed is False, (
            "the invitation is valid, its link is shown"
        )
    with monkeypatch.context() as broken:
        broken.setattr(outbox, "MAX_WAITING", 1)
        full = outbox.Outbox(None)
        broken.setattr(inviting, "_outbox", full)
        assert (await town.invite(admin, "max@example.com")).mailed is True
        assert (await town.invite(admin, "zoe@example.com")).mailed is False
    with monkeypatch.context() as broken:
        broken.setattr(inviting, "_outbox", None)
        assert (await town.invite(admin, "kim@example.com")).mailed is False


async def test_R13_a_replay_sends_no_second_mail(town):
    admin = await town.found()
    key = IdempotencyKey("k" * 64, "b" * 64)
    for _ in range(2):
        await town.people.inviting.invite(
            town.actor(admin), town.generation, admin.account, Invitee("bob@example.com", "", "developer"), key
        )
    await mailed_link(town)
