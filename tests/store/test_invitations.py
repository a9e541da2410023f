"""Invitations: the cap under concurrency, seats that become free, single-use secrets."""

import asyncio

from sidecar.domain.users import Actor, Status
from sidecar.store import keys
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
from sidecar.store.outcomes import AccountSuspended, IdempotencyMismatch, NoAccount, NoUser, Removed, StillInvited
from sidecar.store.role_holders import RoleHolders
from sidecar.tokens.ids import new_account_id

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
    seats = (await town.accounts.find(admin.account)).seats
    assert (seats.members, seats.used, seats.available) == (1, 2, 0)
    assert [(pending.user, pending.email) for pending in seats.invitations] == [(record.id, "b@example.com")]
    assert await town.users.accounts_of("b@example.com") == [admin.account]

    session = town.session(address="192.0.2.7", agent="Firefox")
    accepted = await accept(town, record.id, "digest-b@example.com", session=session)

    assert isinstance(accepted, Accepted)
    assert (accepted.record.id, accepted.record.status, accepted.record.epoch) == (record.id, Status.ACTIVE, 1)
    assert set(accepted.record.sessions) == {session.id}
    assert (await town.accounts.find(admin.account)).seats.members == 2
    assert (await town.users.credentials_of(record.id)).password_hash == "hash"


async def test_of_a_hundred_invitations_one_gets_the_last_seat(town):
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
    assert len((await town.users.roster(admin.account)).members) == 5


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


async def expired(town, admin, email="b@example.com", **more):
    """Create an invitation that has just expired; return its user's id."""
    invited = await town.invite(OPERATOR, admin.account, email, ttl=0.02, **more)
    await town.until(await town.now_ms() + 25)
    return invited.member.record.id


async def out_of_sight(town, admin, uid):
    """As thirty days later: Redis' clock cannot be moved, so the expiry is."""
    home = keys.account(admin.account, town.store.partitions)
    await town.store.change("ZADD", f"{home}:inv", str(round(await town.now_ms()) - 30 * 86400_000), uid)


async def test_an_expired_invitation_frees_its_seat_but_stays_listed(town):
    admin = await town.account(cap=2)
    uid = await expired(town, admin, role="developer", name="Bea")

    seats = (await town.accounts.find(admin.account)).seats
    assert (seats.used, seats.members, seats.invitations) == (1, 1, ())
    for record in (await town.users.record(uid), (await town.users.roster(admin.account)).members[-1].record):
        assert (record.id, record.status, record.email, record.role) == (
            uid,
            Status.EXPIRED,
            "b@example.com",
            "developer",
        )
        assert not record.email_verified
    assert (await town.users.roster(admin.account)).members[-1].invite_expires_at <= await town.now_ms() / 1000
    assert await town.users.find(admin.account, "b@example.com") is None
    assert await town.users.find(admin.account, "b@example.com", expired=True) == uid
    assert await town.invitations.peek(uid, "digest-b@example.com") == InvitationGone()
    assert await accept(town, uid, "digest-b@example.com") == InvitationGone()
    assert isinstance(await town.invite(OPERATOR, admin.account, "c@example.com"), Invited), "its seat is free"


async def test_a_renewed_invitation_takes_a_seat_again(town):
    admin = await town.account(cap=2)
    uid = await expired(town, admin, role="developer")
    other = await town.invite(OPERATOR, admin.account, "c@example.com")

    full = await town.invitations.resend(OPERATOR, uid, digest="new", ttl=60)
    assert isinstance(full, SeatLimit)
    assert (full.seats.cap, full.seats.used) == (2, 2)
    assert (await town.users.record(uid)).status is Status.EXPIRED

    await town.users.remove(OPERATOR, other.member.record.id)
    renewed = await town.invitations.resend(OPERATOR, uid, digest="new", ttl=60)
    assert isinstance(renewed, Invited)
    assert (renewed.member.record.id, renewed.member.record.status) == (uid, Status.INVITED)
    assert (await town.users.roster(admin.account)).seats.used == 2
    assert await accept(town, uid, "digest-b@example.com") == InvitationGone(), "the old link is invalid"
    accepted = await accept(town, uid, "new")
    assert (accepted.record.status, accepted.record.role) == (Status.ACTIVE, "developer")


async def test_of_twenty_renewals_at_most_the_free_seats_succeed(town):
    admin = await town.account(cap=4)
    for number in range(3):
        await town.invite(OPERATOR, admin.account, f"b{number}@example.com", ttl=0.02)
    uids = [member.record.id for member in (await town.users.roster(admin.account)).members[1:]]
    await town.until(await town.now_ms() + 25)
    await town.accounts.set_seats(admin.account, 2, OPERATOR)
    outcomes = await asyncio.gather(
        *(town.invitations.resend(OPERATOR, uid, digest=f"d{uid}", ttl=60) for uid in uids),
        *(town.invite(OPERATOR, admin.account, f"c{number}@example.com") for number in range(17)),
    )
    assert sum(isinstance(outcome, Invited) for outcome in outcomes) == 1
    assert (await town.accounts.find(admin.account)).seats.used == 2


