"""Differences: of edits of the shipped policy in words, of random pairs against every cell and many paths."""

from collections.abc import Callable, Mapping
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.access import Target
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.declarations import Role, Section
from sidecar.policy.diff import CellChange, RouteChange, diff
from sidecar.policy.generation import Generation, build
from sidecar.policy.rename.names import RenameKind
from sidecar.policy.routes import PUBLIC, Route, RouteTable, Segments, contains, outcome_text, read_pattern
from sidecar.policy.rules import Effect, Rule

Edited = Callable[..., dict[str, bytes]]


def draft(files: Mapping[str, bytes]) -> Generation:
    compiled = compile_policy(files, proof=ProofScope.NONE)
    assert compiled.draft is not None, compiled.diagnostics
    return compiled.draft


def test_a_policy_does_not_differ_from_itself(shipped: Generation) -> None:
    assert diff(shipped, shipped).cells == ()
    assert diff(shipped, shipped).routes == ()
    assert not diff(shipped, shipped).opens


def test_what_opens_stands_first(shipped: Generation, edited: Edited) -> None:
    files = edited(
        "policy.csv",
        ("p, accountant,            analytics,          *, allow\n", ""),
        add="p, marketer, billing, view, allow\n",
    )
    assert diff(shipped, draft(files)).cells == (
        CellChange("marketer", "billing", "view", "deny", "allow"),
        CellChange("accountant", "analytics", "view", "allow", "deny"),
    )


def test_a_cell_that_is_not_declared_is_a_deny(shipped: Generation, edited: Edited) -> None:
    files = edited("sections.toml", ('actions = ["view", "purge"]', 'actions = ["view", "purge", "warm"]'))
    changes = diff(shipped, draft(files)).cells
    assert {(c.role, c.section, c.action, c.after) for c in changes} == {
        ("account-administrator", "cache-purge", "warm", "allow"),
        ("developer", "cache-purge", "warm", "allow"),
    }


def route_edit(edited: Edited, old: str, new: str) -> Generation:
    return draft(edited("sections.toml", (old, new)))


BILLING = '{ path = "/dashboard/billing/**", methods = ["GET"], action = "view" },'


def test_R3_a_newly_public_route_opens(shipped: Generation, edited: Edited) -> None:
    new = draft(edited("sections.toml", add='[[public]]\npath = "/dashboard/billing/plans"\nmethods = ["GET"]\n'))
    found = diff(shipped, new)
    assert RouteChange("GET", "/dashboard/billing/plans", "billing/view", "public", opens=True) in found.routes
    assert found.opens
    # The narrower pattern decides alone (R2): a method that it does not list is unmatched from now on.
    closed = RouteChange("POST", "/dashboard/billing/plans", "billing/change-plan", "unmatched", opens=False)
    assert closed in found.routes


def test_R3_a_route_that_leads_to_a_weaker_section_opens(shipped: Generation, edited: Edited) -> None:
    new = route_edit(
        edited, BILLING, BILLING + '\n{ path = "/dashboard/users/export", methods = ["GET"], action = "view" },'
    )
    found = diff(shipped, new)
    change = RouteChange("GET", "/dashboard/users/export", "users/view", "billing/view", opens=True)
    assert change in found.routes, "accountants may billing/view and not users/view"


def test_R3_a_route_to_a_stronger_section_does_not_open(shipped: Generation, edited: Edited) -> None:
    users = '{ path = "/dashboard/users/**", methods = ["GET"], action = "view" },'
    new = route_edit(
        edited, users, users + '\n{ path = "/dashboard/billing/owner", methods = ["GET"], action = "view" },'
    )
    changes = [change for change in diff(shipped, new).routes if change.method == "GET"]
    assert changes == [RouteChange("GET", "/dashboard/billing/owner", "billing/view", "users/view", opens=False)]


def test_R3_a_new_route_opens_for_whom_its_section_is_open(shipped: Generation, edited: Edited) -> None:
    new = route_edit(edited, BILLING, BILLING + '\n{ path = "/invoices/*", methods = ["GET"], action = "view" },')
    assert diff(shipped, new).routes == (RouteChange("GET", "/invoices/*", "unmatched", "billing/view", opens=True),)


# -- random policies: cells --------------------------------------------------------------------------------------------

