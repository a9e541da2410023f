"""Needs over random files: every class of every cell equals the direct evaluator, and facts equal their class."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.domain.sessions import Method, Proof
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.generation import Generation
from sidecar.policy.needs.direct import DirectNeeds
from sidecar.policy.needs.facts import Facts
from sidecar.policy.needs.proof import prove_needs
from tests.policy.needs_policies import with_needs

ZONES = ("Europe/Berlin", "America/New_York", "UTC", "Asia/Kolkata", "Australia/Lord_Howe")
CHANGES = [  # both clock changes of two zones, and the seconds around them
    datetime(2027, 3, 28, 1, tzinfo=UTC),
    datetime(2027, 10, 31, 1, tzinfo=UTC),
    datetime(2027, 3, 14, 7, tzinfo=UTC),
    datetime(2027, 11, 7, 6, tzinfo=UTC),
]
NETWORKS = ("192.0.2.0/24", "192.0.2.128/25", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/48", "2001:db8::/32", "::/0")
ADDRESSES = ("192.0.2.1", "192.0.2.200", "10.1.2.3", "203.0.113.7", "2001:db8::1", "2001:db9::1", "::ffff:192.0.2.1")
CLOCKS = ("00:00", "01:30", "02:30", "08:00", "18:00", "23:59")
DAYS = ("mon-fri", "sat,sun", "sun", "fri-mon", "mon-sun")
CELLS = ("billing, change-plan", "billing, *", "*, *", "*, view", "users, manage", "developer, *")
ROLES = ("accountant", "developer", "marketer", "member", "account-administrator", "*")

listed = lambda items: st.lists(st.sampled_from(items), min_size=1, max_size=3, unique=True).map(repr)  # noqa: E731
hours = st.tuples(st.sampled_from(DAYS), st.sampled_from(CLOCKS), st.sampled_from((*CLOCKS, "24:00"))).filter(
    lambda times: times[1] != times[2]
)
CONDITION = st.one_of(
    st.just("second_factor = true"),
    listed([method.value for method in Method if method is not Method.SECOND_FACTOR]).map("methods = {}".format),
    st.sampled_from(("1m", "5m", "15m", "24h")).map('signed_in_within = "{}"'.format),
    listed(NETWORKS).map("networks = {}".format),
    st.tuples(hours, st.sampled_from(ZONES)).map(
        lambda one: f'hours = {{ days = "{one[0][0]}", from = "{one[0][1]}", to = "{one[0][2]}", zone = "{one[1]}" }}'
    ),
    st.tuples(st.sampled_from(("plan", "region")), listed(("pro", "free", "eu"))).map(
        lambda one: f"account = {{ {one[0]} = {one[1]} }}"
    ),
)


@st.composite
def policies(draw: st.DrawFn) -> tuple[str, str]:
    """Draw conditions.toml and needs.csv."""
    conditions = draw(st.lists(CONDITION, min_size=1, max_size=5, unique=True))
    names = [f"c{index}" for index in range(len(conditions))]
    line = st.tuples(
        st.sampled_from(ROLES),
        st.sampled_from(CELLS),
        st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True).map(sorted),
    ).map(lambda one: f"needs, {one[0]}, {one[1]}, {' | '.join(one[2])}\n")
    lines = draw(st.lists(line, min_size=1, max_size=4, unique=True))
    written = (
        f'[conditions.{name}]\ntitle = "T {name}"\n{text}\n' for name, text in zip(names, conditions, strict=True)
    )
    return "".join(written), "".join(lines)


def drawn_instants() -> st.SearchStrategy[float]:
    around = st.sampled_from(CHANGES).flatmap(
        lambda change: st.integers(-7200, 7200).map(lambda seconds: (change + timedelta(seconds=seconds)).timestamp())
    )
    return st.one_of(around, st.floats(1_704_067_200, 2_587_679_999), st.floats(2_600_000_000, 4_000_000_000))


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    now = draw(drawn_instants())
    at = st.sampled_from((-10, -2, 0, 59, 60, 61, 299, 300, 301, 899, 900, 901, 86_400, 86_401)).map(
        lambda age: int(now) - age
    )
    proofs = draw(st.lists(st.builds(Proof, st.sampled_from(Method), st.just("x"), at), max_size=4))
    client = draw(st.none() | st.sampled_from(ADDRESSES).map(ip_address))
    labels = draw(st.dictionaries(st.sampled_from(("plan", "region")), st.sampled_from(("pro", "free", "eu", "x"))))
    return Facts(tuple(proofs), draw(st.none() | at), now, client, labels, leeway=2.0)


def draft(seed: Mapping[str, bytes], conditions: str, lines: str) -> Generation:
    found = compile_policy(with_needs(seed, lines, "", conditions), proof=ProofScope.NONE)
    assert found.draft is not None, found.diagnostics
    return found.draft


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(policy=policies(), questions=st.lists(facts(), min_size=5, max_size=15))
def test_every_class_equals_the_direct_evaluator(
    seed: Mapping[str, bytes], policy: tuple[str, str], questions: list[Facts]
) -> None:
    generation = draft(seed, *policy)
    findings = DiagnosticSink()
    prove_needs(generation, findings)
    assert findings.sorted() == ()
    direct = DirectNeeds(generation.files)
    for role in generation.roles:
        lines = direct.lines_for_role(role)
        for section, action in generation.allowed[role]:
            of_cell = direct.lines_for_cell(lines, section, action)
            requirement = generation.needs.of(role, section, action)
            assert (requirement is None) is not bool(of_cell)
            for one in questions if requirement is not None else ():
                number = generation.needs.class_of(one)
                assert requirement.meets(number) is direct.meets(of_cell, one), one
                base, until = generation.needs.base_of(one)
                assert generation.needs.at(base, one.client) == number
                assert until >= one.now


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(policy=policies(), one=facts(), share=st.floats(0, 1))
def test_R40_a_class_stays_until_its_next_boundary(
    seed: Mapping[str, bytes], policy: tuple[str, str], one: Facts, share: float
) -> None:
    needs = draft(seed, *policy).needs
    until = min(needs.valid_until(one), one.now + 200_000)
    later = one.now + (until - one.now) * share
    if later < until:
        moved = Facts(one.proofs, one.signed_in_at, later, one.client, one.labels, one.leeway)
        assert needs.class_of(moved) == needs.class_of(one)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(policy=policies(), one=facts())
def test_unmet_names_a_set_that_would_do(seed: Mapping[str, bytes], policy: tuple[str, str], one: Facts) -> None:
    needs = draft(seed, *policy).needs
    for line in needs.lines:
        role = "accountant" if line.role in ("*", "member") else line.role
        for cell in ((role, "billing", "change-plan"), (role, "users", "manage")):
            requirement = needs.of(*cell)
            if requirement is None:
                continue
            unmet = needs.unmet(*cell, one)
            assert bool(unmet.names) is not requirement.meets(needs.class_of(one))
            asked = {name for other in needs.lines_of(*cell) for name in other.conditions}
            assert set(unmet.names) <= asked
            assert list(unmet.names) == [name for name in needs.conditions if name in unmet.names]
            assert not unmet.step_up or all(needs.conditions[name].by_sign_in for name in unmet.names)
            assert unmet.step_up or (unmet.max_age, unmet.acr_values) == (None, None)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(policy=policies())
def test_R39_a_needs_line_never_opens(seed: Mapping[str, bytes], shipped: Generation, policy: tuple[str, str]) -> None:
    generation = draft(seed, *policy)
    assert dict(generation.cells) == dict(shipped.cells)
    for cell, ruling in generation.cells.items():
        requirement = generation.needs.of(*cell)
        assert ruling.allowed or requirement is None
        assert requirement is None or not requirement.meets(generation.needs.class_of(None))


def test_both_clock_changes_are_boundaries(seed: Mapping[str, bytes]) -> None:
    """02:30 in Berlin happens twice in October, and never on the Sunday in March."""
    conditions = '[conditions.night]\nhours = { days = "sun", from = "02:00", to = "03:00", zone = "Europe/Berlin" }\n'
    needs = draft(seed, conditions, "needs, accountant, billing, view, night\n").needs
    requirement = needs.of("accountant", "billing", "view")
    assert requirement is not None

    def met(text: str) -> bool:
        return requirement.meets(needs.class_of(Facts(now=datetime.fromisoformat(text).timestamp())))

    assert met("2027-10-31T00:30:00+00:00")
    assert met("2027-10-31T01:30:00+00:00")
    assert not met("2027-10-31T02:00:00+00:00")
    assert [met(f"2027-03-28T{hour:02}:30:00+00:00") for hour in range(24)] == [False] * 24
    assert met("2027-03-21T01:30:00+00:00")
    before = datetime.fromisoformat("2027-10-31T00:30:00+00:00").timestamp()
    assert needs.valid_until(Facts(now=before)) == before + 1800  # the clock change itself


def test_hours_over_midnight_belong_to_the_day_of_their_start(seed: Mapping[str, bytes]) -> None:
    conditions = '[conditions.night]\nhours = { days = "sun", from = "22:00", to = "06:00", zone = "UTC" }\n'
    needs = draft(seed, conditions, "needs, accountant, billing, view, night\n").needs
    requirement = needs.of("accountant", "billing", "view")
    assert requirement is not None
    met = [
        requirement.meets(needs.class_of(Facts(now=datetime.fromisoformat(f"{text}+00:00").timestamp())))
        for text in ("2027-10-31T21:59", "2027-10-31T22:00", "2027-11-01T05:59", "2027-11-01T06:00", "2027-10-30T23:00")
    ]
    assert met == [False, True, True, False, False]


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -1e30, 1e300])
def test_no_time_raises_or_meets_an_age_or_hours(seed: Mapping[str, bytes], now: float) -> None:
    conditions = (
        '[conditions.a]\nsigned_in_within = "15m"\n'
        '[conditions.b]\nhours = { days = "mon-sun", from = "00:00", to = "24:00", zone = "UTC" }\n'
        "[conditions.c]\nsecond_factor = true\n"
    )
    lines = "".join(f"needs, accountant, billing, {action}, {names}\n" for action, names in (("view", "a"), ("*", "b")))
    needs = draft(seed, conditions, lines).needs
    one = Facts((Proof(Method.TOTP, "x", 5),), 5, now, ip_address("10.0.0.1"))
    for action in ("view", "change-plan"):
        requirement = needs.of("accountant", "billing", action)
        assert requirement is not None
        assert not requirement.meets(needs.class_of(one))
    needs.valid_until(one)


def test_a_wrong_table_is_found(seed: Mapping[str, bytes]) -> None:
    """The proof itself: a flipped bit, and a cell without its requirement, are findings."""
    generation = draft(seed, "[conditions.a]\nsecond_factor = true\n", "needs, accountant, billing, *, a\n")
    requirement = generation.needs.requirements[0]
    right = requirement.bits
    for bits in (bytes(byte ^ 1 for byte in right), bytes(len(right))):
        requirement.bits = bits
        findings = DiagnosticSink()
        prove_needs(generation, findings)
        assert {found.code.value for found in findings.sorted()} == {"needs-disagree"}
    requirement.bits = right
    generation.needs._numbers[:] = type(generation.needs._numbers)("H", bytes(2 * len(generation.needs._numbers)))
    findings = DiagnosticSink()
    prove_needs(generation, findings)
    assert findings.has_errors
