"""Second factors in the store: enrolment, one use of each proof, removal, and the attempts at a challenge."""

import asyncio
import itertools

import pytest

from sidecar.domain.factors import FactorId
from sidecar.domain.sessions import Method, NewProof
from sidecar.domain.users import Actor, Status
from sidecar.store import keys
from sidecar.store.factor_proofs import ChallengeUse, FactorProof, FactorRequired, ProofRefused
from sidecar.store.factors import (
    AttemptClaimed,
    AttemptLimited,
    ChallengeSpent,
    FactorConfirmed,
    FactorGone,
    FactorRemoved,
    Factors,
    PendingFactor,
    TooManyFactors,
)
from sidecar.store.integrity.feed_entries import change_of, fields_of
from sidecar.store.integrity.journal import decode, encode, journal_entry
from sidecar.store.integrity.losses import by_account
from sidecar.store.outcomes import ActorChanged, Changed, NoUser, ResetUse, Unchanged
from sidecar.store.scripting import run_write
from sidecar.store.sessions import Opened, SessionGone, SteppedUp

OPERATOR = Actor.operator()
DAY = 86400.0
CODES = tuple(f"{number:064x}" for number in range(10))
_nonces = itertools.count()


def phone(letter: str = "a") -> FactorId:
    return FactorId("totp_" + letter * 16)


def laptop(letter: str = "a") -> FactorId:
    return FactorId("passkey_" + letter * 16)


def challenge() -> ChallengeUse:
    return ChallengeUse(f"n{next(_nonces)}", 360)


def totp(step: int, factor: FactorId | None = None, use: ChallengeUse | None = None) -> FactorProof:
    return FactorProof(Method.TOTP, factor or phone(), step=step, challenge=use or challenge())


def passkey(counter: int) -> FactorProof:
    return FactorProof(Method.PASSKEY, laptop(), counter=counter, challenge=challenge())


def recovery(digest: str) -> FactorProof:
    return FactorProof(Method.RECOVERY_CODE, digest=digest, challenge=challenge())


@pytest.fixture
def factors(store) -> Factors:
    return Factors(store)


async def enrol(factors, actor, factor, *, wait=DAY, **proof):
    assert isinstance(await factors.add(actor, factor, sealed="sealed", ttl=600), PendingFactor)
    proof = proof or ({"step": 10} if factor.startswith("totp") else {"counter": 0})
    done = await factors.confirm(actor, factor, name="Phone", codes=CODES, wait=wait, **proof)
    assert isinstance(done, FactorConfirmed), done
    return done


async def open_with(town, record, proof):
    method = NewProof(proof.method, proof.factor)
    session = town.session(proofs=(NewProof(Method.PASSWORD), method))
    return await town.sessions.open(record.id, expected_epoch=record.epoch, session=session, proof=proof)


async def admin_of(town):
    record = await town.account()
    return record, await town.signed_in(record)


async def audited(town, record, action):
    home = keys.account(record.account, town.store.partitions)
    rows = await town.store.command("XRANGE", f"{home}:log", "-", "+")
    found = [dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else flat for _, flat in rows]
    return [row for row in found if row["action"] == action]


async def test_a_pending_factor_proves_nothing(town, factors):
    admin, actor = await admin_of(town)
    await factors.add(actor, phone(), sealed="sealed", ttl=600)
    assert (await factors.listing(admin.id)).factors == ()
    assert (await town.users.record(admin.id)).factors == {}
    assert isinstance(await open_with(town, admin, totp(20)), ProofRefused)
    assert isinstance(await town.sessions.open(admin.id, expected_epoch=1, session=town.session()), Opened)


async def test_the_first_factor_brings_codes_and_waits_for_needs(town, factors):
    admin, actor = await admin_of(town)
    done = await enrol(factors, actor, phone())
    assert done.first
    now = await town.now_ms() / 1000
    assert abs(done.record.factors[phone()] - now - DAY) < 5
    held = await factors.listing(admin.id)
    assert (len(held.factors), held.recovery_codes) == (1, 10)
    second = await enrol(factors, actor, laptop())
    assert not second.first
    assert second.record.factors[laptop()] == done.record.factors[phone()], "no way past the wait by a second factor"


