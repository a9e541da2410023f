"""Needs in AuthZEN: a key vouches for a user's address and session; searches return what evaluation allows."""

from ipaddress import ip_address

from sidecar.domain.access import Resource
from sidecar.domain.decision import Decision, Reason
from sidecar.domain.sessions import Method, Proof
from sidecar.domain.users import Member, SessionId, UserRecord
from sidecar.pdp.evaluation import Circumstances, ResolvedSubject, evaluate
from sidecar.pdp.search import actions, met_cells, resources, subjects
from tests.needs_world import BOB, PASSWORD, TOTP, NeedsWorld
from tests.pdp_fixture import NOW, SESSION

OFFICE, ELSEWHERE = ip_address("192.0.2.7"), ip_address("203.0.113.9")
CODE = Proof(Method.TOTP, TOTP, NOW)


def judged(world: NeedsWorld, record: UserRecord | None, **facts: object) -> Decision:
    circumstances = Circumstances(world.now, **facts)  # type: ignore[arg-type]
    subject = ResolvedSubject("accountant", record)
    return evaluate(world.policy.generation, subject, "view", Resource("section", "billing"), circumstances)


def test_a_key_vouches_for_address_and_session_of_a_user() -> None:
    world = NeedsWorld("second-factor | office")
    world.enter(PASSWORD, CODE, factors={TOTP: NOW})
    bob = world.users[BOB]
    assert judged(world, bob).reason is Reason.STEP_UP_REQUIRED, "no session"
    assert judged(world, bob, session=SESSION).allowed
    assert judged(world, bob, session=SessionId("ses_" + "b" * 26)).reason is Reason.STEP_UP_REQUIRED, "not this user's"
    assert judged(world, bob, client=OFFICE).allowed
    assert not judged(world, None, client=OFFICE, session=SESSION).allowed, "a role meets nothing"
    world.now = NOW + 100_000.0
    assert not judged(world, bob, session=SESSION).allowed, "the session has ended"


def test_searches_return_what_evaluation_allows() -> None:
    world = NeedsWorld("office | second-factor")
    generation, billing = world.policy.generation, Resource("section", "billing")
    bob, role = ResolvedSubject("accountant", world.users[BOB]), ResolvedSubject("accountant")
    for client in (None, OFFICE, ELSEWHERE):
        facts = Circumstances(world.now, client=client)
        allowed = client is OFFICE
        assert evaluate(generation, bob, "view", billing, facts).allowed is allowed
        assert ("view" in actions(generation, bob, billing, facts)) is allowed
        assert ("billing" in resources(generation, "section", bob, "view", facts)) is allowed
        found = subjects(generation, "user", "view", billing, [Member(world.users[BOB], 0)], facts)
        assert found == ([BOB] if allowed else [])
        assert "accountant" not in subjects(generation, "role", "view", billing, (), facts)
        assert "view" not in actions(generation, role, billing, facts)
        for section, action in generation.allowed["accountant"]:
            expected = evaluate(generation, bob, action, Resource("section", section), facts).allowed
            assert ((section, action) in met_cells(generation, bob, facts)) is expected
