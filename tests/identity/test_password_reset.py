"""Password resets: recipients of a link, its effect, and no user enumeration (R12)."""

import asyncio

import pytest

from sidecar.domain.users import Actor, Status
from sidecar.identity.hashing import Hashing, Overloaded
from sidecar.identity.password_change import NewPassword, Replaced
from sidecar.identity.password_reset import RESET_SECONDS, ResetGone
from sidecar.identity.passwords import Weakness, WeakPassword
from sidecar.identity.sessions import Grant, InvalidGrant, refresh
from sidecar.store.connection import StoreUnavailableError
from sidecar.tokens.ids import letters
from tests.fixtures import OTHER_PASSWORD, PASSWORD, PUBLIC

THIRD = "granite-lemon-violin-63"


def secret_of(link):
    return link.url.partition("#")[2]


async def reset(town, token, password=OTHER_PASSWORD):
    return await town.people.password_reset.reset(token, password, town.client)


async def mails(town):
    await town.outbox.close()
    found, town.mailed[:] = list(town.mailed), []
    return found


def links_in(mail):
    return [line for line in mail.text.splitlines() if line.startswith(PUBLIC)]


async def test_R12_a_link_is_mailed_and_stands_in_the_fragment(town):
    await town.found()
    await town.people.forgotten.ask("Ada@Example.com", "192.0.2.1")
    assert town.mailed == [], "no work while the request waits"
    (mail,) = await mails(town)
    assert mail.recipient == "ada@example.com"
    (link,) = links_in(mail)
    path, _, token = link.partition("#")
    assert path == f"{PUBLIC}/console/reset"
    assert token.startswith("rst_")
    assert "Acme" in mail.text
    assert isinstance(await reset(town, token), Grant)


@pytest.mark.parametrize(
    "email",
    ["nobody@example.com", "new@example.com", "nobody", "", "ada@example.com\nBcc: eve@example.com", "x" * 400, "\x00"],
)
async def test_R12_whoever_has_no_password_here_gets_no_mail(town, email):
    admin = await town.found()
    await town.invite(admin, "new@example.com")
    await mails(town)
    await town.people.forgotten.ask(email, "192.0.2.1")
    assert await mails(town) == []


async def test_R12_suspended_and_removed_users_get_no_mail(town):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com")
    eve = await town.join(admin, "eve@example.com")
    actor = town.actor(admin)
    await town.people.users.change(actor, bob.id, status=Status.SUSPENDED)
    await town.people.users.remove(actor, eve.id)
    await mails(town)
    for email in ("bob@example.com", "eve@example.com"):
        await town.people.forgotten.ask(email, "192.0.2.1")
    assert await mails(town) == []


async def test_one_mail_however_many_accounts(town):
    acme, bolt = await town.found("Acme"), await town.found("Bolt")
    await town.people.forgotten.ask("ada@example.com", "192.0.2.1")
    (mail,) = await mails(town)
    changed = [await reset(town, link.partition("#")[2]) for link in links_in(mail)]
    assert {grant.record.id for grant in changed} == {acme.id, bolt.id}


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("stra\u00dfe@example.com", "strasse@example.com"),
        ("strasse@example.com", "stra\u00dfe@example.com"),
        ("\ufb01ona@example.com", "fiona@example.com"),
        ("\uff42ob@example.com", "bob@example.com"),
    ],
)
async def test_R12_a_reset_goes_to_the_written_mailbox_alone(town, written, asked):
    admin = await town.found()
    await town.join(admin, written)
    await mails(town)
    await town.people.forgotten.ask(asked, "192.0.2.1")
    assert await mails(town) == []
    await town.people.forgotten.ask(written, "192.0.2.1")
    (mail,) = await mails(town)
    assert mail.recipient == written


async def test_R12_each_mailbox_gets_the_links_of_its_own_users(town):
    acme, bolt = await town.found("Acme", "eve@example.com"), await town.found("Bolt", "max@example.com")
    await town.join(acme, "stra\u00dfe@example.com")
    await town.join(bolt, "Strasse@example.com")
    await mails(town)
    for asked, name, recipient in (
        ("stra\u00dfe@example.com", "Acme", "stra\u00dfe@example.com"),
        ("strasse@example.com", "Bolt", "Strasse@example.com"),
    ):
        await town.people.forgotten.ask(asked, "192.0.2.1")
        (mail,) = await mails(town)
        assert mail.recipient == recipient
        assert [one in mail.text for one in ("Acme", "Bolt")] == [one == name for one in ("Acme", "Bolt")]


