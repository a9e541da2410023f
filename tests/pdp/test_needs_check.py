"""Needs in the decision point: facts of the live session, reasons, boundaries, and the remembered class."""

from ipaddress import ip_address

import pytest

from sidecar.domain.access import Credential, CredentialSource, Question, Target
from sidecar.domain.decision import FOREVER, Decision, MissingConditions, Reason
from sidecar.domain.sessions import Method, Proof
from sidecar.policy.needs.facts import Address
from tests.needs_world import PASSKEY, PASSWORD, TOTP, NeedsWorld
from tests.pdp_fixture import NOW, token

BILLING = Target("billing", "view")
OFFICE, ELSEWHERE = ip_address("192.0.2.7"), ip_address("203.0.113.9")
CODE = Proof(Method.TOTP, TOTP, NOW)


def question(client: Address | None = None, target: Target = BILLING, *, ttl: int = 3600) -> Question:
    return Question(target, Credential(CredentialSource.HEADER, token("b", expires_at=NOW + ttl)), client=client)


def check(world: NeedsWorld, client: Address | None = None) -> Decision:
    found = world.pdp.check_now(question(client))
    assert isinstance(found, Decision)
    return found


def test_R39_an_unknown_fact_is_unmet_and_opens_nothing() -> None:
    world = NeedsWorld("office")
    decision = check(world)
    assert (decision.reason, decision.missing) == (Reason.CONDITION_UNMET, MissingConditions(("office",)))
    assert check(world, ELSEWHERE).reason is Reason.CONDITION_UNMET
    assert check(world, OFFICE).reason is Reason.ALLOWED
    assert check(world, ip_address("::ffff:192.0.2.7")).reason is Reason.ALLOWED
    denied = world.pdp.check_now(question(OFFICE, Target("developer-docs", "manage")))
    assert isinstance(denied, Decision)
    assert not denied.allowed
    assert denied.missing is None


def test_what_signing_in_again_mends_is_a_401() -> None:
    world = NeedsWorld("second-factor, recent-sign-in")
    world.now += 901
    decision = check(world)
    assert decision.reason is Reason.STEP_UP_REQUIRED
    assert decision.missing == MissingConditions(
        ("second-factor", "recent-sign-in"), 900, "second-factor", ("totp", "passkey")
    )


def test_what_only_an_administrator_mends_is_a_403() -> None:
    decision = check(NeedsWorld("second-factor, paid-plan"))
    assert decision.reason is Reason.CONDITION_UNMET
    assert decision.missing is not None
    assert decision.missing.names == ("second-factor", "paid-plan")
    world = NeedsWorld("paid-plan")
    world.enter(PASSWORD, labels={"plan": "pro"})
    assert check(world).allowed


@pytest.mark.parametrize(
    ("factors", "proof", "reason", "enrol"),
    [
        ({}, CODE, Reason.STEP_UP_REQUIRED, ("totp", "passkey")),  # the device was removed
        ({TOTP: NOW}, PASSWORD, Reason.STEP_UP_REQUIRED, ()),
        ({TOTP: NOW}, CODE, Reason.ALLOWED, ()),
        ({TOTP: NOW + 60}, CODE, Reason.CONDITION_UNMET, ()),  # a first factor waits (R37): a step-up mends nothing
        ({TOTP: NOW + 60, PASSKEY: NOW}, CODE, Reason.STEP_UP_REQUIRED, ()),
        ({PASSKEY: NOW}, CODE, Reason.STEP_UP_REQUIRED, ()),  # a proof of another device
        ({TOTP: NOW + 60}, Proof(Method.RECOVERY_CODE, "", NOW), Reason.CONDITION_UNMET, ()),
        ({TOTP: NOW}, Proof(Method.RECOVERY_CODE, "", NOW), Reason.ALLOWED, ()),
        ({}, Proof(Method.RECOVERY_CODE, "", NOW), Reason.STEP_UP_REQUIRED, ("totp", "passkey")),
        ({}, Proof(Method.SECOND_FACTOR, "", NOW), Reason.ALLOWED, ()),  # an external issuer vouches
    ],
)
def test_R37_a_proof_counts_while_its_device_does(
    factors: dict[str, int], proof: Proof, reason: Reason, enrol: tuple[str, ...]
) -> None:
    world = NeedsWorld("second-factor")
    world.enter(PASSWORD, proof, factors=factors)
    decision = check(world)
    assert decision.reason is reason
    assert (decision.missing.enrol if decision.missing else ()) == enrol


