"""Searches and evaluation agree on any policy: random rules, inheritance and routes."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.access import Resource, Target
from sidecar.domain.decision import Reason
from sidecar.domain.users import AccountId, Member, Status, UserId, UserRecord
from sidecar.pdp.evaluation import ResolvedSubject, evaluate, resolve_record
from sidecar.pdp.search import actions, named_paths, resources, subjects
from sidecar.policy.declarations import Role, Section
from sidecar.policy.generation import Generation, build
from sidecar.policy.routes import PUBLIC, Public, Route, RouteTable, read_pattern
from sidecar.policy.rules import Effect, Rule

ROLES = ("member", "a", "b", "c")
SECTIONS = {"s": ("x", "y"), "t": ("x", "z")}
PATTERNS = ("/", "/p", "/p/q", "/p/**", "/p/*", "/q/**", "/p/*/r", "/**", "/o/{account}/**", "/o/{account}/{user}")
PATHS = ["/", "/p", "/p/", "/p/q", "/p/x", "/p/x/r", "/p/q/r/s", "/q", "/x", "/p//q", "/p/..", "/%70"]
PATHS += [
    f"/o/{account}/{rest}"
    for account in ("acc_aaaaaaaaaaaa", "acc_bbbbbbbbbbbb")
    for rest in ("", "x", "usr_aaaaaaaaaaaa_000000000000", "usr_aaaaaaaaaaaa_000000000003")
]
METHODS = ("GET", "POST", "HEAD", "DELETE", "get")
TARGETS = (Target("s", "x"), Target("s", "y"), Target("t", "z"), PUBLIC)


@st.composite
def generations(draw: st.DrawFn) -> Generation:
    rules = []
    for number in range(draw(st.integers(0, 10))):
        section = draw(st.sampled_from(("*", *SECTIONS)))
        action = draw(st.sampled_from(("*", *(SECTIONS[section] if section != "*" else ("x",)))))
        rules.append(Rule(number + 1, draw(st.sampled_from(ROLES)), section, action, draw(st.sampled_from(Effect))))
    closures = {role: (role, *draw(st.lists(st.sampled_from(ROLES), max_size=2, unique=True))) for role in ROLES}
    return build(
        {},
        {role: Role(role, role, "", True) for role in ROLES},
        {name: Section(name, name, names, names) for name, names in SECTIONS.items()},
        RouteTable(draw(st.lists(routes(), max_size=6, unique_by=lambda route: route.path))),
        tuple(rules),
        (),
        closures,
    )


@st.composite
def routes(draw: st.DrawFn) -> Route:
    path = draw(st.sampled_from(PATTERNS))
    segments = read_pattern(path)
    assert not isinstance(segments, str)
    methods = draw(st.lists(st.sampled_from(("GET", "POST", "DELETE")), min_size=1, unique=True))
    target: Target | Public = draw(st.sampled_from(TARGETS))
    return Route(path, segments, tuple(methods), target, 1)


def record(number: int, role: str, status: Status) -> UserRecord:
    account = AccountId("acc_" + "a" * 12)
    return UserRecord(UserId(f"usr_{'a' * 12}_{number:012d}"), account, "", "", role, status, 1, 1)


MEMBERS = [
    Member(record(number, role, status), 0)
    for number, (role, status) in enumerate(
        product((*ROLES, "gone"), (Status.ACTIVE, Status.SUSPENDED, Status.INVITED))
    )
]


def questions(generation: Generation) -> list[tuple[str, Resource]]:
    cells = [
        (action, Resource("section", section)) for section in (*SECTIONS, "no") for action in ("x", "y", "z", "no")
    ]
    paths = sorted({*PATHS, *named_paths(generation)})
    return cells + [(method, Resource("route", path)) for path in paths for method in METHODS]


@given(generations())
@settings(max_examples=150, deadline=None)
def test_who_may(generation: Generation) -> None:
    for action, resource in questions(generation):
        allowed = [
            one.record.id
            for one in MEMBERS
            if evaluate(generation, resolve_record(one.record), action, resource).allowed
        ]
        assert subjects(generation, "user", action, resource, MEMBERS) == sorted(allowed)
        roles = [role for role in ROLES if evaluate(generation, ResolvedSubject(role), action, resource).allowed]
        assert subjects(generation, "role", action, resource, ()) == sorted(roles)


@given(generations(), st.sampled_from((*ROLES, "gone")))
@settings(max_examples=150, deadline=None)
def test_with_what_and_what(generation: Generation, role: str) -> None:
    resolved = ResolvedSubject(role)
    space = questions(generation)
    allowed = {
        (action, resource) for action, resource in space if evaluate(generation, resolved, action, resource).allowed
    }
    for action in {action for action, _ in space}:
        for kind, names in (("section", SECTIONS), ("route", named_paths(generation))):
            found = resources(generation, kind, resolved, action)
            assert found == sorted(name for name in names if (action, Resource(kind, name)) in allowed)
    for resource in {resource for _, resource in space}:
        found = [name for name in actions(generation, resolved, resource) if (name, resource) in {*space}]
        assert found == sorted(name for name, one in allowed if one == resource)


@given(generations())
@settings(max_examples=50, deadline=None)
def test_another_kind_of_anything_finds_nothing(generation: Generation) -> None:
    nothing = Resource("document", "s")
    assert subjects(generation, "robot", "x", Resource("section", "s"), MEMBERS) == []
    assert subjects(generation, "user", "x", nothing, MEMBERS) == []
    assert resources(generation, "document", ResolvedSubject("a"), "x") == []
    assert actions(generation, ResolvedSubject("a"), nothing) == []
    assert evaluate(generation, ResolvedSubject("a"), "x", nothing).reason is Reason.UNKNOWN_SECTION


def test_a_suspended_account_makes_nobody_allowed() -> None:
    assert resolve_record(record(1, "a", Status.SUSPENDED)) is Reason.SUSPENDED
    assert resolve_record(record(1, "a", Status.INVITED)) is Reason.UNKNOWN_USER
