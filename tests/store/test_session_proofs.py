"""Proofs of live sessions: written with the store's time, inherited, unchanged by a refresh."""

import asyncio
from dataclasses import replace
from importlib.resources import files

import pytest
from redis.exceptions import ResponseError

from sidecar.domain.sessions import LiveSession, Method, NewProof, Proof
from sidecar.domain.users import Actor, SessionId, Status
from sidecar.store import connection, keys, scripts
from sidecar.store.codec import proofs_of, record_of
from sidecar.store.factor_proofs import FactorRequired
from sidecar.store.outcomes import ActorChanged
from sidecar.store.scripting import run_write
from sidecar.store.sessions import SessionGone, SteppedUp, StoreBehind
from sidecar.store.users import PasswordChanged
from sidecar.tokens.ids import account_of

OPERATOR = Actor.operator()
PASSWORD, TOTP = NewProof(Method.PASSWORD), NewProof(Method.TOTP, "fac_1")
MONTH = 30 * 86400.0


def home_of(town, uid):
    return keys.account(account_of(uid), town.store.partitions)


async def live(town, actor):
    return (await town.users.record(actor.user)).sessions[actor.session]


async def dated(town, actor, before):
    """Set the session's proofs and sign-in ``before`` seconds back: Redis' clock cannot be moved."""
    place = f"{home_of(town, actor.user)}:s:{actor.session}"
    at = round(await town.now_ms() - before * 1000)
    words = (await town.store.command("HGET", place, "by")).split()
    text = " ".join(f"{word.rpartition(':')[0]}:{at}" for word in words)
    await town.store.change("HSET", place, "at", str(at), "by", text)
    return at // 1000


async def enrolled(town, uid):
    """Give the user a confirmed second factor, as the scripts see it."""
    await town.store.change("HSET", f"{home_of(town, uid)}:factors:{uid}", "totp_aaaaaaaaaaaaaaaa", "1")


async def signed_in(town, record, *proofs, mailed=False):
    session = town.session(proofs=proofs, mailed_link=mailed)
    await town.sessions.open(record.id, expected_epoch=record.epoch, session=session)
    return Actor(record.id, record.role, record.epoch, session.id)


async def change_password(town, actor, session, by):
    record = await town.users.record(actor.user)
    outcome = await town.users.change_password(
        actor.user, expected_epoch=record.epoch, password_hash="n", session=session, actor=by
    )
    assert isinstance(outcome, PasswordChanged)
    return outcome.record.sessions[session.id]


async def test_a_session_holds_its_proofs_at_the_stores_time(town):
    before = int(await town.now_ms()) // 1000
    actor = await signed_in(town, await town.account(), PASSWORD, TOTP)
    found = await live(town, actor)
    after = int(await town.now_ms()) // 1000
    assert [(proof.method, proof.factor) for proof in found.methods] == [("password", ""), ("totp", "fac_1")]
    assert {proof.at for proof in found.methods} == {found.signed_in_at}
    assert before <= found.signed_in_at <= after
    assert found.ends_at - found.signed_in_at == MONTH


async def test_a_session_without_facts_has_proven_nothing(town):
    admin = await town.account()
    actor, other = await signed_in(town, admin, PASSWORD), await signed_in(town, admin)
    await town.store.change("HDEL", f"{home_of(town, admin.id)}:s:{actor.session}", "at", "by")
    for one in (actor, other):
        found = await live(town, one)
        assert (found.signed_in_at, found.methods) == (0, ())


async def test_a_refresh_changes_no_proof(town):
    actor = await signed_in(town, await town.account(), PASSWORD, TOTP)
    at = await dated(town, actor, 100)
    rotated = await town.sessions.rotate(actor.user, actor.session, 0, ttl=600.0)
    found = rotated.record.sessions[actor.session]
    assert found.signed_in_at == at
    assert found.methods == (Proof(Method.PASSWORD, "", at), Proof(Method.TOTP, "fac_1", at))


async def test_a_password_change_inherits_and_adds_a_proof(town):
    admin = await town.account()
    actor, other = await signed_in(town, admin, PASSWORD, TOTP), await signed_in(town, admin, NewProof(Method.PASSKEY))
    at = await dated(town, actor, 100)
    found = await change_password(town, actor, town.session(proofs=(PASSWORD,)), actor)
    assert found.methods == (Proof(Method.TOTP, "fac_1", at), Proof(Method.PASSWORD, "", found.signed_in_at))
    assert found.signed_in_at >= at + 100
    assert other.session not in (await town.users.record(admin.id)).sessions


async def test_with_a_factor_a_password_is_no_new_sign_in(town):
    admin = await town.account()
    actor = await signed_in(town, admin, PASSWORD, TOTP)
    await enrolled(town, admin.id)
    at = await dated(town, actor, 100)
    found = await change_password(town, actor, town.session(proofs=(PASSWORD,)), actor)
    assert found.signed_in_at == at
    assert [proof.at > at for proof in found.methods] == [False, True]


