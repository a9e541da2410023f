"""Sign-in: one response and one amount of work for every kind of failure."""

import pytest

from sidecar.domain.users import Actor, Status
from sidecar.identity import login
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Hashing, HashParameters, Overloaded, Priority
from sidecar.identity.login import AccountOption, AccountRequired, ResetRequired
from sidecar.identity.sessions import Grant, InvalidGrant, refresh
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.users import Users
from sidecar.tokens.opaque import Pepper
from sidecar.tokens.verify import Verifier

PASSWORD = "unquiet-otter-marble-41"
WRONG = "velvet-anchor-pigeon-77"


@pytest.fixture
def work(town, monkeypatch):
    """Every comparison, by priority."""
    lanes: list[Priority] = []
    compare, nobody = Hashing.compare, Hashing.verify_dummy

    async def counted(self, priority, *arguments):
        lanes.append(priority)
        return await compare(self, priority, *arguments)

    async def counted_nobody(self, priority, *arguments):
        lanes.append(priority)
        return await nobody(self, priority, *arguments)

    monkeypatch.setattr(Hashing, "compare", counted)
    monkeypatch.setattr(Hashing, "verify_dummy", counted_nobody)
    return lanes


async def test_a_right_password_opens_a_session(town, issuer, clock):
    admin = await town.found()
    grant = await town.grant("Ada@EXAMPLE.com.")
    assert grant.record.id == admin.id
    assert grant.session in grant.record.sessions
    claims = Verifier(issuer.keys, issuer.issuer, "dashboard", 900).verify(grant.access_token, now=clock.unix())
    assert (claims.user, claims.session, claims.epoch) == (admin.id, grant.session, grant.record.epoch)
    assert town.limits.failures == []


@pytest.mark.parametrize(
    "typed", ["ada@example.com ", " ada@example.com", "ada@example.com\n", "\tAda@example.com\r\n"]
)
async def test_spaces_around_an_email_are_ignored_wherever_it_is_typed(town, typed):
    """A phone's keyboard adds a space behind a completed address; a pasted address has a line end."""
    ada = await town.found(email=typed)
    assert (ada.email, ada.mailbox.lower()) == ("ada@example.com", "ada@example.com")
    assert (await town.grant(typed)).record.id == ada.id
    assert (await town.invite(ada, typed.replace("da@", "nna@"))).member.record.email == "anna@example.com"
    assert await town.sign_in(typed, WRONG) == InvalidGrant()
    assert town.limits.failures == ["ada@example.com"], "one bucket for every spelling"
    await town.outbox.close()
    town.mailed.clear()
    await town.people.forgotten.ask(typed, "192.0.2.1")
    await town.outbox.close()
    assert [mail.recipient for mail in town.mailed] == [ada.mailbox]


@pytest.mark.parametrize("account", ["Acme", "acme", "ID"])
async def test_the_account_may_be_named_by_name_or_id(town, account):
    admin = await town.found()
    await town.found("Bolt", "ada@example.com")
    grant = await town.grant("ada@example.com", account=admin.account if account == "ID" else account)
    assert grant.record.id == admin.id


async def test_all_failures_get_the_same_response_for_the_same_work(town, work):
    admin = await town.found(seats=20)
    bob = await town.join(admin, "bob@example.com")
    gone = await town.join(admin, "gone@example.com")
    await town.invite(admin, "new@example.com")
    actor = town.actor(admin)
    await town.people.users.change(actor, bob.id, status=Status.SUSPENDED)
    await town.people.users.remove(actor, gone.id)
    work.clear()
    cases = [
        ("ada@example.com", WRONG),
        ("nobody@example.com", PASSWORD),
        ("not an e-mail", PASSWORD),
        ("bob@example.com", PASSWORD),
        ("gone@example.com", PASSWORD),
        ("new@example.com", PASSWORD),
    ]
    for account in (None, "Acme", "Nowhere"):
        for email, password in cases:
            town.limits.failures.clear()
            town.pauses.clear()
            assert await town.sign_in(email, password, account) == InvalidGrant(), email
            assert work == [Priority.SIGN_IN], (email, account)
            assert len(town.pauses) == (account is None)
            assert len(town.limits.failures) == 1
            work.clear()


async def test_R17_at_most_four_candidates_are_hashed(town, work):
    for number in range(6):
        await town.found(f"Acme {number}")
    work.clear()
    assert await town.sign_in("ada@example.com", WRONG) == AccountRequired(proven=False)
    assert len(work) == 4