@pytest.mark.parametrize("factors", [{}, {TOTP: NOW}, {TOTP: NOW + 60}])
@pytest.mark.parametrize("method", [Method.TOTP, Method.PASSKEY, Method.RECOVERY_CODE, Method.SECOND_FACTOR])
def test_R10_a_proof_of_an_issuer_needs_no_device_here(method: Method, factors: dict[str, int]) -> None:
    world = NeedsWorld("second-factor")
    world.enter(Proof(Method.OUTSIDE, "", NOW), Proof(method, "", NOW), factors=factors)
    assert check(world).allowed
    world.enter(Proof(Method.OUTSIDE, "", NOW), factors=factors)
    assert not check(world).allowed


def test_R37_the_instant_a_factor_counts_from_is_a_boundary() -> None:
    world = NeedsWorld("second-factor")
    world.enter(PASSWORD, CODE, factors={TOTP: NOW + 60})
    decision = check(world)
    assert decision.valid_until == NOW + 60
    basis = world.pdp.basis_of(question(), decision)
    assert basis is not None
    world.now = NOW + 59.9
    assert world.pdp.is_current(basis)
    world.now = NOW + 60.0
    assert not world.pdp.is_current(basis)
    assert check(world).allowed


def test_R37_a_clock_that_is_behind_delays_no_factor() -> None:
    """The store's clock sets the instant, and two clocks differ by up to the leeway."""
    for ahead, allowed in ((0, True), (5, True), (6, False)):
        world = NeedsWorld("second-factor", leeway=5.0)
        world.enter(PASSWORD, CODE, factors={TOTP: NOW + ahead})
        decision = check(world)
        assert decision.allowed is allowed
        assert decision.valid_until == (FOREVER if allowed else NOW + 1)
        assert allowed or decision.reason is Reason.CONDITION_UNMET
        world.now += 1.0
        assert check(world).allowed
    world = NeedsWorld("second-factor", leeway=5.0)
    world.enter(PASSWORD, factors={TOTP: NOW + 5})
    assert check(world).reason is Reason.STEP_UP_REQUIRED, "a step-up would do"


def test_R40_an_answer_ends_at_the_next_boundary_of_age() -> None:
    world = NeedsWorld("recent-sign-in | office")
    decision = check(world)
    assert (decision.allowed, decision.valid_until) == (True, NOW + 900)
    basis, shorter = world.pdp.basis_of(question(), decision), world.pdp.basis_of(question(ttl=800), decision)
    assert basis is not None
    assert shorter is not None
    assert (basis.until, shorter.until) == (NOW + 900, NOW + 805), "or the token ends before, with its leeway"
    world.enter(PASSWORD, signed_in_at=NOW - 800)
    decision = check(world)
    basis = world.pdp.basis_of(question(), decision)
    assert basis is not None
    assert basis.until == NOW + 100
    world.now = NOW + 100.0
    assert check(world).allowed, "an age of exactly 15 minutes"
    assert world.pdp.basis_of(question(), check(world)) is None, "and not to be remembered"
    world.now = NOW + 100.1
    assert check(world).reason is Reason.STEP_UP_REQUIRED


def test_R40_an_answer_is_not_valid_at_an_earlier_time() -> None:
    """A clock that is set back can be in other hours."""
    world = NeedsWorld("recent-sign-in")
    world.now += 10
    decision = check(world)
    basis = world.pdp.basis_of(question(), decision)
    assert basis is not None
    assert world.pdp.is_current(basis)
    world.now -= 1
    assert not world.pdp.is_current(basis)


def test_a_cell_without_a_need_depends_on_no_fact() -> None:
    world = NeedsWorld("office")
    decision = world.pdp.check_now(question(OFFICE, Target("account-settings", "view")))
    assert isinstance(decision, Decision)
    assert (decision.allowed, decision.known, decision.valid_until) == (True, None, FOREVER)


def test_a_remembered_class_ends_with_record_generation_and_time() -> None:
    world = NeedsWorld("second-factor")
    assert not check(world).allowed
    world.enter(PASSWORD, CODE, factors={TOTP: NOW})
    assert check(world).allowed, "the same token passes after a step-up"
    other = NeedsWorld("passkey")
    world.policy.generation = other.policy.generation
    assert check(world).reason is Reason.STEP_UP_REQUIRED


def test_a_proof_from_the_future_is_unmet_beyond_the_leeway() -> None:
    for leeway, at, allowed in ((5.0, NOW + 5, True), (5.0, NOW + 6, False), (0.0, NOW + 1, False)):
        world = NeedsWorld("recent-sign-in", leeway=leeway)
        world.enter(Proof(Method.PASSWORD, "", at))
        assert check(world).allowed is allowed


def test_the_log_holds_what_was_known() -> None:
    world = NeedsWorld("second-factor | office, recent-sign-in")
    world.enter(PASSWORD, CODE, factors={TOTP: NOW})
    world.now += 400
    known = check(world, OFFICE).known
    assert known is not None
    assert (known.methods, known.signed_in_within, known.hours) == (("password", "totp"), 900, 0)
    assert known.network != (check(world, ELSEWHERE).known or known).network
