"""Own segments: the match of the caller's ids, ways around one, tests of routes, differences."""

from collections.abc import Callable, Mapping
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.access import OwnTarget, Target
from sidecar.domain.decision import Reason
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.declarations import Role, Section
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.diff import RouteChange, diff
from sidecar.policy.generation import Generation, build
from sidecar.policy.own_checks import RouteEntry
from sidecar.policy.own_segments import ACCOUNT, OWN, STARS, USER, own_of, shape
from sidecar.policy.route_loader import check_entries
from sidecar.policy.routes import PUBLIC, Public, Route, RouteTable, Segments, contains, read_pattern
from sidecar.policy.rules import Effect, Rule

Edited = Callable[..., dict[str, bytes]]
Codes = Callable[[Mapping[str, bytes]], list[str]]
ACC, OTHER_ACC = "acc_" + "a" * 12, "acc_" + "b" * 12
USR, OTHER_USR = f"usr_{'a' * 12}_{'c' * 12}", f"usr_{'a' * 12}_{'d' * 12}"
VIEW = Target("a", "view")


def route(path: str, target: Target | Public = VIEW, *methods: str, for_all: bool = False) -> Route:
    segments = read_pattern(path)
    assert isinstance(segments, tuple), segments
    return Route(path, segments, methods or ("GET",), target, 1, is_for_all=for_all)


def findings_of(*routes: Route) -> list[tuple[Code, int]]:
    findings = DiagnosticSink()
    check_entries([RouteEntry(one, (index, 1)) for index, one in enumerate(routes, start=1)], findings)
    return [(found.code, found.line) for found in findings.sorted()]


# -- the match of the ids ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "own"),
    [
        ("/x/{account}", f"/x/{ACC}", True),
        ("/x/{account}", f"/x/{OTHER_ACC}", False),
        ("/x/{account}", f"/x/{ACC}/", True),
        ("/x/{account}", f"/x/%61{ACC[1:]}", True),
        ("/x/{account}/**", f"/x/{ACC}", True),
        ("/x/{account}/**", f"/x/{OTHER_ACC}/{ACC}", False),
        ("/x/*/{user}", f"/x/{OTHER_ACC}/{USR}", True),
        ("/x/{user}", f"/x/{ACC}", False),
        ("/x/{account}", f"/x/{USR}", False),
        ("/{user}/x/{account}", f"/{USR}/x/{ACC}", True),
        ("/{user}/x/{account}", f"/{USR}/x/{OTHER_ACC}", False),
        ("/{user}/x/{account}", f"/{OTHER_USR}/x/{ACC}", False),
        ("/x/{account}", "/x/{account}", False),
        ("/x/{account}", f"/x/{ACC.upper()}", False),
        ("/x/{account}", f"/x/{ACC}%20", False),
        ("/x/{account}", "/x/", None),
    ],
)
def test_a_segment_is_the_callers_id_byte_for_byte(pattern: str, path: str, own: bool | None) -> None:
    for table in (RouteTable([route(pattern)]), RouteTable([route(pattern), route("/**", Target("b", "view"))])):
        for method in ("GET", "HEAD"):
            outcome = table.resolve(method, path)
            assert isinstance(outcome, OwnTarget) is (own is not None)
            if isinstance(outcome, OwnTarget):
                assert (outcome.target, outcome.is_own(ACC, USR)) == (VIEW, own)


@pytest.mark.parametrize("path", [f"/x//{ACC}", f"/x/../{ACC}", f"/x/{ACC};a", f"/x/{ACC}%2f", f"/x/%2561{ACC[1:]}"])
def test_an_ambiguous_path_is_nobodys(path: str) -> None:
    assert RouteTable([route("/x/{account}/**")]).resolve("GET", path) is Reason.AMBIGUOUS_PATH


def test_a_route_knows_its_own_segments_however_it_is_made() -> None:
    made = Route("any text", ("x", ACCOUNT), ("GET",), VIEW, 1)
    assert made.own is not None
    assert made.own.account == 1
    assert isinstance(RouteTable([made]).resolve("GET", f"/x/{ACC}"), OwnTarget)