ROLES = ("a", "b", "c")
SECTIONS = {"s": ("x", "y"), "t": ("x",)}


@st.composite
def tables(draw: st.DrawFn) -> Generation:
    roles = draw(st.lists(st.sampled_from(ROLES), min_size=1, unique=True))
    sections = {
        name: draw(st.lists(st.sampled_from(actions), min_size=1, unique=True)) for name, actions in SECTIONS.items()
    }
    rules = []
    for number in range(draw(st.integers(0, 8))):
        section = draw(st.sampled_from(("*", *sections)))
        action = draw(st.sampled_from(("*", *(sections[section] if section != "*" else ("x", "y")))))
        rules.append(Rule(number + 1, draw(st.sampled_from(roles)), section, action, draw(st.sampled_from(Effect))))
    return build(
        {},
        {role: Role(role, role, "", True) for role in roles},
        {name: Section(name, name, tuple(actions), tuple(actions)) for name, actions in sections.items()},
        RouteTable(),
        tuple(rules),
        (),
        {role: (role,) for role in roles},
    )


@given(tables(), tables())
@settings(max_examples=300, deadline=None)
def test_the_difference_is_the_cells_where_the_matrices_differ(old: Generation, new: Generation) -> None:
    """Under the renames that are listed beside them: roles that are gone, for new ones."""
    found = diff(old, new)
    names = {one.before: one.after for one in found.renames if one.kind is RenameKind.ROLE}
    assert all(one in old.roles and one not in new.roles for one in names)
    assert all(one in new.roles and one not in old.roles for one in names.values())
    assert len(set(names.values())) == len(names)
    actions = {tuple(one.before.split("/")): one.after for one in found.renames if one.kind is RenameKind.ACTION}
    assert len(found.renames) == len(names) + len(actions)

    def renamed(cell: tuple[str, str, str]) -> tuple[str, str, str]:
        role, section, action = cell
        return (names.get(role, role), section, actions.get((section, action), f"{section}/{action}").split("/")[1])

    was = {renamed(cell) for cell, ruling in old.cells.items() if ruling.allowed}
    now = {cell for cell, ruling in new.cells.items() if ruling.allowed}
    expected = {(*cell, "deny") for cell in was - now} | {(*cell, "allow") for cell in now - was}
    changes = found.cells
    assert {(c.role, c.section, c.action, c.after) for c in changes} == expected
    assert len(changes) == len(expected)
    assert all({c.before, c.after} == {"allow", "deny"} for c in changes)
    assert [c.opens for c in changes] == sorted((c.opens for c in changes), reverse=True)


# -- random policies: routes -------------------------------------------------------------------------------------------

NAMES = ("p", "q")
PATHS = ["/" + "/".join(path) for length in range(5) for path in product((*NAMES, "other"), repeat=length)]
"""Paths over the named segments and an unnamed one, and longer than any pattern."""
TARGETS = (Target("s", "x"), Target("s", "y"), Target("t", "x"), PUBLIC)


def crosses(one: Segments, other: Segments) -> bool:
    """Return whether they share a path while neither is the narrower one. The compiler rejects such tables."""
    heads = [p[:-1] if p[-1:] == ("**",) else p for p in (one, other)]
    tails = [p[-1:] == ("**",) for p in (one, other)]
    if not all(a == b or "*" in (a, b) for a, b in zip(*heads, strict=False)):
        return False
    lengths_meet = (
        all(tails)
        or (tails[0] and len(heads[0]) <= len(heads[1]))
        or (tails[1] and len(heads[1]) <= len(heads[0]))
        or len(heads[0]) == len(heads[1])
    )
    return lengths_meet and not contains(one, other) and not contains(other, one)


@st.composite
def route_tables(draw: st.DrawFn) -> RouteTable:
    patterns: list[Segments] = []
    routes = []
    for _ in range(draw(st.integers(0, 6))):
        head = draw(st.lists(st.sampled_from((*NAMES, "*")), max_size=3))
        path = "/" + "/".join([*head, *draw(st.sampled_from(([], ["**"])))])
        pattern = read_pattern(path)
        assert not isinstance(pattern, str)
        if pattern in patterns or any(crosses(pattern, other) for other in patterns):
            continue
        patterns.append(pattern)
        methods = draw(st.lists(st.sampled_from(("GET", "POST")), min_size=1, unique=True))
        routes += [Route(path, pattern, (method,), draw(st.sampled_from(TARGETS)), 1) for method in methods]
    return RouteTable(routes)


