"""Invitations: the cap under concurrency, seats that free themselves, secrets that work once."""

import asyncio

from sidecar.store.invitations import (
    Accepted,
    AlreadyInvited,
    AlreadyMember,
    IdempotencyKey,
    InvitationGone,
    Invited,
    NotInvited,
    SeatLimit,
)
from sidecar.store.outcomes import AccountSuspended, IdempotencyMismatch, NoAccount, NoUser
from sidecar.tokens.ids import new_account_id
from sidecar.vocabulary.people import Actor, Status

OPERATOR = Actor.operator()


async def accept(town, uid, digest, name=None, session=None, mailed=False):
    return await town.invitations.accept(
        uid, digest=digest, password_hash="hash", name=name, session=session, mailed=mailed
    )


async def test_an_invited_user_holds_a_seat_and_becomes_a_member_on_it(town):
    admin = await town.account(cap=2)
    actor = await town.signed_in(admin)

    invited = await town.invite(actor, admin.account, "b@example.com", role="developer", name="Bea")

    assert isinstance(invited, Invited)
    record = invited.member.record
    assert (record.status, record.role, record.email, record.name) == (
        Status.INVITED,
        "developer",
        "b@example.com",
        "Bea",
    )
    seats = await town.accounts.seats(admin.account)
    assert (seats.members, seats.used, seats.available) == (1, 2, 0)
    assert [(pending.user, pending.email) for pending in seats.invitations] == [(record.id, "b@example.com")]
    assert await town.users.accounts_of("b@example.com") == [admin.account]

    session = town.session(address="192.0.2.7", agent="Firefox")
    accepted = await accept(town, record.id, "digest-b@example.com", session=session)

    assert isinstance(accepted, Accepted)
    assert (accepted.record.id, accepted.record.status, accepted.record.epoch) == (record.id, Status.ACTIVE, 1)
    assert set(accepted.record.sessions) == {session.id}
    assert (await town.accounts.seats(admin.account)).members == 2
    assert (await town.users.credentials_of(record.id)).password_hash == "hash"


async def test_of_a_hundred_invitations_at_once_the_last_seat_goes_to_one(town):
    admin = await town.account(cap=5)
    for letter in "bcd":
        await town.member(OPERATOR, admin.account, f"{letter}@example.com")
    actor = await town.signed_in(admin)

    outcomes = await asyncio.gather(
        *(town.invite(actor, admin.account, f"new{number}@example.com") for number in range(100))
    )

    assert sum(isinstance(outcome, Invited) for outcome in outcomes) == 1
    refused = [outcome for outcome in outcomes if isinstance(outcome, SeatLimit)]
    assert len(refused) == 99
    assert (refused[0].seats.cap, refused[0].seats.used, refused[0].seats.members) == (5, 5, 4)
    assert len(refused[0].seats.invitations) == 1
    assert len(await town.users.listing(admin.account)) == 5


async def test_of_fifty_that_accept_one_invitation_at_once_one_does(town):
    admin = await town.account()
    invited = await town.invite(OPERATOR, admin.account, "b@example.com")

    outcomes = await asyncio.gather(
        *(accept(town, invited.member.record.id, "digest-b@example.com") for _ in range(50))
    )

    assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 1
    assert outcomes.count(InvitationGone()) == 49


async def test_of_twenty_invitations_of_one_email_at_once_one_stands(town):
    admin = await town.account(cap=50)

    outcomes = await asyncio.gather(*(town.invite(OPERATOR, admin.account, "b@example.com") for _ in range(20)))

    assert sum(isinstance(outcome, Invited) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyInvited) for outcome in outcomes) == 19
    assert await town.users.accounts_of("b@example.com") == [admin.account]


async def test_an_email_is_once_in_an_account_and_again_in_another(town):
    admin = await town.account(email="ada@example.com")
    other = await town.account(name="Other", email="x@example.com")

    assert await town.invite(OPERATOR, admin.account, "ada@example.com") == AlreadyMember(admin.id)
    invited = await town.invite(OPERATOR, admin.account, "b@example.com")
    assert await town.invite(OPERATOR, admin.account, "b@example.com") == AlreadyInvited(
        invited.member.record.id, invited.expires_at
    )
    assert isinstance(await town.invite(OPERATOR, other.account, "b@example.com"), Invited)
    assert await town.users.accounts_of("b@example.com") == sorted([admin.account, other.account])


async def test_an_expired_invitation_frees_seat_and_email_at_that_instant(town):
    admin = await town.account(cap=2)
    first = await town.invite(OPERATOR, admin.account, "b@example.com", ttl=0.05)
    uid = first.member.record.id
    await town.until(await town.now_ms() + 60)

    assert (await town.accounts.seats(admin.account)).used == 1
    assert await town.users.record(uid) is None
    assert await town.users.find(admin.account, "b@example.com") is None
    assert len(await town.users.listing(admin.account)) == 1
    assert await accept(town, uid, "digest-b@example.com") == InvitationGone()
    assert await town.invitations.resend(OPERATOR, uid, digest="d", ttl=60) == NoUser()
    assert await town.users.remove(OPERATOR, uid) == NoUser()
    again = await town.invite(OPERATOR, admin.account, "b@example.com")
    assert isinstance(again, Invited)
    assert again.member.record.id != uid
    assert await accept(town, uid, "digest-b@example.com") == InvitationGone()