def test_an_own_path_is_as_specific_as_a_star() -> None:
    table = RouteTable(
        [route("/x/{account}/y"), route("/x/new/y", Target("n", "view")), route("/x/**", Target("w", "view"))]
    )
    assert table.resolve("GET", "/x/new/y") == Target("n", "view")
    assert isinstance(table.resolve("GET", f"/x/{ACC}/y"), OwnTarget)
    assert table.resolve("GET", f"/x/{ACC}/z") == Target("w", "view")
    assert table.resolve("POST", f"/x/{ACC}/y") is Reason.UNMATCHED_PATH, "the most specific path decides alone (R2)"


def test_the_targets_with_own_paths_alone_are_known() -> None:
    both, manage = Target("b", "view"), Target("a", "manage")
    table = RouteTable([route("/x/{account}"), route("/y/{user}"), route("/z/{user}", both), route("/z", both)])
    assert table.own_only == {VIEW}
    assert RouteTable([route("/x/{account}"), route("/x", VIEW, "POST")]).own_only == frozenset()
    assert RouteTable([route("/x", manage)]).own_only == RouteTable().own_only == frozenset()


# -- ways around one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "others", [("/x/{account}/y", "/x/*/y"), ("/{user}", "/{account}"), ("/*/{user}", "/{user}/*")]
)
def test_one_path_has_one_form(others: tuple[str, str]) -> None:
    for one, other in (others, reversed(others)):
        assert findings_of(route(one), route(other)) == [(Code.OWN_SEGMENT, 2)]
        assert findings_of(route(one), route(other, VIEW, "POST")) == [(Code.OWN_SEGMENT, 2)]
        assert (Code.OWN_SEGMENT, 2) in findings_of(route(one), route(other, PUBLIC, for_all=True))


@pytest.mark.parametrize(
    ("wide", "narrow", "around"),
    [
        ("/x/{account}/**", "/x/*/y", True),
        ("/x/{account}/*", "/x/*/y", True),
        ("/x/{account}/**", "/x/*/**", None),
        ("/x/{account}/*/**", "/x/*/y/**", True),
        ("/x/{account}/u/{user}/**", "/x/{account}/u/*/y", True),
        ("/x/{account}/u/{user}/**", "/x/*/u/{user}/y", True),
        ("/x/{account}/**", "/x/{user}/y", False),
        ("/x/{account}/**", "/x/{account}/*", False),
        ("/x/{account}/**", "/x/{account}/{user}", False),
        ("/x/{account}/**", "/x/new", False),
        ("/x/{account}/**", "/x", False),
        ("/x/{account}/**", "/y/*/z", False),
        ("/**", "/x/{account}", False),
        ("/x/*/**", "/x/{account}/y", False),
    ],
)
def test_no_path_leads_around_an_own_segment(wide: str, narrow: str, around: bool | None) -> None:
    expected = {True: Code.OWN_BYPASS, None: Code.OWN_SEGMENT, False: None}[around]
    target: Target | Public
    for target, method in product((VIEW, Target("b", "view"), PUBLIC), ("GET", "POST")):
        if target is PUBLIC and own_of(narrow.split("/")):
            continue  # an error of its own
        for routes in ((route(wide), route(narrow, target, method)), (route(narrow, target, method), route(wide))):
            codes = {code for code, _ in findings_of(*routes)} - {Code.PUBLIC_OVER_SECTION}
            assert codes == ({expected} if expected else set()), routes
            excused = [route(one.path, one.target, *one.methods, for_all=one.path == narrow) for one in routes]
            left = {code for code, _ in findings_of(*excused)} - {Code.PUBLIC_OVER_SECTION}
            assert left - {Code.UNUSED_OWN} == ({expected} if around is None else set())
            assert around is not True or Code.UNUSED_OWN not in left


def test_each_entry_of_a_path_says_that_it_is_for_all() -> None:
    wide, first = route("/x/{account}/**"), route("/x/*/y", for_all=True)
    assert findings_of(wide, first, route("/x/*/y", VIEW, "POST", for_all=True)) == []
    assert findings_of(wide, first, route("/x/*/y", VIEW, "POST")) == [(Code.OWN_BYPASS, 3)]
    assert findings_of(route("/x/*/y", VIEW, "POST"), wide, first) == [(Code.OWN_BYPASS, 1)]