async def test_inviting_the_email_again_replaces_an_expired_invitation(town):
    admin = await town.account(cap=2)
    uid = await expired(town, admin)

    again = await town.invite(OPERATOR, admin.account, "b@example.com", role="developer")

    assert isinstance(again, Invited)
    assert again.member.record.id != uid
    assert [member.record.id for member in (await town.users.roster(admin.account)).members] == [
        admin.id,
        again.member.record.id,
    ]
    assert await town.users.record(uid) is None
    assert await accept(town, uid, "digest-b@example.com") == InvitationGone()
    assert await town.invitations.resend(OPERATOR, uid, digest="d", ttl=60) == NoUser()
    row = [row for row in await town.audit(admin.account) if row["action"] == "user.invited"][-1]
    assert uid in row["before"]


async def test_a_rejected_invitation_does_not_replace_an_expired_one(town):
    admin = await town.account(cap=2)
    uid = await expired(town, admin)
    await town.invite(OPERATOR, admin.account, "c@example.com")
    assert isinstance(await town.invite(OPERATOR, admin.account, "b@example.com"), SeatLimit)
    assert (await town.users.record(uid)).status is Status.EXPIRED
    assert await town.users.accounts_of("b@example.com") == [admin.account], "it must be found after a renewal"


async def test_an_expired_invitation_can_be_edited_and_removed(town):
    admin = await town.account(cap=2)
    uid = await expired(town, admin)
    changed = await town.users.change(OPERATOR, uid, role="developer")
    assert (changed.record.role, changed.record.status) == ("developer", Status.EXPIRED)
    assert await town.users.change(OPERATOR, uid, status=Status.ACTIVE) == StillInvited()
    assert isinstance(await town.users.remove(OPERATOR, uid), Removed)
    assert await town.users.record(uid) is None
    assert [member.record.id for member in (await town.users.roster(admin.account)).members] == [admin.id]
    assert await town.users.accounts_of("b@example.com") == []
    home = keys.account(admin.account, town.store.partitions)
    assert await town.store.command("EXISTS", f"{home}:i:{uid}") == 0


async def test_an_expired_invitation_is_out_of_sight_after_thirty_days(town):
    admin = await town.account(cap=2)
    uid = await expired(town, admin)
    home = keys.account(admin.account, town.store.partitions)
    kept = await town.store.command("PTTL", f"{home}:i:{uid}")
    assert 30 * 86400_000 - 60_000 < kept <= 30 * 86400_000 + 60_000
    await out_of_sight(town, admin, uid)

    assert await town.users.record(uid) is None
    assert len((await town.users.roster(admin.account)).members) == 1
    assert await town.users.find(admin.account, "b@example.com", expired=True) is None
    assert await town.invitations.resend(OPERATOR, uid, digest="d", ttl=60) == NoUser()
    assert await town.users.remove(OPERATOR, uid) == NoUser()
    assert isinstance(await town.invite(OPERATOR, admin.account, "c@example.com"), Invited)
    assert await town.store.command("ZSCORE", f"{home}:inv", uid) is None
    assert await town.store.command("HGET", f"{home}:em", "b@example.com") is None


async def test_the_audit_has_each_expiry_once_when_it_is_noticed(town):
    admin = await town.account(cap=9)
    uid = await expired(town, admin)
    assert [row["action"] for row in await town.audit(admin.account)].count("invitation.expired") == 0
    for number in range(3):
        await town.invite(OPERATOR, admin.account, f"c{number}@example.com")
    await town.invitations.resend(OPERATOR, uid, digest="d", ttl=0.02)
    await town.until(await town.now_ms() + 25)
    await town.accounts.set_seats(admin.account, 8, OPERATOR)
    rows = [row for row in await town.audit(admin.account) if row["action"] == "invitation.expired"]
    assert [(row["target"], row["actor"], row["addr"]) for row in rows] == [(uid, "", "expiry")] * 2
    assert "b@example.com" in rows[0]["before"]
    assert '"status":"expired"' in rows[0]["after"]


async def test_R26_a_role_of_an_expired_invitation_is_not_held(town):
    admin = await town.account(cap=9)
    await expired(town, admin, role="retired-role")
    assert await RoleHolders(town.store).holding(["retired-role"]) == {}


async def test_a_deleted_account_counts_no_expired_invitation(town):
    admin = await town.account(cap=9)
    uid = await expired(town, admin)
    deleted = await town.accounts.delete(admin.account, OPERATOR)
    assert deleted.users == (admin.id,)
    home = keys.account(admin.account, town.store.partitions)
    assert await town.store.command("EXISTS", f"{home}:i:{uid}", f"{home}:inv") == 0