async def plant(town, email, number, password=WRONG):
    """Create accounts whose administrators accepted an invitation for ``email`` themselves: it proves nothing (R9)."""
    for place in range(number):
        admin = await town.found(f"Trap {place}", f"trap{place}@example.com")
        sent = await town.invite(admin, email)
        await town.people.inviting.accept(sent.url.partition("#")[2], password, None, town.client)


@pytest.mark.parametrize("traps", [4, 7])
async def test_R17_unproven_emails_in_other_accounts_displace_no_owner(town, traps):
    await plant(town, "ada@example.com", traps)
    ada = await town.found("Zeta")  # ids are random: at least one of four accounts sorts before it
    assert (await town.grant("ada@example.com")).record.id == ada.id


async def test_R17_beyond_four_candidates_the_account_is_required(town):
    await plant(town, "bob@example.com", 5)
    admin = await town.found("Zeta")
    bob = await town.join(admin, "bob@example.com")  # not verified either
    places = await town.people.users.accounts_of("bob@example.com")
    beyond = places.index(bob.account) >= 4
    outcome = await town.sign_in("bob@example.com")
    assert outcome == AccountRequired(proven=False) if beyond else outcome.record.id == bob.id
    assert (await town.grant("bob@example.com", account="Zeta")).record.id == bob.id
    assert await town.sign_in("bob@example.com", "amber-walnut-kettle-19") == AccountRequired(proven=False)
    assert await town.sign_in("bob@example.com", "amber-walnut-kettle-19", "Zeta") == InvalidGrant()


async def test_R16_a_required_account_without_proof_is_a_failure(town):
    for number in range(5):
        await town.found(f"Acme {number}")
    assert await town.sign_in("ada@example.com", WRONG) == AccountRequired(proven=False)
    assert town.limits.failures == ["ada@example.com"]
    town.limits.failures.clear()
    assert await town.sign_in("ada@example.com") == AccountRequired()
    assert town.limits.failures == [], "the password was right"


async def test_R17_users_without_sign_in_do_not_require_the_account(town):
    for number in range(6):
        admin = await town.found(f"Acme {number}", f"ada{number}@example.com")
        await town.invite(admin, "new@example.com")
    assert await town.sign_in("new@example.com", WRONG) == InvalidGrant()


async def test_R17_the_wait_hides_in_how_many_accounts_an_email_is(town):
    waits = []
    for number in range(4):
        await town.found(f"Acme {number}")
        town.pauses.clear()
        town.hashing.seconds = 1.0
        await town.sign_in("ada@example.com", WRONG)
        waits.append(round(town.pauses[0] / town.hashing.seconds))
    assert waits == [3, 2, 1, 0]


async def test_a_password_right_in_several_accounts_asks_for_one(town):
    bolt = await town.found("Bolt")
    acme = await town.found("Acme")
    options = (AccountOption(acme.account, "Acme"), AccountOption(bolt.account, "Bolt"))
    assert await town.sign_in("ada@example.com") == AccountRequired(accounts=options)
    assert await town.sign_in("ada@example.com", WRONG) == InvalidGrant()
    assert (await town.grant("ada@example.com", account="Bolt")).record.id == bolt.id


async def test_R17_a_choice_has_accounts_of_the_right_password_alone(town, work):
    """Not that of another password, a suspended user, an invited one, or a suspended account."""
    same = [await town.found(name) for name in ("Acme", "Bolt")]
    other = await town.found("Other password")
    kept = await town.hashing.hash(Priority.PROVEN, other.id, WRONG)
    await town.people.users.change_password(
        other.id, expected_epoch=1, password_hash=kept, session=None, actor=Actor.operator()
    )
    closed = await town.found("Closed")
    await town.people.accounts.set_status(closed.account, Status.SUSPENDED, Actor.operator())
    work.clear()
    town.pauses.clear()
    outcome = await town.sign_in("ada@example.com")
    assert [one.id for one in outcome.accounts] == [one.account for one in same]
    assert (len(work), town.pauses) == (4, [])
    town.limits.failures.clear()
    assert await town.sign_in("ada@example.com", "amber-walnut-kettle-19") == InvalidGrant()
    assert len(town.pauses) == 1


async def test_R17_there_is_no_choice_beyond_four_accounts(town, work, monkeypatch):
    for number in range(5):
        await town.found(f"Acme {number}")
    read = []
    find = type(town.people.accounts).find

    async def counted(self, name):
        read.append(name)
        return await find(self, name)

    monkeypatch.setattr(type(town.people.accounts), "find", counted)
    work.clear()
    assert await town.sign_in("ada@example.com") == AccountRequired(accounts=())
    assert await town.sign_in("ada@example.com", WRONG) == AccountRequired(proven=False)
    assert (len(work), read) == (8, [])