def test_a_mark_without_effect_is_a_warning() -> None:
    assert findings_of(route("/x/*/y", for_all=True)) == [(Code.UNUSED_OWN, 1)]
    assert Code.UNUSED_OWN.severity.value == "warning"
    assert {Code.OWN_SEGMENT.severity.value, Code.OWN_BYPASS.severity.value} == {"error"}


NAMES = ("p", "q")
HEADS = st.lists(st.sampled_from((*NAMES, "*", ACCOUNT, USER)), max_size=3).filter(
    lambda head: head.count(ACCOUNT) < 2 and head.count(USER) < 2
)
PATTERNS = st.builds(lambda head, rest: (*head, *rest), HEADS, st.sampled_from(((), ("**",))))
CALLERS = (("A", "U"), ("B", "V"))
PATHS = [list(path) for length in range(5) for path in product((*NAMES, "A", "B", "U", "other"), repeat=length)]


@given(st.lists(st.tuples(PATTERNS, st.booleans()), max_size=5, unique_by=lambda one: shape(one[0])))
@settings(max_examples=150, deadline=None)
def test_a_table_without_findings_cannot_be_walked_around(patterns: list[tuple[Segments, bool]]) -> None:
    """By the definition: another's own segment is passed by an entry with ``own = false``, or by a
    literal or an own segment in its place."""
    routes = [
        Route("/" + "/".join(one), one, ("GET",), VIEW, n, is_for_all=mark) for n, (one, mark) in enumerate(patterns, 1)
    ]
    if {code for code, _ in findings_of(*routes)} - {Code.UNUSED_OWN}:
        return
    table = RouteTable(routes)
    for path in PATHS:
        decided = table.route_of("GET", "/" + "/".join(path))
        for outer in routes:
            if decided is None or decided is outer or outer.own is None or decided.is_for_all:
                continue
            if contains(outer.segments, decided.segments):
                places = [at for at, one in enumerate(outer.segments) if one in OWN]
                assert all(decided.segments[at] != "*" for at in places), (outer.path, decided.path)


# -- tests of routes ---------------------------------------------------------------------------------------------------

BILLING = '  { path = "/dashboard/billing/**", methods = ["GET"], action = "view" },\n'
INVOICES = BILLING + '  { path = "/accounts/{account}/invoices/**", methods = ["GET"], action = "view" },\n'


def test_R3_an_own_path_needs_a_line_with_its_braces(edited: Edited, codes: Codes) -> None:
    files = edited("sections.toml", (BILLING, INVOICES))
    assert codes(files) == ["untested-route"]
    for line, found in (
        ("own billing/view, GET, /accounts/{account}/invoices/1", []),
        ("own billing/view, HEAD, /accounts/{account}/invoices", []),
        (f"own billing/view, GET, /accounts/{ACC}/invoices/1", ["failed-route"]),
        ("own billing/view, GET, /accounts/{user}/invoices/1", ["failed-route"]),
        ("own users/view, GET, /accounts/{account}/invoices/1", ["failed-route"]),
        ("billing/view, GET, /accounts/{account}/invoices/1", ["failed-route"]),
        ("unmatched, POST, /accounts/{account}/invoices/1", ["untested-route"]),
    ):
        assert codes(edited("routes.csv", add=line + "\n", files=files)) == found, line


def test_an_own_line_fails_where_the_path_became_anyones(edited: Edited, codes: Codes) -> None:
    opened = INVOICES.replace(ACCOUNT, "*")
    files = edited("sections.toml", (BILLING, opened))
    own = edited("routes.csv", add="own billing/view, GET, /accounts/{account}/invoices/1\n", files=files)
    assert codes(own) == ["failed-route"]


# -- differences -------------------------------------------------------------------------------------------------------


def draft(files: Mapping[str, bytes]) -> Generation:
    compiled = compile_policy(files, proof=ProofScope.NONE)
    assert compiled.draft is not None, compiled.diagnostics
    return compiled.draft


PATH = "/accounts/{}/invoices/**"