async def test_R12_mails_are_limited_by_asker_recipient_and_account(town):
    acme, bolt = await town.found("Acme"), await town.found("Bolt")
    for refused, expected in (("192.0.2.1", 0), ("ada@example.com", 0), (acme.account, 1)):
        town.limits.no_mail = {refused}
        await town.people.forgotten.ask("ada@example.com", "192.0.2.1")
        found = await mails(town)
        assert len(found) == expected
    assert [name in found[0].text for name in ("Acme", "Bolt")] == [False, True]
    town.limits.no_mail = {acme.account, bolt.account}
    await town.people.forgotten.ask("ada@example.com", "192.0.2.1")
    assert await mails(town) == []


async def test_R16_an_address_beyond_its_limit_queues_nothing(town, monkeypatch):
    await town.found()
    posted = []
    monkeypatch.setattr(town.outbox, "post", lambda *words: posted.append(words))
    town.limits.no_mail = {"192.0.2.1"}
    for _ in range(5):
        await town.people.forgotten.ask("ada@example.com", "192.0.2.1")
    assert posted == []
    assert town.counted == {("stranger", "address_limit"): 5}
    await town.people.forgotten.ask("ada@example.com", "192.0.2.2")
    assert len(posted) == 1


async def test_R16_a_store_that_is_out_queues_nothing_for_strangers(town, monkeypatch):
    async def out(*_):
        raise StoreUnavailableError("out")

    monkeypatch.setattr(town.limits, "may_ask", out)
    await town.people.forgotten.ask("ada@example.com", "192.0.2.1")
    assert town.counted == {("stranger", "store_unavailable"): 1}
    assert await mails(town) == []


async def test_R16_a_limited_recipient_costs_the_account_nothing(town):
    """Otherwise one known e-mail could use up the account's limit."""
    await town.found()
    town.limits.no_mail = {"ada@example.com"}
    town.limits.asked.clear()
    await town.people.forgotten.ask("ada@example.com", "192.0.2.1")
    assert await mails(town) == []
    assert town.limits.asked == [("stranger", "recipient")]
    assert town.counted["stranger", "recipient_limit"] == 1


async def test_R12_a_reset_raises_the_epoch_and_ends_every_session(town, issuer):
    admin = await town.found()
    before = await town.grant("ada@example.com")
    link = town.people.password_reset.link(before.record)
    town.fleet.waited.clear()
    grant = await reset(town, secret_of(link))
    assert isinstance(grant, Grant)
    assert grant.record.epoch == admin.epoch + 1
    assert set(grant.record.sessions) == {grant.session}
    assert town.fleet.waited, "applied everywhere when the response arrives"
    assert await refresh(issuer, town.people.sessions, town.fleet, before.refresh_token, town.client) == InvalidGrant()
    assert isinstance(await refresh(issuer, town.people.sessions, town.fleet, grant.refresh_token, town.client), Grant)
    assert await town.sign_in("ada@example.com", PASSWORD) == InvalidGrant()
    assert isinstance(await town.sign_in("ada@example.com", OTHER_PASSWORD), Grant)


async def test_R12_a_link_works_once(town):
    admin = await town.found()
    links = [secret_of(town.people.password_reset.link(admin)) for _ in range(2)]
    assert isinstance(await reset(town, links[0]), Grant)
    assert await reset(town, links[0], THIRD) == ResetGone()
    assert await reset(town, links[1], THIRD) == ResetGone()
    assert isinstance(await town.sign_in("ada@example.com", OTHER_PASSWORD), Grant)


async def test_R12_of_many_at_once_one_is_taken(town):
    admin = await town.found()
    token = secret_of(town.people.password_reset.link(admin))
    outcomes = await asyncio.gather(*(reset(town, token, f"{OTHER_PASSWORD}-{number}") for number in range(8)))
    won = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Grant)]
    assert len(won) == 1
    assert outcomes.count(ResetGone()) == 7
    assert isinstance(await town.sign_in("ada@example.com", f"{OTHER_PASSWORD}-{won[0]}"), Grant)


async def test_R12_a_link_lives_an_hour(town, clock):
    admin = await town.found()
    link = town.people.password_reset.link(admin)
    assert link.expires_at == clock.unix() + RESET_SECONDS == clock.unix() + 3600
    clock.advance(3599)
    assert await reset(town, secret_of(link), "short") == WeakPassword((Weakness.TOO_SHORT,))
    clock.advance(1)
    assert await reset(town, secret_of(link)) == ResetGone()


async def test_R12_a_password_change_or_full_sign_out_revokes_a_link(town):
    admin = await town.found()
    grant = await town.grant("ada@example.com")
    link = secret_of(town.people.password_reset.link(grant.record))
    actor = Actor(admin.id, admin.role, admin.epoch, grant.session)
    typed = NewPassword(PASSWORD, OTHER_PASSWORD)
    changed = await town.people.password_change.change(admin.id, typed, actor, town.client)
    assert isinstance(changed, Replaced)
    assert await reset(town, link, THIRD) == ResetGone()
    link = secret_of(town.people.password_reset.link(changed.grant.record))
    await town.people.users.sign_out_everywhere(admin.id, Actor.operator())
    assert await reset(town, link, THIRD) == ResetGone()