@pytest.mark.parametrize("by", ["link", "operator"])
async def test_a_reset_inherits_nothing(town, by):
    actor = await signed_in(town, await town.account(), PASSWORD, TOTP)
    maker = {"link": Actor.bearer(actor.user), "operator": OPERATOR}[by]
    found = await change_password(town, actor, town.session(proofs=(PASSWORD,)), maker)
    assert [proof.method for proof in found.methods] == [Method.PASSWORD]


async def test_R36_an_external_token_opens_no_session_beside_a_factor(town):
    """Such a token has no session here, so that there is no proof of a factor to inherit."""
    admin = await town.account()
    outside = Actor(admin.id, admin.role, admin.epoch, SessionId(""))
    session = town.session(proofs=(PASSWORD,))
    arguments = {"expected_epoch": admin.epoch, "password_hash": "n", "session": session, "actor": outside}
    await enrolled(town, admin.id)
    before = await town.users.record(admin.id)
    assert isinstance(await town.users.change_password(admin.id, **arguments), ActorChanged)
    assert await town.users.record(admin.id) == before
    await town.store.change("DEL", f"{home_of(town, admin.id)}:factors:{admin.id}")
    assert isinstance(await town.users.change_password(admin.id, **arguments), PasswordChanged)


async def test_R37_the_mark_of_a_mailed_link_stays(town):
    admin = await town.account()
    actor, plain = await signed_in(town, admin, PASSWORD, mailed=True), await signed_in(town, admin, PASSWORD)
    places = [f"{home_of(town, admin.id)}:s:{one.session}" for one in (actor, plain)]
    assert [await town.store.command("HGET", place, "link") for place in places] == ["1", None]
    session = town.session(proofs=(PASSWORD,))
    await change_password(town, actor, session, actor)
    assert await town.store.command("HGET", f"{home_of(town, admin.id)}:s:{session.id}", "link") == "1"