@pytest.mark.parametrize(
    ("before", "after", "path", "texts", "opens"),
    [
        ("*", ACCOUNT, PATH.format("*"), ("billing/view", "own billing/view"), False),
        (ACCOUNT, "*", PATH.format("*"), ("own billing/view", "billing/view"), True),
        (
            *(ACCOUNT, USER, PATH.format("*")),
            ("own billing/view, {account} as segment 2", "own billing/view, {user} as segment 2"),
            True,
        ),
        (None, ACCOUNT, PATH.format(ACCOUNT), ("unmatched", "own billing/view"), True),
        (ACCOUNT, None, PATH.format(ACCOUNT), ("own billing/view", "unmatched"), False),
    ],
)
def test_fewer_or_more_users(
    edited: Edited, before: str | None, after: str | None, path: str, texts: tuple[str, str], opens: bool
) -> None:
    def policy(segment: str | None) -> Generation:
        routes = BILLING if segment is None else INVOICES.replace(ACCOUNT, segment)
        return draft(edited("sections.toml", (BILLING, routes)))

    found = diff(policy(before), policy(after))
    assert found.routes == (RouteChange("GET", path, *texts, opens=opens),)
    assert found.opens is opens


SECTIONS = {"s": ("x", "y")}
TARGETS: tuple[Target | Public, ...] = (Target("s", "x"), Target("s", "y"), PUBLIC)
OPEN_TO = {"a": {Target("s", "x"), Target("s", "y")}, "b": {Target("s", "x")}}


@st.composite
def tables(draw: st.DrawFn) -> RouteTable:
    routes: list[Route] = []
    for pattern in draw(st.lists(PATTERNS, max_size=4, unique_by=shape)):
        target = draw(st.sampled_from(TARGETS if own_of(pattern) is None else TARGETS[:2]))
        one = Route("/" + "/".join(pattern), pattern, ("GET",), target, 1, is_for_all=own_of(pattern) is None)
        if not {code for code, _ in findings_of(*routes, one)} - {Code.UNUSED_OWN, Code.PUBLIC_OVER_SECTION}:
            routes.append(one)
    return RouteTable(routes)


def routed(table: RouteTable) -> Generation:
    rules = [(role, target) for role, targets in OPEN_TO.items() for target in targets]
    return build(
        {},
        {role: Role(role, role, "", True) for role in OPEN_TO},
        {name: Section(name, name, actions, actions) for name, actions in SECTIONS.items()},
        table,
        tuple(Rule(n, role, one.section, one.action, Effect.ALLOW) for n, (role, one) in enumerate(rules, 1)),
        (),
        {role: (role,) for role in OPEN_TO},
    )


def callers_of(table: RouteTable, path: list[str]) -> set[tuple[str, ...]]:
    """Return the callers that pass: a stranger, or roles with ids."""
    outcome = table.resolve("GET", "/" + "/".join(path))
    everyone = {(role, *ids) for role in OPEN_TO for ids in CALLERS}
    if isinstance(outcome, Public):
        return {("a stranger",), *everyone}
    if isinstance(outcome, Reason):
        return set()
    target = outcome.target if isinstance(outcome, OwnTarget) else outcome
    allowed = {who for who in everyone if target in OPEN_TO[who[0]]}
    return {who for who in allowed if outcome.is_own(*who[1:])} if isinstance(outcome, OwnTarget) else allowed


@given(tables(), tables())
@settings(max_examples=300, deadline=None)
def test_R3_a_difference_opens_if_and_only_if_more_callers_pass(old: RouteTable, new: RouteTable) -> None:
    found = diff(routed(old), routed(new))
    before, after = ({tuple(path): callers_of(table, path) for path in PATHS} for table in (old, new))
    if any(not after[path] <= before[path] for path in after):
        assert found.opens
    if any(before[path] != after[path] for path in after):
        assert found.routes
    if not found.opens:
        assert all(after[path] <= before[path] for path in after)
    if not found.routes:
        assert before == after
    for change in found.routes:
        assert change.before != change.after


def test_own_segments_are_stars_for_the_shape_alone() -> None:
    assert {"*", ACCOUNT, USER} == STARS
    assert shape(("x", ACCOUNT, "**")) == ("x", "*", "**")
    assert shape(same := ("x", "*")) is same
