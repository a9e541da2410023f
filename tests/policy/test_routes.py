"""The deciding pattern (R2), and combinations of patterns that are rejected."""

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.access import Target
from sidecar.domain.decision import Reason
from sidecar.policy import route_loader
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.own_checks import RouteEntry
from sidecar.policy.route_loader import check_entries
from sidecar.policy.routes import METHODS, PUBLIC, Route, RouteTable, contains, read_pattern


def route(path: str, target: str = "a/view", methods: tuple[str, ...] = ("GET",), line: int = 1) -> Route:
    segments = read_pattern(path)
    assert isinstance(segments, tuple), segments
    return Route(path, segments, methods, PUBLIC if target == "public" else Target(*target.split("/")), line)


def resolved(table: RouteTable, path: str, method: str = "GET") -> str:
    outcome = table.resolve(method, path)
    return f"{outcome.section}/{outcome.action}" if isinstance(outcome, Target) else str(outcome)


@pytest.fixture
def table() -> RouteTable:
    return RouteTable(
        (
            route("/**", "all/view"),
            route("/d/**", "d/view"),
            route("/d/*", "star/view"),
            route("/d/x", "x/view", ("POST",)),
            route("/d/*/edit", "edit/view"),
            route("/d/y/**", "y/view"),
            route("/d/y/edit", "y/edit", ("GET", "POST")),
            route("/", "root/view"),
        )
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "root/view"),
        ("/other", "all/view"),
        ("/other/deep/er", "all/view"),
        ("/d", "d/view"),
        ("/d/", "d/view"),
        ("/d/1", "star/view"),
        ("/d/1/", "star/view"),
        ("/d/1/2", "d/view"),
        ("/d/1/edit", "edit/view"),
        ("/d/1/edit/more", "d/view"),
        ("/d/y", "y/view"),
        ("/d/y/1/2", "y/view"),
        ("/d/y/edit", "y/edit"),
        ("/d/x/edit", "edit/view"),
        ("/d/x/other", "d/view"),
    ],
)
def test_R2_the_most_specific_path_decides(table: RouteTable, path: str, expected: str) -> None:
    assert resolved(table, path) == expected


def test_R2_a_method_is_sought_in_the_most_specific_path_alone(
    table: RouteTable,
) -> None:
    assert resolved(table, "/d/x", "POST") == "x/view"
    assert table.resolve("GET", "/d/x") is Reason.UNMATCHED_PATH  # not /d/*, /d/** or /**
    assert table.resolve("POST", "/d/y/1") is Reason.UNMATCHED_PATH


def test_R2_one_trailing_slash_is_as_if_absent(table: RouteTable) -> None:
    assert resolved(table, "/d/y/edit/") == "y/edit"
    assert table.resolve("GET", "/d/y/edit//") is Reason.AMBIGUOUS_PATH


def test_an_empty_table_matches_nothing() -> None:
    for path in ("/", "/a", "/a/b"):
        assert RouteTable().resolve("GET", path) is Reason.UNMATCHED_PATH


def findings_of(*routes: Route) -> list[tuple[Code, int]]:
    findings = DiagnosticSink()
    check_entries([RouteEntry(one, (index, 1)) for index, one in enumerate(routes, start=1)], findings)
    return [(found.code, found.line) for found in findings.sorted()]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a/*/c", "/a/b/*"),
        ("/a/**", "/*/b"),
        ("/*/b/**", "/a/*/c"),
        ("/*/b", "/a/*"),
        ("/a/*/**", "/*/b/**"),
    ],
)
def test_R2_patterns_that_cross_are_refused(one: str, other: str) -> None:
    assert findings_of(route(one), route(other)) == [(Code.AMBIGUOUS_ROUTE, 2)]
    assert findings_of(route(other), route(one, methods=("POST",))) == [(Code.AMBIGUOUS_ROUTE, 2)]


@pytest.mark.parametrize("position", [1, 4, 21])
def test_R2_a_path_that_crosses_several_is_one_finding(position: int) -> None:
    routes = [route(f"/a/s{number}/**", line=number) for number in range(1, 21)]
    routes.insert(position - 1, route("/a/*/export", line=99))
    findings = DiagnosticSink()
    check_entries([RouteEntry(one, (index, 1)) for index, one in enumerate(routes, start=1)], findings)
    (found,) = findings.sorted()
    assert (found.code, found.line) == (Code.AMBIGUOUS_ROUTE, position)
    assert sorted(one.line for one in found.places) == [line for line in range(1, 22) if line != position]
    assert "/a/*/export shares paths with /a/s1/** of line 1 and 19 others, and neither" in found.message
    assert "sections.toml " in found.message


def test_R2_each_crossing_pair_is_in_one_finding() -> None:
    paths = ["/a/*", "/b/*", "/c/*", "/*/x", "/*/y", "/d", "/*/*/z", "/e/**"]
    findings = DiagnosticSink()
    check_entries([RouteEntry(route(one, line=line), (line, 1)) for line, one in enumerate(paths, 1)], findings)
    pairs = [
        frozenset((found.line, other))
        for found in findings.sorted()
        for other in [one.line for one in found.places] or [int(found.message.split("of line ")[1].split()[0])]
    ]
    expected = {frozenset((one, other)) for one in (1, 2, 3) for other in (4, 5)}
    expected |= {frozenset((8, other)) for other in (4, 5, 7)}
    assert sorted(map(sorted, pairs)) == sorted(map(sorted, expected))
    assert len(findings.sorted()) == 3