async def test_an_expired_invitation_is_cleared_also_when_its_own_hash_has_gone_first(town):
    from sidecar.store import keys

    admin = await town.account(cap=2)
    gone = await town.invite(OPERATOR, admin.account, "b@example.com", ttl=0.01)
    await town.until(await town.now_ms() + 20)
    home = keys.account(admin.account, town.store.partitions)
    await town.store.change("DEL", f"{home}:i:{gone.member.record.id}")

    assert isinstance(await town.invite(OPERATOR, admin.account, "c@example.com"), Invited)
    assert await town.store.command("HGET", f"{home}:em", "b@example.com") is None


async def test_accepting_needs_no_new_seat_also_above_the_cap(town):
    admin = await town.account(cap=2)
    invited = await town.invite(OPERATOR, admin.account, "b@example.com")
    await town.accounts.set_seats(admin.account, 1, OPERATOR)

    assert isinstance(await accept(town, invited.member.record.id, "digest-b@example.com"), Accepted)
    assert (await town.accounts.seats(admin.account)).members == 2


async def test_a_wrong_secret_spends_nothing(town):
    admin = await town.account()
    invited = await town.invite(OPERATOR, admin.account, "b@example.com")
    uid = invited.member.record.id

    for wrong in ("", "digest", "digest-B@example.com"):
        assert await town.invitations.peek(uid, wrong) == InvitationGone()
        assert await accept(town, uid, wrong) == InvitationGone()
    good = await town.invitations.peek(uid, "digest-b@example.com")
    assert (good.user, good.email, good.expires_at) == (uid, "b@example.com", invited.expires_at)
    assert isinstance(await accept(town, uid, "digest-b@example.com"), Accepted)
    assert await town.invitations.peek(uid, "digest-b@example.com") == InvitationGone()


async def test_a_resent_invitation_keeps_the_seat_and_kills_the_old_link_also_when_full(town):
    admin = await town.account(cap=2)
    invited = await town.invite(OPERATOR, admin.account, "b@example.com", ttl=60)
    uid = invited.member.record.id

    again = await town.invitations.resend(OPERATOR, uid, digest="new", ttl=3600)

    assert isinstance(again, Invited)
    assert again.expires_at > invited.expires_at
    assert (await town.accounts.seats(admin.account)).used == 2
    assert await accept(town, uid, "digest-b@example.com") == InvitationGone()
    assert isinstance(await accept(town, uid, "new"), Accepted)
    assert await town.invitations.resend(OPERATOR, uid, digest="newer", ttl=60) == NotInvited()
    assert await town.invitations.resend(OPERATOR, town.uid(admin.account), digest="x", ttl=60) == NoUser()


async def test_nobody_joins_a_suspended_or_missing_account(town):
    admin = await town.account()
    invited = await town.invite(OPERATOR, admin.account, "b@example.com")
    uid = invited.member.record.id
    await town.accounts.set_status(admin.account, Status.SUSPENDED, OPERATOR)

    assert await town.invite(OPERATOR, admin.account, "c@example.com") == AccountSuspended()
    assert await town.users.accounts_of("c@example.com") == []
    assert await town.invitations.resend(OPERATOR, uid, digest="x", ttl=60) == AccountSuspended()
    assert await accept(town, uid, "digest-b@example.com") == InvitationGone()
    assert await town.invite(OPERATOR, new_account_id(town.entropy(17)), "c@example.com") == NoAccount()


async def test_R9_an_email_is_verified_only_by_a_link_that_was_mailed_and_shown_to_nobody(town):
    admin = await town.account()
    shown = await town.invite(OPERATOR, admin.account, "b@example.com")
    mailed = await town.invite(OPERATOR, admin.account, "c@example.com", mailed=True)
    shown_again = await town.invite(OPERATOR, admin.account, "d@example.com", mailed=True)
    handed_over = await town.invite(OPERATOR, admin.account, "e@example.com", mailed=True)
    await town.invitations.resend(OPERATOR, shown_again.member.record.id, digest="digest-d@example.com", ttl=60)

    for invited, by_mail, verified in (
        (shown, True, False),
        (mailed, True, True),
        (shown_again, True, False),
        (handed_over, False, False),
    ):
        record = invited.member.record
        assert not record.email_verified
        accepted = await accept(town, record.id, f"digest-{record.email}", mailed=by_mail)
        assert accepted.record.email_verified is verified