@pytest.mark.parametrize("accounts", [1, 2, 4])
async def test_R17_a_wrong_password_reads_no_account(town, accounts, monkeypatch):
    for number in range(accounts):
        await town.found(f"Acme {number}")
    monkeypatch.setattr(type(town.people.accounts), "find", None)
    assert await town.sign_in("ada@example.com", WRONG) == InvalidGrant()


async def test_a_password_of_one_of_several_accounts_needs_no_name(town):
    acme, bolt = await town.found("Acme"), await town.found("Bolt")
    kept = await town.hashing.hash(Priority.PROVEN, bolt.id, WRONG)
    await town.people.users.change_password(
        bolt.id, expected_epoch=1, password_hash=kept, session=None, actor=Actor.operator()
    )
    assert (await town.grant("ada@example.com", WRONG)).record.id == bolt.id
    assert (await town.grant("ada@example.com", PASSWORD)).record.id == acme.id


async def test_R17_a_reset_is_required_only_after_the_right_password(town):
    """The epoch was repaired after a loss of data, so the hash may be of an older password."""
    admin = await town.found()
    healed = await town.people.users.raise_epoch(admin.id, admin.epoch + 1)
    assert await town.sign_in("ada@example.com", WRONG) == InvalidGrant()
    assert await town.sign_in("ada@example.com") == ResetRequired()
    token = town.people.password_reset.link(healed.record).url.partition("#")[2]
    assert isinstance(await town.people.password_reset.reset(token, WRONG, town.client), Grant)
    assert isinstance(await town.sign_in("ada@example.com", WRONG), Grant)


async def test_a_stronger_hash_that_cannot_be_kept_fails_no_sign_in(town, monkeypatch):
    await town.found()
    town.people.login._hashing = Hashing(Pepper(bytes(range(32))), parameters=HashParameters(2, 16), threads=1)

    async def out(*_, **__):
        raise StoreUnavailableError("out")

    monkeypatch.setattr(Users, "rehash", out)
    assert isinstance(await town.sign_in("ada@example.com"), Grant)
    town.people.login._hashing.close()


@pytest.mark.parametrize("password", ["", "short", "x" * 5000, "\ud800" * 12, "\ufdfa" * 500])
async def test_hostile_passwords_are_only_wrong(town, password):
    await town.found()
    assert await town.sign_in("ada@example.com", password) == InvalidGrant()


async def test_R16_a_limit_refuses_before_any_work(town, work):
    await town.found()
    work.clear()
    town.limits.refuse = Limited(17)
    assert await town.sign_in("ada@example.com") == Limited(17)
    assert work == []


async def test_R16_the_limit_is_asked_before_the_password_is_looked_at(town, monkeypatch):
    def never(_: str) -> None:
        raise AssertionError("looked at")

    await town.found()
    monkeypatch.setattr(login, "normalise_password", never)
    town.limits.refuse = Limited(17)
    assert await town.sign_in("ada@example.com") == Limited(17)
    monkeypatch.setattr(login, "normalise", never)
    monkeypatch.setattr(town.limits, "refused", lambda address: Limited(5))
    assert await town.sign_in("ada@example.com") == Limited(5), "an address that was rejected just now"


async def test_R16_an_impossible_password_is_a_failure_unless_too_long(town, work):
    await town.found()
    work.clear()
    stacked = "unquiet-otter" + "\u0344" * 31
    assert await town.sign_in("ada@example.com", stacked) == InvalidGrant()
    assert town.limits.failures == ["ada@example.com"]
    assert await town.sign_in("ada@example.com", "x" * 3073) == InvalidGrant()
    assert town.limits.failures == ["ada@example.com"]
    assert work == []


async def test_R16_suspect_sign_ins_take_the_small_lane(town, work):
    await town.found()
    work.clear()
    town.limits.suspect = True
    await town.grant("ada@example.com")
    assert work == [Priority.SUSPECT]


async def test_a_full_pool_counts_as_no_failure(town, monkeypatch):
    await town.found()

    async def full(self, priority, *arguments):
        return Overloaded(2)

    monkeypatch.setattr(Hashing, "compare", full)
    monkeypatch.setattr(Hashing, "verify_dummy", full)
    assert await town.sign_in("ada@example.com") == Overloaded(2)
    assert await town.sign_in("nobody@example.com") == Overloaded(2)
    assert town.limits.failures == []