@pytest.mark.parametrize("text", ["password", "password:", "password::", "password::x", "pin::1", "totp:a:b:1"])
def test_a_malformed_proof_is_an_error(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        proofs_of(text)


def test_proofs_are_read_in_their_order():
    assert proofs_of("") == ()
    assert proofs_of("password::1999 recovery-code::3000") == (
        Proof(Method.PASSWORD, "", 1),
        Proof(Method.RECOVERY_CODE, "", 3),
    )
    assert LiveSession(1, 1).methods == ()


async def test_R41_a_step_up_raises_the_session_that_asked(town):
    admin = await town.account()
    actor, other = await signed_in(town, admin, PASSWORD), await signed_in(town, admin, PASSWORD)
    at = await dated(town, actor, 1000)
    before = (await town.users.record(admin.id)).sessions
    done = await town.sessions.step_up(actor, TOTP)
    assert isinstance(done, SteppedUp)
    raised = done.record.sessions[actor.session]
    assert raised.methods == (Proof(Method.PASSWORD, "", at), Proof(Method.TOTP, "fac_1", raised.signed_in_at))
    assert raised.signed_in_at >= at + 1000
    assert raised.ends_at == before[actor.session].ends_at
    assert done.record.sessions[other.session] == before[other.session]
    event = (await town.feed())[-1]
    assert (event["n"], event["u"], event["ack"]) == (str(done.position.n), admin.id, "1")
    assert done.record.revision == int(event["s"])


async def test_R41_a_step_up_never_lengthens_a_session(town):
    actor = await signed_in(town, await town.account(), PASSWORD)
    home = home_of(town, actor.user)
    places = [f"{home}:s:{actor.session}", f"{home}:us:{actor.user}"]
    before = [await town.store.command("PEXPIRETIME", place) for place in places] if await real(town) else []
    last = await town.store.command("HGET", places[0], "abs")
    for _ in range(3):
        done = await town.sessions.step_up(actor, PASSWORD)
    assert done.record.sessions[actor.session].ends_at == int(float(await score(town, actor))) // 1000
    assert await town.store.command("HGET", places[0], "abs") == last
    assert [await town.store.command("PEXPIRETIME", place) for place in places if before] == before
    assert await town.sessions.rotate(actor.user, actor.session, 1, ttl=60) == StoreBehind(), "no new refresh token"


async def real(town):
    try:
        await town.store.command("PEXPIRETIME", "none")
    except ResponseError:
        return False
    return True


async def score(town, actor):
    return await town.store.command("ZSCORE", f"{home_of(town, actor.user)}:us:{actor.user}", actor.session)


async def test_a_repeated_proof_replaces_the_older_one(town):
    actor = await signed_in(town, await town.account(), PASSWORD, TOTP)
    at = await dated(town, actor, 100)
    for _ in range(30):
        done = await town.sessions.step_up(actor, TOTP, NewProof(Method.TOTP, "fac_2"))
    found = done.record.sessions[actor.session].methods
    assert [(proof.method, proof.factor, proof.at > at) for proof in found] == [
        ("password", "", False),
        ("totp", "fac_1", True),
        ("totp", "fac_2", True),
    ]


async def test_with_a_factor_a_step_up_by_password_is_no_sign_in(town):
    admin = await town.account()
    actor = await signed_in(town, admin, PASSWORD, TOTP)
    await enrolled(town, admin.id)
    before = await live(town, actor)
    assert await town.sessions.step_up(actor, PASSWORD) == FactorRequired()
    assert await live(town, actor) == before


async def test_R41_only_a_live_session_of_the_actor_is_raised(town):
    admin = await town.account()
    bob = await town.member(OPERATOR, admin.account, "b@example.com")
    actor, victim = await signed_in(town, admin, PASSWORD), await signed_in(town, bob, PASSWORD)
    feed = len(await town.feed())
    stolen = Actor(actor.user, actor.role, actor.epoch, victim.session)
    assert await town.sessions.step_up(stolen, TOTP) == SessionGone()
    assert await town.sessions.step_up(replace(actor, user="nonsense"), TOTP) == SessionGone()
    assert await town.sessions.step_up(replace(actor, role="developer"), TOTP) == ActorChanged()
    assert await town.sessions.step_up(replace(actor, role=""), TOTP) == ActorChanged()
    for wrong in (OPERATOR, Actor.bearer(actor.user)):
        with pytest.raises(ValueError, match="needs a session"):
            await town.sessions.step_up(wrong, TOTP)
    with pytest.raises(ValueError, match="at least one proof"):
        await town.sessions.step_up(actor)
    assert len(await town.feed()) == feed
    await town.users.change(OPERATOR, bob.id, role="developer")
    assert await town.sessions.step_up(victim, TOTP) == ActorChanged()
    await town.sessions.end(admin.id, [actor.session], OPERATOR)
    assert await town.sessions.step_up(actor, TOTP) == SessionGone()
    await town.accounts.set_status(admin.account, Status.SUSPENDED, OPERATOR)
    assert await town.sessions.step_up(replace(victim, role="developer"), TOTP) == ActorChanged()


async def test_fifty_step_ups_at_once_are_all_kept(town):
    actor = await signed_in(town, await town.account(), PASSWORD)
    proofs = [NewProof(Method.PASSKEY, f"fac_{number}") for number in range(50)]
    outcomes = await asyncio.gather(*(town.sessions.step_up(actor, proof) for proof in proofs))
    assert {type(outcome) for outcome in outcomes} == {SteppedUp}
    assert {proof.factor for proof in (await live(town, actor)).methods} == {"", *(proof.factor for proof in proofs)}


@pytest.fixture
def drop(town, monkeypatch):
    """Return a call of ``drop_factor``, as a script that removes a factor makes it."""
    whole, body = scripts.script("account").text, (files("sidecar.store") / "scripts/account.lua").read_text()
    text = whole.removesuffix(body) + (
        "local n = publish('user', A.uid, '1', key('u:' .. A.uid), true)\n"
        "drop_factor(A.uid, A.method, A.factor)\nreturn answer({ o = 'dropped', r = record(A.uid), n = n })\n"
    )
    of, made = scripts.script, scripts.Script(text, "0" * 40)  # unknown to the server: sent as a text
    monkeypatch.setattr(connection.scripts, "script", lambda name: made if name == "drop" else of(name))

    async def drop(uid, method, factor):
        account = account_of(uid)
        reply = await run_write(town.store, "drop", account, OPERATOR, uid=uid, method=method, factor=factor)
        return record_of(account, reply["r"])

    return drop


async def test_a_removed_factor_leaves_every_session(town, drop):
    admin = await town.account()
    other_factor, code = NewProof(Method.TOTP, "fac_10"), NewProof(Method.RECOVERY_CODE)
    first = await signed_in(town, admin, PASSWORD, TOTP)
    second = await signed_in(town, admin, PASSWORD, other_factor, TOTP, code)
    third = await signed_in(town, admin, PASSWORD)
    found = (await drop(admin.id, "totp", "fac_1")).sessions
    assert [proof.method for proof in found[first.session].methods] == [Method.PASSWORD]
    assert [(proof.method, proof.factor) for proof in found[second.session].methods] == [
        ("password", ""),
        ("totp", "fac_10"),
        ("recovery-code", ""),
    ]
    assert [proof.method for proof in found[third.session].methods] == [Method.PASSWORD]
    found = (await drop(admin.id, "recovery-code", "")).sessions
    assert [proof.method for proof in found[second.session].methods] == ["password", "totp"]


async def test_the_sign_in_goes_back_to_a_proof_that_is_left(town, drop):
    admin = await town.account()
    actor, alone = await signed_in(town, admin, PASSWORD), await signed_in(town, admin, NewProof(Method.PASSKEY, "p"))
    at = await dated(town, actor, 100)
    await town.sessions.step_up(actor, TOTP)
    assert (await drop(admin.id, "totp", "fac_1")).sessions[actor.session].signed_in_at == at
    left = (await drop(admin.id, "passkey", "p")).sessions[alone.session]
    assert (left.signed_in_at, left.methods) == (0, ())