def test_R2_pairs_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_loader, "MAX_CROSSINGS", 5)
    routes = [route(f"/{n}/*", line=n) for n in range(1, 5)] + [route(f"/*/{n}", line=n) for n in range(5, 9)]
    findings = DiagnosticSink()
    check_entries([RouteEntry(one, (one.line, 1)) for one in routes], findings)
    assert sum("11 further pairs share paths" in found.message for found in findings.sorted()) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a/**", "/a"),
        ("/a/**", "/a/*"),
        ("/a/*", "/a/b"),
        ("/**", "/"),
        ("/a/**", "/a/*/**"),
        ("/a/b", "/a/c"),
        ("/a/*/b", "/a/*/c"),
        ("/a/*", "/a/*/c"),
        ("/a/**", "/b/**"),
        ("/*/b", "/a/c"),
    ],
)
def test_nested_and_disjoint_patterns_are_accepted_together(one: str, other: str) -> None:
    assert findings_of(route(one), route(other)) == []
    assert findings_of(route(other), route(one)) == []


def test_R2_one_request_has_one_route() -> None:
    twice = findings_of(route("/a"), route("/a", "b/view"))
    assert twice == [(Code.DUPLICATE_ROUTE, 2)]
    assert findings_of(route("/a"), route("/a", "b/view", ("POST",))) == []
    assert findings_of(route("/a", "public"), route("/a", "b/view", ("GET", "POST"))) == [(Code.DUPLICATE_ROUTE, 2)]


PATTERNS = st.lists(st.sampled_from(["a", "b", "*"]), max_size=3).flatmap(
    lambda head: st.sampled_from([tuple(head), (*head, "**")])
)
PATHS = ["/" + "/".join(parts) for size in range(5) for parts in itertools.product("abz", repeat=size)]


def matches(pattern: tuple[str, ...], path: str) -> bool:
    """Match by the plain definition."""
    segments = [part for part in path.split("/") if part]
    if pattern[-1:] == ("**",):
        pattern = pattern[:-1]
        segments = segments[: len(pattern)] if len(segments) >= len(pattern) else [""] * 99
    return len(pattern) == len(segments) and all(p in ("*", s) for p, s in zip(pattern, segments, strict=True))


@given(st.lists(PATTERNS, max_size=6, unique=True))
def test_R2_the_tree_finds_the_narrowest_pattern_that_matches(patterns: list[tuple[str, ...]]) -> None:
    """Against the definition: of all matching patterns, the one that every other one contains."""
    routes = [
        Route("/" + "/".join(pattern), pattern, ("GET",), Target(f"s{index}", "view"), index)
        for index, pattern in enumerate(patterns)
    ]
    codes = {code for code, _ in findings_of(*routes)}
    crossing = any(
        any(matches(one, path) and matches(other, path) for path in PATHS)
        and not contains(one, other)
        and not contains(other, one)
        for one, other in itertools.combinations(patterns, 2)
    )
    assert (Code.AMBIGUOUS_ROUTE in codes) == crossing
    if crossing:
        return
    table = RouteTable(routes)
    for path in PATHS:
        matching = [one for one in routes if matches(one.segments, path)]
        narrowest = [one for one in matching if all(contains(other.segments, one.segments) for other in matching)]
        assert table.route_of("GET", path) is (narrowest[0] if matching else None)


@given(PATTERNS, PATTERNS)
def test_containment_is_what_it_says(wide: tuple[str, ...], narrow: tuple[str, ...]) -> None:
    assert contains(wide, narrow) == all(matches(wide, path) for path in PATHS if matches(narrow, path))


def test_a_table_of_thousands_of_patterns_is_judged_quickly() -> None:
    routes = [route(f"/d/s{index}/**", f"s{index}/view") for index in range(5_000)]
    assert findings_of(route("/d/**"), *routes) == []
    assert resolved(RouteTable(routes), "/d/s4999/x") == "s4999/view"


def test_the_known_methods_are_few() -> None:
    assert set(METHODS) == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


# -- R3: routes need expectations, as rules do


def test_R3_every_route_and_every_public_entry_needs_a_line(seed: Mapping[str, bytes], edited, codes) -> None:  # type: ignore[no-untyped-def]
    added = edited("sections.toml", add='\n[[public]]\npath = "/robots.txt"\nmethods = ["GET"]\n')
    assert codes(added) == ["untested-route"]
    assert codes(edited("routes.csv", add="public, GET, /robots.txt\n", files=added)) == []


def test_R3_a_route_that_becomes_public_fails_its_test(edited, codes) -> None:  # type: ignore[no-untyped-def]
    opened = edited(
        "sections.toml",
        ('  { path = "/dashboard/audit/**", methods = ["GET"], action = "view" },\n', ""),
        add='\n[[public]]\npath = "/dashboard/audit/**"\nmethods = ["GET"]\n',
    )
    assert set(codes(opened)) == {"failed-route"}


@pytest.mark.parametrize("path", ["/**", "/*/**", "/*/*/**"])
def test_R3_a_public_pattern_for_everything_is_refused(edited, codes, path: str) -> None:  # type: ignore[no-untyped-def]
    opened = edited("sections.toml", add=f'\n[[public]]\npath = "{path}"\nmethods = ["OPTIONS"]\n')
    assert "public-everything" in codes(opened)