async def test_stronger_parameters_re_hash_at_sign_in(town):
    admin = await town.found()
    stronger = Hashing(Pepper(bytes(range(32))), parameters=HashParameters(2, 16), threads=1)
    town.people.login._hashing = stronger
    before = await town.people.users.credentials_of(admin.id)
    grant = await town.grant("ada@example.com")
    after = await town.people.users.credentials_of(admin.id)
    assert "m=8,t=1" in before.password_hash
    assert "m=16,t=2" in after.password_hash
    assert after.record.epoch == before.record.epoch
    assert (await town.grant("ada@example.com")).record.id == grant.record.id
    stronger.close()


async def test_an_epoch_raised_during_the_hashing_is_read_again(town, monkeypatch):
    """A sign-out everywhere keeps the password, so the sign-in continues; a password change aborts it."""
    admin = await town.found()
    compare = Hashing.compare
    meanwhile = [
        lambda: town.people.users.sign_out_everywhere(admin.id, Actor.operator()),
        lambda: town.people.users.change_password(
            admin.id, expected_epoch=2, password_hash="other", session=None, actor=Actor.operator()
        ),
    ]

    async def slow(self, priority, *arguments):
        compared = await compare(self, priority, *arguments)
        await meanwhile.pop(0)()
        return compared

    monkeypatch.setattr(Hashing, "compare", slow)
    assert (await town.grant("ada@example.com")).record.epoch == 2
    assert await town.sign_in("ada@example.com") == InvalidGrant()


async def test_R17_an_epoch_repair_during_the_hashing_requires_a_reset(town, monkeypatch):
    """The compared hash may be an older password's, also if the repair is found only now."""
    admin = await town.found()
    compare = Hashing.compare

    async def slow(self, priority, *arguments):
        compared = await compare(self, priority, *arguments)
        await town.people.users.raise_epoch(admin.id, admin.epoch + 1)
        return compared

    monkeypatch.setattr(Hashing, "compare", slow)
    assert await town.sign_in("ada@example.com") == ResetRequired()
    assert not (await town.people.users.record(admin.id)).sessions


async def test_a_user_that_is_suspended_during_the_hashing_stays_out(town, monkeypatch):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com")
    compare = Hashing.compare

    async def slow(self, priority, *arguments):
        compared = await compare(self, priority, *arguments)
        await town.people.users.change(town.actor(admin), bob.id, status=Status.SUSPENDED)
        return compared

    monkeypatch.setattr(Hashing, "compare", slow)
    assert await town.sign_in("bob@example.com") == InvalidGrant()


async def test_R14_refresh_rotates_and_a_retry_gets_the_same_successor(town, issuer):
    await town.found()
    first = await town.grant("ada@example.com")
    second = await refresh(issuer, town.people.sessions, town.fleet, first.refresh_token, town.client)
    assert isinstance(second, Grant)
    assert second.refresh_token != first.refresh_token
    retry = await refresh(issuer, town.people.sessions, town.fleet, first.refresh_token, town.client)
    assert retry.refresh_token == second.refresh_token
    third = await refresh(issuer, town.people.sessions, town.fleet, second.refresh_token, town.client)
    assert isinstance(third, Grant)


async def test_R14_an_older_token_ends_the_session_garbage_does_not(town, issuer):
    await town.found()
    first = await town.grant("ada@example.com")
    second = await refresh(issuer, town.people.sessions, town.fleet, first.refresh_token, town.client)
    third = await refresh(issuer, town.people.sessions, town.fleet, second.refresh_token, town.client)
    for garbage in ("", "rt_x", first.refresh_token[:-1], first.access_token, "inv_" + "a" * 60):
        assert await refresh(issuer, town.people.sessions, town.fleet, garbage, town.client) == InvalidGrant()
    fourth = await refresh(issuer, town.people.sessions, town.fleet, third.refresh_token, town.client)
    assert isinstance(fourth, Grant)
    assert await refresh(issuer, town.people.sessions, town.fleet, first.refresh_token, town.client) == InvalidGrant()
    assert await refresh(issuer, town.people.sessions, town.fleet, fourth.refresh_token, town.client) == InvalidGrant()
    record = await Users(town.people.users._store).record(first.record.id)
    assert first.session not in record.sessions
    reused = (await town.people.audit.page(record.account)).rows[0]
    assert (reused.action, reused.address, reused.request_id) == ("session.reused", "192.0.2.1", "r-1")


async def test_no_password_or_token_shows_in_a_repr(town):
    await town.found()
    grant = await town.grant("ada@example.com")
    assert grant.access_token not in repr(grant)
    assert grant.refresh_token not in repr(grant)