async def test_an_expired_invitation_without_its_hash_is_cleared(town):
    admin = await town.account(cap=2)
    uid = await expired(town, admin)
    home = keys.account(admin.account, town.store.partitions)
    await town.store.change("DEL", f"{home}:i:{uid}")
    assert await town.users.record(uid) is None
    await out_of_sight(town, admin, uid)

    assert isinstance(await town.invite(OPERATOR, admin.account, "c@example.com"), Invited)
    assert await town.store.command("HGET", f"{home}:em", "b@example.com") is None


async def test_accepting_needs_no_new_seat_also_above_the_cap(town):
    admin = await town.account(cap=2)
    invited = await town.invite(OPERATOR, admin.account, "b@example.com")
    await town.accounts.set_seats(admin.account, 1, OPERATOR)

    assert isinstance(await accept(town, invited.member.record.id, "digest-b@example.com"), Accepted)
    assert (await town.accounts.find(admin.account)).seats.members == 2


async def test_a_wrong_secret_spends_nothing(town):
    admin = await town.account()
    invited = await town.invite(OPERATOR, admin.account, "b@example.com")
    uid = invited.member.record.id

    for wrong in ("", "digest", "digest-B@example.com"):
        assert await town.invitations.peek(uid, wrong) == InvitationGone()
        assert await accept(town, uid, wrong) == InvitationGone()
    good = await town.invitations.peek(uid, "digest-b@example.com")
    assert (good.member.record, good.expires_at) == (invited.member.record, invited.expires_at)
    assert good.member.record.email == "b@example.com"
    assert isinstance(await accept(town, uid, "digest-b@example.com"), Accepted)
    assert await town.invitations.peek(uid, "digest-b@example.com") == InvitationGone()


async def test_a_resent_invitation_keeps_its_seat_and_voids_old_links(town):
    admin = await town.account(cap=2)
    invited = await town.invite(OPERATOR, admin.account, "b@example.com", ttl=60)
    uid = invited.member.record.id

    again = await town.invitations.resend(OPERATOR, uid, digest="new", ttl=3600)

    assert isinstance(again, Invited)
    assert again.expires_at > invited.expires_at
    assert (await town.accounts.find(admin.account)).seats.used == 2
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


async def test_R9_only_a_mailed_and_never_shown_link_verifies_email(town):
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


async def test_R13_an_idempotency_key_invites_once_and_for_one_body(town):
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


async def test_R13_concurrent_calls_with_one_key_share_an_invitation(town):
    admin = await town.account(cap=5)
    key = IdempotencyKey("k" * 64, "b" * 64)

    outcomes = await asyncio.gather(
        *(town.invite(OPERATOR, admin.account, "b@example.com", idempotency=key) for _ in range(20))
    )

    assert {type(outcome) for outcome in outcomes} == {Invited}
    assert len({outcome.member.record.id for outcome in outcomes}) == 1
    assert sum(not outcome.replayed for outcome in outcomes) == 1


async def test_R13_R19_stored_outcomes_and_events_hold_no_secret(town):
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


async def test_R13_a_key_reused_for_other_emails_leaves_no_trace(town):
    """Otherwise one administrator fills the store, an e-mail per request."""
    admin = await town.account()
    await town.invite(OPERATOR, admin.account, "b@example.com", idempotency=IdempotencyKey("k" * 64, "b" * 64))
    keys = set(await town.store.command("KEYS", "*"))
    for number in range(20):
        other = IdempotencyKey("k" * 64, f"{number:064}")
        refused = await town.invite(OPERATOR, admin.account, f"x{number}@example.com", idempotency=other)
        assert refused == IdempotencyMismatch()
    assert set(await town.store.command("KEYS", "*")) - keys == set()


async def copy_remembered(store, count):
    """Remember ``count`` more keys, as the script has remembered the first: 1,000 calls take half a minute."""
    (name,) = [found for found in await store.command("KEYS", "*") if ":idem:" in found]
    home, _, first = name.rpartition("idem:")
    score = await store.client.zscore(f"{home}idems", first)
    fields = await store.client.hgetall(name)
    for number in range(1, count + 1):
        await store.client.hset(f"{home}idem:{number:064}", mapping=fields)
        await store.client.zadd(f"{home}idems", {f"{number:064}": score})


async def test_R13_what_is_remembered_of_an_account_is_bounded(town):
    admin = await town.account()
    invited = await town.invite(OPERATOR, admin.account, "b@example.com")

    async def resend(key):
        uid = invited.member.record.id
        return await town.invitations.resend(OPERATOR, uid, digest="another", ttl=60, idempotency=key)

    await resend(IdempotencyKey("0" * 64, "b" * 64))
    await copy_remembered(town.store, 989)
    for number in range(990, 1010):
        await resend(IdempotencyKey(f"{number:064}", "b" * 64))
    held = [name for name in await town.store.command("KEYS", "*") if ":idem:" in name]
    assert len(held) == 1000
    assert (await resend(IdempotencyKey(f"{1009:064}", "b" * 64))).replayed
    assert not (await resend(IdempotencyKey("0" * 64, "b" * 64))).replayed, "the oldest is dropped"


async def test_concurrent_removal_and_invitation_keep_the_email_hint(town):
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