async def test_R12_a_link_is_of_one_user_and_no_other_kind_of_secret(town):
    ada = await town.found()
    sent = await town.invite(ada, "new@example.com")
    bob = await town.join(ada, "bob@example.com")
    token = secret_of(town.people.password_reset.link(ada))
    later = letters((2**39).to_bytes(5, "big"), 8)
    for forged in (
        token.replace(ada.id[-12:], bob.id[-12:]),
        token[:31] + later + token[39:],
        token[:-1] + ("a" if token[-1] != "a" else "b"),
        "inv" + token[3:],
        "rst" + sent.url.partition("#")[2][3:],
        sent.url.partition("#")[2],
        token.upper(),
        token + "\n",
        "",
    ):
        assert await reset(town, forged) == ResetGone(), forged
    gone = await town.people.inviting.accept(token.replace("rst", "inv"), OTHER_PASSWORD, None, town.client)
    assert not isinstance(gone, Grant)
    assert isinstance(await reset(town, token), Grant)


@pytest.mark.parametrize("ended", ["suspended", "removed"])
async def test_R12_a_link_of_somebody_who_is_out_is_gone(town, ended):
    ada = await town.found()
    bob = await town.join(ada, "bob@example.com")
    token = secret_of(town.people.password_reset.link(bob))
    if ended == "suspended":
        await town.people.users.change(town.actor(ada), bob.id, status=Status.SUSPENDED)
    else:
        await town.people.users.remove(town.actor(ada), bob.id)
    assert await reset(town, token) == ResetGone()


async def test_R17_the_secret_is_checked_before_anything_is_hashed(town, monkeypatch):
    ada = await town.found()
    token = secret_of(town.people.password_reset.link(ada))
    hashed = []

    async def full(self, priority, *arguments):
        hashed.append(priority)
        return Overloaded(3)

    monkeypatch.setattr(Hashing, "hash", full)
    assert await reset(town, token[:-1] + "7") == ResetGone()
    assert await reset(town, token, "password1234") != ResetGone()
    assert hashed == []
    assert await reset(town, token) == Overloaded(3)


@pytest.mark.parametrize(
    ("password", "weakness"),
    [
        ("short", Weakness.TOO_SHORT),
        ("z1Y2x3W4" * 200, Weakness.TOO_LONG),
        ("ada@example.com", Weakness.CONTAINS_EMAIL),
        ("password1234", Weakness.COMMON),
    ],
)
async def test_a_weak_password_leaves_the_link_unspent(town, password, weakness):
    ada = await town.found()
    token = secret_of(town.people.password_reset.link(ada))
    refused = await reset(town, token, password)
    assert isinstance(refused, WeakPassword)
    assert weakness in refused.weaknesses
    assert isinstance(await reset(town, token), Grant)


async def test_a_link_does_not_show_in_a_repr(town):
    link = town.people.password_reset.link(await town.found())
    assert "rst_" not in repr(link)


async def test_R9_a_shown_link_unverifies_the_email_until_a_mailed_one(town):
    ada = await town.found()
    assert ada.email_verified
    shown = town.people.password_reset.link(ada, shown=True)
    grant = await reset(town, secret_of(shown))
    assert isinstance(grant, Grant)
    assert not grant.record.email_verified, "a viewer of the link may have chosen the password"
    await town.people.forgotten.ask("ada@example.com", "192.0.2.1")
    changed, mail = await mails(town)
    assert "password was changed" in changed.text
    grant = await reset(town, links_in(mail)[0].partition("#")[2], THIRD)
    assert isinstance(grant, Grant)
    assert grant.record.email_verified, "only the mailbox's owner could open this one"


async def test_R9_a_mailed_link_verifies_after_a_shown_one(town):
    bob = await town.join(await town.found(), "bob@example.com")
    assert not bob.email_verified
    grant = await reset(town, secret_of(town.people.password_reset.link(bob)))
    assert grant.record.email_verified


async def test_R9_a_mailed_link_cannot_be_derived_from_a_shown_one(town):
    ada = await town.found()
    reset_of = town.people.password_reset
    assert secret_of(reset_of.link(ada, shown=True)) != secret_of(reset_of.link(ada))


async def test_R9_a_password_change_keeps_the_verification(town):
    ada = await town.found()
    bob = await town.join(ada, "bob@example.com")
    for record in (ada, bob):
        typed = NewPassword(PASSWORD, OTHER_PASSWORD)
        changed = await town.people.password_change.change(record.id, typed, town.actor(record), town.client)
        assert isinstance(changed, Replaced)
        assert changed.grant.record.email_verified is record.email_verified