async def test_R37_a_session_of_a_mailed_link_needs_no_wait(town, factors):
    admin = await town.account()
    session = town.session(mailed_link=True)
    await town.sessions.open(admin.id, expected_epoch=admin.epoch, session=session)
    actor = Actor(admin.id, admin.role, admin.epoch, session.id)
    done = await enrol(factors, actor, phone())
    assert done.record.factors[phone()] <= await town.now_ms() / 1000


async def test_R37_an_administrator_ends_the_wait(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    done = await factors.confirm_all(admin.id, OPERATOR)
    assert isinstance(done, Changed)
    assert done.record.factors[phone()] <= await town.now_ms() / 1000
    assert isinstance(await factors.confirm_all(admin.id, OPERATOR), Unchanged)
    assert len(await audited(town, admin, "factor.confirmed")) == 1


async def test_confirming_is_a_proof_of_that_session_alone(town, factors):
    admin, actor = await admin_of(town)
    other = await town.signed_in(admin)
    done = await enrol(factors, actor, phone())
    assert [proof.method for proof in done.record.sessions[actor.session].methods] == [Method.TOTP]
    assert done.record.sessions[other.session].methods == ()


async def test_confirming_is_compare_and_set(town, factors):
    _, actor = await admin_of(town)
    await factors.add(actor, phone(), sealed="sealed", ttl=600)
    words = {"name": "Phone", "codes": CODES, "wait": DAY, "step": 10}
    outcomes = await asyncio.gather(*(factors.confirm(actor, phone(), **words) for _ in range(10)))
    assert sum(isinstance(one, FactorConfirmed) for one in outcomes) == 1
    assert sum(isinstance(one, FactorGone) for one in outcomes) == 9


async def test_a_foreign_or_expired_pending_factor_is_gone(town, factors):
    admin, actor = await admin_of(town)
    other = await town.signed_in(await town.member(actor, admin.account, "bob@example.com"))
    await factors.add(actor, phone(), sealed="sealed", ttl=0.001)
    await town.pass_by(20)
    words = {"name": "Phone", "codes": CODES, "wait": DAY, "step": 10}
    assert isinstance(await factors.confirm(actor, phone(), **words), FactorGone)
    await factors.add(actor, phone("b"), sealed="sealed", ttl=600)
    assert isinstance(await factors.confirm(other, phone("b"), **words), FactorGone)
    assert isinstance(await factors.pending(other.user, phone("b")), FactorGone)
    assert isinstance(await factors.pending(actor.user, phone("b")), PendingFactor)


async def test_a_user_has_a_bounded_number_of_factors(town, factors):
    admin, actor = await admin_of(town)
    for letter in "abcdefghijklmnopqrst":
        await enrol(factors, actor, phone(letter))
    assert isinstance(await factors.add(actor, laptop(), sealed="s", ttl=60), TooManyFactors)
    assert len((await factors.listing(admin.id)).factors) == 20


async def test_an_actor_that_changed_enrols_and_removes_nothing(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    await factors.add(actor, laptop(), sealed="s", ttl=60)
    await town.sessions.end(admin.id, [actor.session], OPERATOR)
    assert isinstance(await factors.add(actor, phone("b"), sealed="s", ttl=60), ActorChanged)
    confirmed = await factors.confirm(actor, laptop(), name="x", codes=CODES, wait=0, counter=0)
    assert isinstance(confirmed, ActorChanged)
    assert isinstance(await factors.remove(actor, phone()), ActorChanged)
    assert isinstance(await factors.rename(actor, phone(), "x"), ActorChanged)
    assert isinstance(await factors.replace_codes(actor, CODES), ActorChanged)


# One use of each proof ------------------------------------------------------------------------------------------------


async def test_R36_a_password_alone_opens_no_session_beside_a_factor(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    refused = await town.sessions.open(admin.id, expected_epoch=1, session=town.session())
    assert isinstance(refused, FactorRequired)
    assert isinstance(await town.sessions.step_up(actor, NewProof(Method.PASSWORD)), FactorRequired)


async def test_R34_fifty_parallel_sign_ins_with_one_code_one_passes(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    outcomes = await asyncio.gather(*(open_with(town, admin, totp(20)) for _ in range(50)))
    assert sum(isinstance(one, Opened) for one in outcomes) == 1
    assert sum(isinstance(one, ProofRefused) for one in outcomes) == 49


async def test_R34_a_step_is_used_once_by_sign_in_and_step_up(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone(), step=20)
    assert isinstance(await open_with(town, admin, totp(20)), ProofRefused), "the code that confirmed the factor"
    assert isinstance(await open_with(town, admin, totp(21)), Opened)
    again = await town.sessions.step_up(actor, NewProof(Method.TOTP, phone()), proof=totp(21))
    assert isinstance(again, ProofRefused)
    raised = await town.sessions.step_up(actor, NewProof(Method.TOTP, phone()), proof=totp(22))
    assert isinstance(raised, SteppedUp)
    assert isinstance(await open_with(town, admin, totp(21)), ProofRefused), "steps never go back"


async def test_R34_each_device_counts_its_own_steps(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone(), step=20)
    await enrol(factors, actor, phone("b"), step=5)
    assert isinstance(await open_with(town, admin, totp(6, phone("b"))), Opened)
    assert isinstance(await open_with(town, admin, totp(6)), ProofRefused)


async def test_R35_a_recovery_code_is_used_once(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    outcomes = await asyncio.gather(*(open_with(town, admin, recovery(CODES[3])) for _ in range(10)))
    assert sum(isinstance(one, Opened) for one in outcomes) == 1
    assert (await factors.listing(admin.id)).recovery_codes == 9
    assert isinstance(await open_with(town, admin, recovery("f" * 64)), ProofRefused)
    assert await factors.replace_codes(actor, [f"{number:a>64x}" for number in range(10)]) is None
    assert isinstance(await open_with(town, admin, recovery(CODES[4])), ProofRefused), "replaced"


async def test_R38_a_counter_that_goes_back_is_refused_and_audited(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, laptop(), counter=0)
    assert isinstance(await open_with(town, admin, passkey(0)), Opened), "an authenticator without a counter"
    assert isinstance(await open_with(town, admin, passkey(7)), Opened)
    for counter in (7, 3, 0):
        assert isinstance(await open_with(town, admin, passkey(counter)), ProofRefused)
    assert len(await audited(town, admin, "factor.counter_refused")) == 3
    assert isinstance(await open_with(town, admin, passkey(8)), Opened)


async def test_R36_one_success_ends_a_challenge(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    use = challenge()
    assert isinstance(await open_with(town, admin, totp(20, use=use)), Opened)
    assert isinstance(await open_with(town, admin, totp(21, use=use)), ProofRefused)
    assert isinstance(await factors.claim_attempt(admin.id, use, code=True), ChallengeSpent)


async def test_R36_five_attempts_end_a_challenge(town, factors):
    admin = await town.account()
    use = challenge()
    claims = await asyncio.gather(*(factors.claim_attempt(admin.id, use, code=False) for _ in range(12)))
    assert [type(one) for one in claims].count(AttemptClaimed) == 5
    assert [type(one) for one in claims].count(ChallengeSpent) == 7


async def test_R36_after_ten_wrong_codes_in_a_row_attempts_wait(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    for number in range(1, 11):
        assert await factors.claim_attempt(admin.id, challenge(), code=True) == AttemptClaimed(number)
    limited = await factors.claim_attempt(admin.id, challenge(), code=True)
    assert isinstance(limited, AttemptLimited)
    assert 55 < limited.seconds <= 60
    assert isinstance(await factors.claim_attempt(admin.id, challenge(), code=False), AttemptClaimed), "a passkey"
    assert isinstance(await open_with(town, admin, totp(20)), Opened), "claimed before"
    assert await factors.claim_attempt(admin.id, challenge(), code=True) == AttemptClaimed(1), "a right code resets"


async def test_R36_the_waits_double_up_to_an_hour(town, factors, store):
    admin = await town.account()
    place = f"{keys.account(admin.account, store.partitions)}:wc:{admin.id}"
    waits = []
    for wrong in range(9, 20):
        await store.change("HSET", place, "n", str(wrong), "until", "0")
        await factors.claim_attempt(admin.id, challenge(), code=True)
        limited = await factors.claim_attempt(admin.id, challenge(), code=True)
        waits.append(round(limited.seconds / 60))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]


async def test_R52_a_wait_dated_ahead_locks_nobody_out(town, factors, store):
    admin = await town.account()
    place = f"{keys.account(admin.account, store.partitions)}:wc:{admin.id}"
    await store.change("HSET", place, "n", "10", "until", str(round(await town.now_ms()) + 10**12))
    limited = await factors.claim_attempt(admin.id, challenge(), code=True)
    assert limited.seconds <= 3600
    await town.pass_by(20)
    later = await factors.claim_attempt(admin.id, challenge(), code=True)
    assert later.seconds < limited.seconds, "it is set once, and passes"


async def test_R52_a_step_dated_ahead_locks_nobody_out(town, factors, store):
    """A restore sets the steps by the store's clock."""
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    place = f"{keys.account(admin.account, store.partitions)}:f:{phone()}"
    now = int(await town.now_ms() / 30000)
    await store.change("HSET", place, "step", str(now + 2880))
    assert isinstance(await open_with(town, admin, totp(now)), ProofRefused), "it may be used"
    assert isinstance(await open_with(town, admin, totp(now + 3)), Opened), "two minutes later"
    assert isinstance(await open_with(town, admin, totp(now + 3)), ProofRefused)


async def test_R52_a_factor_that_counts_from_afar_is_set_once(town, factors, store):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    place = f"{keys.account(admin.account, store.partitions)}:factors:{admin.id}"
    await store.change("HSET", place, phone(), str(round(await town.now_ms()) + 10**12))
    counts = (await town.users.record(admin.id)).factors[phone()]
    assert counts <= await town.now_ms() / 1000 + 7 * DAY
    assert int(await store.command("HGET", place, phone())) // 1000 == counts


# Removal --------------------------------------------------------------------------------------------------------------


async def test_a_removed_factor_leaves_every_session(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    await enrol(factors, actor, laptop())
    opened = await open_with(town, admin, passkey(0))
    with_code = await open_with(town, admin, recovery(CODES[0]))
    other, third = (set(one.record.sessions) for one in (opened, with_code))
    before = (await town.users.record(admin.id)).revision
    removed = await factors.remove(actor, laptop())
    assert isinstance(removed, FactorRemoved)
    assert removed.record.revision > before
    methods = {sid: [proof.method for proof in one.methods] for sid, one in removed.record.sessions.items()}
    assert methods[actor.session] == [Method.TOTP]
    assert methods[(other - {actor.session}).pop()] == [Method.PASSWORD]
    assert [Method.PASSWORD, Method.RECOVERY_CODE] in methods.values()
    assert len(third) == 3
    assert isinstance(await open_with(town, admin, passkey(9)), ProofRefused)
    assert isinstance(await factors.remove(actor, laptop()), FactorGone)


async def test_with_the_last_factor_go_the_recovery_codes(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    await open_with(town, admin, recovery(CODES[0]))
    removed = await factors.remove(actor, phone())
    assert removed.record.factors == {}
    assert not any(
        proof.method is not Method.PASSWORD for one in removed.record.sessions.values() for proof in one.methods
    )
    assert (await factors.listing(admin.id)).recovery_codes == 0
    assert isinstance(await open_with(town, admin, recovery(CODES[1])), ProofRefused)
    assert isinstance(await town.sessions.open(admin.id, expected_epoch=1, session=town.session()), Opened)
    assert isinstance(await factors.replace_codes(actor, CODES), FactorGone)


async def test_R37_a_reset_removes_all_factors_and_ends_sessions(town, factors):
    admin, actor = await admin_of(town)
    bob = await town.member(actor, admin.account, "bob@example.com")
    bobs = await town.signed_in(bob)
    await enrol(factors, bobs, phone())
    await enrol(factors, bobs, laptop())
    position = len(await town.feed())
    done = await factors.reset(bob.id, actor, expected_role=bob.role)
    assert isinstance(done, Changed)
    assert (done.record.sessions, done.record.factors) == ({}, {})
    assert len(await town.feed()) == position + 1
    assert isinstance(await factors.reset(bob.id, actor), Unchanged)
    assert isinstance(await factors.reset(bob.id, actor, expected_role="owner"), ActorChanged)
    (row,) = await audited(town, bob, "factor.reset")
    assert laptop() in row["before"]


@pytest.mark.parametrize("act", ["add", "remove", "reset"])
async def test_R37_changes_of_factors_are_acknowledged(town, factors, act):
    admin, actor = await admin_of(town)
    if act != "add":
        await enrol(factors, actor, phone())
    revision = (await town.users.record(admin.id)).revision
    match act:
        case "add":
            done = await enrol(factors, actor, phone())
        case "remove":
            done = await factors.remove(actor, phone())
        case _:
            done = await factors.reset(admin.id, OPERATOR)
    assert done.record.revision > revision
    last = (await town.feed())[-1]
    assert (last["ack"], last["u"], int(last["n"])) == ("1", admin.id, done.position.n)


async def test_a_removed_user_leaves_no_factor_behind(town, factors, store):
    admin, actor = await admin_of(town)
    bob = await town.member(actor, admin.account, "bob@example.com")
    await enrol(factors, await town.signed_in(bob), phone())
    await factors.claim_attempt(bob.id, challenge(), code=True)
    await town.users.remove(actor, bob.id)
    home = keys.account(admin.account, store.partitions)
    left = [key for key in await store.command("KEYS", f"{home}:*") if bob.id in key or phone() in key]
    assert left == []
    assert isinstance(await factors.listing(bob.id), NoUser)


async def test_a_password_change_keeps_the_factors(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    changed = await town.users.change_password(
        admin.id, expected_epoch=1, password_hash="h", session=town.session(), actor=actor
    )
    assert set(changed.record.factors) == {phone()}


async def test_R36_a_reset_link_opens_no_session_beside_a_factor(town, factors):
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    changed = await town.users.change_password(
        admin.id,
        expected_epoch=1,
        password_hash="h",
        session=town.session(),
        actor=Actor.bearer(admin.id),
        reset=ResetUse(shown=False, maker=None),
    )
    assert changed.record.sessions == {}
    assert set(changed.record.factors) == {phone()}


# Step-up --------------------------------------------------------------------------------------------------------------


async def test_R41_a_step_up_raises_only_the_session_that_asked(town, factors):
    admin, actor = await admin_of(town)
    other = await town.signed_in(admin)
    before = (await town.users.record(admin.id)).sessions
    raised = await town.sessions.step_up(actor, NewProof(Method.PASSWORD))
    assert isinstance(raised, SteppedUp)
    assert [proof.method for proof in raised.record.sessions[actor.session].methods] == [Method.PASSWORD]
    assert raised.record.sessions[other.session].methods == ()
    assert raised.record.sessions[actor.session].ends_at == before[actor.session].ends_at, "never longer"
    assert raised.record.revision > 0
    assert raised.counter == 0


async def test_R41_a_browser_gets_the_next_refresh_token(town, factors):
    admin, actor = await admin_of(town)
    before = (await town.users.record(admin.id)).sessions[actor.session].ends_at
    raised = await town.sessions.step_up(actor, NewProof(Method.PASSWORD), rotate=True)
    assert (raised.counter, raised.ends_at) == (1, before)
    rotated = await town.sessions.rotate(admin.id, actor.session, 1, ttl=3600.0)
    assert rotated.counter == 2


@pytest.mark.parametrize("ended", ["session", "suspended", "signed out", "expired"])
async def test_an_ended_session_is_not_raised(town, factors, ended):
    admin, actor = await admin_of(town)
    bob = await town.member(actor, admin.account, "bob@example.com")
    bobs = await town.signed_in(bob)
    match ended:
        case "session":
            await town.sessions.end(bob.id, [bobs.session], OPERATOR)
        case "suspended":
            await town.users.change(OPERATOR, bob.id, status=Status.SUSPENDED)
        case "signed out":
            await town.users.sign_out_everywhere(bob.id, OPERATOR)
        case _:
            session = town.session(ttl=0.001)
            await town.sessions.open(bob.id, expected_epoch=bob.epoch, session=session)
            bobs = Actor(bob.id, bob.role, bob.epoch, session.id)
            await town.pass_by(20)
    assert isinstance(await town.sessions.step_up(bobs, NewProof(Method.PASSWORD)), SessionGone | ActorChanged)


async def test_R35_a_recovery_after_a_loss_sets_no_step_back(town, factors, store):
    """The use of a code may be among the lost changes."""
    admin, actor = await admin_of(town)
    step = int(await town.now_ms() / 30000)
    await enrol(factors, actor, phone(), step=step - 2)
    words = {"users": {}, "seq": "0", "peps": [], "status": "", "lost": 1, "head": False, "live": True}
    await run_write(store, "recover_account", admin.account, OPERATOR, uids=[admin.id], **words)
    record = await town.users.record(admin.id)
    assert isinstance(await open_with(town, record, totp(step)), ProofRefused)
    assert isinstance(await open_with(town, record, totp(step + 4)), Opened)


LOST = {"seq": "0", "peps": [], "status": "", "lost": 1, "head": False, "live": True}


async def recovered(store, record, **loss):
    """Process the user as after a loss. ``loss``: what the journals know of it, if anything."""
    known = {"role": record.role, "status": "active", "entry": "9-0", "epochs": [], "factors": "0"}
    users = {record.id: {**known, **loss}} if loss else {}
    await run_write(store, "recover_account", record.account, OPERATOR, uids=[record.id], users=users, **LOST)


async def test_R35_a_recovery_after_a_loss_voids_recovery_codes(town, factors, store):
    """The use of one is a change of its user. Without a lost change, none was used."""
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    await recovered(store, admin)
    assert (await factors.listing(admin.id)).recovery_codes == 10
    await recovered(store, admin, entry="9-0")
    record = await town.users.record(admin.id)
    assert isinstance(await open_with(town, record, recovery(CODES[0])), ProofRefused)
    assert (await factors.listing(admin.id)).recovery_codes == 0
    assert record.review is None


async def test_R48_a_user_with_a_lost_change_of_factors_is_held(town, factors, store):
    """A removed device, or the lack of an added one, would sign in."""
    admin, actor = await admin_of(town)
    await enrol(factors, actor, phone())
    await recovered(store, admin, factors="1")
    assert (await town.users.record(admin.id)).review is not None


async def test_R48_the_feed_marks_a_change_of_factors(town, factors, store):
    admin, actor = await admin_of(town)
    marked = []

    async def note(change):
        await change
        (entry, fields), *_ = await store.command(
            "XREVRANGE", keys.feed(keys.partition_of(admin.account, store.partitions)), "+", "-", "COUNT", 1
        )
        mark = journal_entry(change_of(fields_of(fields), entry))
        loss = by_account([decode(encode(mark))])[admin.account].users[admin.id]
        marked.append(loss.argument()["factors"])

    await note(enrol(factors, actor, phone()))
    await note(enrol(factors, actor, laptop()))
    await note(open_with(town, admin, totp(20)))
    await note(factors.remove(actor, phone()))
    await note(town.users.change(OPERATOR, admin.id, name="Ada L"))
    await note(factors.reset(admin.id, OPERATOR))
    assert marked == ["1", "1", "0", "1", "0", "1"]