async def test_R13_the_same_idempotency_key_invites_once_and_another_body_is_refused(town):
    admin = await town.account(cap=2)
    key = IdempotencyKey("k" * 64, "b" * 64)

    first = await town.invite(OPERATOR, admin.account, "b@example.com", idempotency=key)
    again = await town.invite(OPERATOR, admin.account, "b@example.com", digest="another", idempotency=key)
    changed = await town.invite(
        OPERATOR, admin.account, "c@example.com", idempotency=IdempotencyKey("k" * 64, "c" * 64)
    )

    assert isinstance(first, Invited)
    assert not first.replayed
    assert isinstance(again, Invited)
    assert (again.replayed, again.member.record.id, again.expires_at) == (
        True,
        first.member.record.id,
        first.expires_at,
    )
    assert changed == IdempotencyMismatch()
    assert isinstance(await accept(town, first.member.record.id, "digest-b@example.com"), Accepted)  # not "another"


async def test_R13_an_idempotency_key_remembers_no_refusal(town):
    admin = await town.account(cap=1)
    key = IdempotencyKey("k" * 64, "b" * 64)

    assert isinstance(await town.invite(OPERATOR, admin.account, "b@example.com", idempotency=key), SeatLimit)
    await town.accounts.set_seats(admin.account, 2, OPERATOR)
    assert isinstance(await town.invite(OPERATOR, admin.account, "b@example.com", idempotency=key), Invited)


async def test_R13_of_many_with_one_idempotency_key_at_once_all_get_the_one_invitation(town):
    admin = await town.account(cap=5)
    key = IdempotencyKey("k" * 64, "b" * 64)

    outcomes = await asyncio.gather(
        *(town.invite(OPERATOR, admin.account, "b@example.com", idempotency=key) for _ in range(20))
    )

    assert {type(outcome) for outcome in outcomes} == {Invited}
    assert len({outcome.member.record.id for outcome in outcomes}) == 1
    assert sum(not outcome.replayed for outcome in outcomes) == 1


async def test_R13_R19_neither_secret_nor_digest_is_in_what_is_remembered_or_told(town):
    admin = await town.account()
    key = IdempotencyKey("k" * 64, "b" * 64)
    invited = await town.invite(OPERATOR, admin.account, "b@example.com", digest="THE-DIGEST", idempotency=key)
    await accept(town, invited.member.record.id, "THE-DIGEST")

    seen = []
    for name in await town.store.command("KEYS", "*"):
        if ":rid:" in name:
            seen.append(await town.store.command("GET", name))
        elif ":idem:" in name:
            seen.append(str(await town.store.command("HGETALL", name)))
    seen += [str(row) for row in await town.audit(admin.account)]
    seen += [str(event) for event in await town.feed()]
    assert len(seen) > 8
    assert not [text for text in seen if "THE-DIGEST" in text or "hash" in text.replace("'hash-", "")]


async def test_R13_a_key_used_for_other_emails_leaves_nothing_of_them_behind(town):
    """Or one administrator fills the store, an e-mail a request."""
    admin = await town.account()
    await town.invite(OPERATOR, admin.account, "b@example.com", idempotency=IdempotencyKey("k" * 64, "b" * 64))
    keys = set(await town.store.command("KEYS", "*"))
    for number in range(20):
        other = IdempotencyKey("k" * 64, f"{number:064}")
        refused = await town.invite(OPERATOR, admin.account, f"x{number}@example.com", idempotency=other)
        assert refused == IdempotencyMismatch()
    assert set(await town.store.command("KEYS", "*")) - keys == set()


async def test_R13_what_is_remembered_of_an_account_is_bounded(town):
    admin = await town.account()
    invited = await town.invite(OPERATOR, admin.account, "b@example.com")

    async def resend(key):
        uid = invited.member.record.id
        return await town.invitations.resend(OPERATOR, uid, digest="another", ttl=60, idempotency=key)

    for number in range(1010):
        key = IdempotencyKey(f"{number:064}", "b" * 64)
        await resend(key)
    held = [name for name in await town.store.command("KEYS", "*") if ":idem:" in name]
    assert len(held) == 1000
    assert (await resend(IdempotencyKey(f"{1009:064}", "b" * 64))).replayed
    assert not (await resend(IdempotencyKey("0" * 64, "b" * 64))).replayed, "the oldest is forgotten"


async def test_removing_and_inviting_an_email_at_once_never_loses_its_hint(town):
    admin = await town.account(cap=50)
    for number in range(15):
        email = f"b{number}@example.com"
        member = await town.member(OPERATOR, admin.account, email)
        outcomes = await asyncio.gather(
            town.users.remove(OPERATOR, member.id), *(town.invite(OPERATOR, admin.account, email) for _ in range(3))
        )
        held = await town.users.find(admin.account, email)
        assert (held is not None) == any(isinstance(outcome, Invited) for outcome in outcomes)
        assert (await town.users.accounts_of(email) == [admin.account]) or held is None