OPEN_TO = {"a": {("s", "x"), ("s", "y")}, "b": {("s", "x")}, "c": {("t", "x")}}


def routed(table: RouteTable) -> Generation:
    rules = [(role, *cell) for role, cells in OPEN_TO.items() for cell in sorted(cells)]
    return build(
        {},
        {role: Role(role, role, "", True) for role in OPEN_TO},
        {name: Section(name, name, actions, actions) for name, actions in SECTIONS.items()},
        table,
        tuple(Rule(number, *rule, Effect.ALLOW) for number, rule in enumerate(rules, 1)),
        (),
        {role: (role,) for role in OPEN_TO},
    )


def who(outcome: str) -> set[str]:
    if outcome == "public":
        return {"a stranger", *OPEN_TO}
    if outcome == "unmatched":
        return set()
    return {role for role, cells in OPEN_TO.items() if tuple(outcome.split("/")) in cells}


@given(route_tables(), route_tables())
@settings(max_examples=200, deadline=None)
def test_R3_routes_differ_where_a_request_resolves_otherwise(old: RouteTable, new: RouteTable) -> None:
    changes = diff(routed(old), routed(new)).routes
    seen: set[RouteChange] = set()
    for path in PATHS:
        for method in ("GET", "POST", "HEAD", "DELETE"):
            was, now = (outcome_text(table.resolve(method, path)) for table in (old, new))
            told = "GET" if method == "HEAD" else method
            covering = [c for c in changes if c.method == told and covers(c.path, path)]
            mine = narrowest(covering)
            if was == now:
                assert mine is None or decided_within(mine, path, old, new), (method, path, mine)
                continue
            assert mine is not None, (method, path, was, now)
            assert (mine.before, mine.after) == (was, now), (method, path, mine)
            assert mine.opens == (not who(now) <= who(was))
            seen.add(mine)
    assert seen == set(changes), "every reported change is visible to a request"


def covers(pattern: str, path: str) -> bool:
    segments, wanted = read_pattern(pattern), read_pattern(path)
    assert not isinstance(segments, str)
    assert not isinstance(wanted, str)
    return contains(segments, wanted)


def narrowest(changes: list[RouteChange]) -> RouteChange | None:
    """Return the change with the narrowest pattern. Patterns of regions need not be nested, so compare the number of
    named segments.
    """

    def width(change: RouteChange) -> tuple[bool, int]:
        segments = read_pattern(change.path)
        assert not isinstance(segments, str)
        return (segments[-1:] == ("**",), sum(segment == "*" for segment in segments) - 10 * len(segments))

    return min(changes, key=width, default=None)


def decided_within(change: RouteChange, path: str, old: RouteTable, new: RouteTable) -> bool:
    """Return whether a narrower pattern of either table decides this path, so that the change does not cover it."""
    for table in (old, new):
        for route in table.routes:
            if covers(route.path, path) and not contains(route.segments, read_pattern(change.path)):  # type: ignore[arg-type]
                return True
    return False


def test_a_segment_named_like_the_witness_is_no_way_around() -> None:
    named = Route("/~~~", ("~~~",), ("GET",), PUBLIC, 1)
    wide = Route("/*", ("*",), ("GET",), Target("s", "x"), 2)
    other = Route("/*", ("*",), ("GET",), Target("s", "y"), 2)
    changes = diff(routed(RouteTable([named, wide])), routed(RouteTable([named, other]))).routes
    assert [(c.path, c.before, c.after) for c in changes] == [("/*", "s/x", "s/y")]


@pytest.mark.parametrize("size", [400])
def test_many_routes_are_compared_without_trying_all_pairs(size: int) -> None:
    def table(target: Target) -> RouteTable:
        return RouteTable(
            Route(f"/dashboard/s{n}/**", ("dashboard", f"s{n}", "**"), ("GET",), target, n) for n in range(size)
        )

    changes = diff(routed(table(Target("s", "x"))), routed(table(Target("t", "x")))).routes
    assert len(changes) == size
