"""Proofs of live sessions: written with the store's time, inherited, unchanged by a refresh."""

import pytest

from sidecar.domain.sessions import LiveSession, Method, NewProof, Proof
from sidecar.domain.users import Actor
from sidecar.store import keys
from sidecar.store.codec import proofs_of
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
    await town.store.change("HSET", f"{home_of(town, uid)}:factors:{uid}", "fac_1", "x")


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
    await enrolled(town, admin.id)
    actor = await signed_in(town, admin, PASSWORD, TOTP)
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
