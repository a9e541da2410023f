"""Runner of the policy's tests. A failure prevents activation (R3).

The tests must be complete. An untested cell of an assignable role, an untested route and an untested line of needs.csv
fail like a wrong result.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from sidecar.domain.access import OwnTarget, Target
from sidecar.domain.decision import Reason
from sidecar.policy.decide import decide
from sidecar.policy.decision_table import Cell, Ruling
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.expectations import (
    EXPECTATIONS,
    ROUTES,
    Expectation,
    ExpectedCells,
    FailedTest,
    RouteTest,
    Suite,
    TestResults,
)
from sidecar.policy.generation import Generation
from sidecar.policy.missing_rows import example_request, missing_expectations, missing_route_tests
from sidecar.policy.name_checks import ANY
from sidecar.policy.needs import lines as needs_file
from sidecar.policy.needs.lines import NeedLine
from sidecar.policy.needs.rows import blocking_lines, example_row, unrelated_names
from sidecar.policy.own_segments import OWN
from sidecar.policy.routes import Route, outcome_text
from sidecar.policy.rules import FILE, Effect

SHOWN: Final = 8
"""Maximum number of rows in a hint."""


def run_tests(generation: Generation, suite: Suite, findings: DiagnosticSink) -> TestResults:
    """Run all tests. A failure is reported at the test's line, a missing test at the end of the file."""
    rows = suite.rows()
    expectations = sorted(_failed_expectations(generation, suite, rows, findings), key=lambda one: one.test.line)
    failed = (*expectations, *_failed_routes(generation, suite, findings))
    missing = tuple(_missing_cells(generation, rows)) if suite.whole[0] else ()
    _report_missing(generation, missing, suite, findings)
    untested = tuple(_untested_routes(generation, suite)) if suite.whole[1] else ()
    _report_untested(generation, untested, suite, findings)
    passed = len(suite.expectations) + len(suite.routes) - len(failed)
    needs = tuple(_untested_needs(generation, suite, findings)) if suite.whole[0] else ()
    return TestResults(passed, failed, missing, untested, needs)


# -- failed expectations -----------------------------------------------------------------------------------------------


def _failed_expectations(
    generation: Generation, suite: Suite, rows: ExpectedCells, findings: DiagnosticSink
) -> Iterator[FailedTest]:
    causes: dict[object, list[tuple[Expectation, Ruling]]] = {}
    for test in suite.expectations:
        if test.action == ANY:
            continue
        ruling = decide(generation, test.role, test.section, test.action)
        if test.without:
            got = _failed_need(generation, test, ruling, findings)
            if got is not None:
                yield FailedTest(test, got)
        elif ruling.allowed is not test.allowed:
            yield FailedTest(test, _effect(ruling.allowed))
            cause = ruling.rule or (test.role, test.section, test.allowed)
            causes.setdefault(cause, []).append((test, ruling))
    for same in causes.values():
        _report_failed(same, findings)
    yield from _failed_wildcards(generation, rows, findings)


def _report_failed(same: list[tuple[Expectation, Ruling]], findings: DiagnosticSink) -> None:
    """Report the exact rows that fail by one rule, or for one role and section without a rule."""
    same.sort(key=lambda one: one[0].line)
    test, ruling = same[0]
    got = _effect(ruling.allowed)
    message = f"{test.text}: expected {test.effect}, got {got} ({_because(ruling)})"
    rule = f"fix line {ruling.line} of policy.csv"
    if not ruling.line:
        rule = _added([f"p, {one.role}, {one.section}, {one.action}, {one.effect}" for one, _ in same], FILE)
    places = [(one.line, 1) for one, _ in same[1:]]
    findings.add(Code.FAILED_EXPECTATION, EXPECTATIONS, (test.line, 1), message, f"{rule}, or write {got} here", places)


def _failed_wildcards(generation: Generation, rows: ExpectedCells, findings: DiagnosticSink) -> Iterator[FailedTest]:
    """Compare the cells whose most exact row has a ``*``, and report each row with all its differences."""
    failed: dict[Expectation, list[tuple[Cell, Ruling]]] = {}
    for cell in generation.cells:
        row = rows.row_of(*cell) if cell[0] in rows.wildcard_roles else None
        if row is not None and not row.exact and (ruling := generation.cells[cell]).allowed is not row.allowed:
            failed.setdefault(row, []).append((cell, ruling))
    for row, differences in failed.items():
        (role, section, action), ruling = differences[0]
        got = _effect(ruling.allowed)
        more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
        message = f"{row.text}: expected {row.effect}, got {got} on {section}/{action} ({_because(ruling)}){more}"
        fix = (
            f"fix line {ruling.line} of policy.csv"
            if ruling.line
            else _added([f"p, {role}, {s}, {a}, {row.effect}" for (_, s, a), _ in differences], FILE)
        )
        exact = _added([f"{got}, {role}, {s}, {a}" for (_, s, a), _ in differences], EXPECTATIONS)
        findings.add(Code.FAILED_EXPECTATION, EXPECTATIONS, (row.line, 1), message, f"{fix}, or {exact}")
        yield FailedTest(row, got, tuple((s, a) for (_, s, a), _ in differences))


def _effect(allowed: bool) -> str:
    return Effect.ALLOW if allowed else Effect.DENY


def _because(ruling: Ruling) -> str:
    return f"{ruling.reason} by line {ruling.line} of policy.csv" if ruling.line else str(ruling.reason)


def _added(rows: list[str], file: str) -> str:
    """Return an instruction to add these rows, of which at most `SHOWN` are listed."""
    more = f"; and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f"add {'; '.join(rows[:SHOWN])}{more} to {file}"


def _failed_need(generation: Generation, test: Expectation, ruling: Ruling, findings: DiagnosticSink) -> str | None:
    """Return the result of a failed row with missing conditions. None: the row passes."""
    lines = generation.needs.lines_of(test.role, test.section, test.action)
    blocking = blocking_lines(lines, test.without)
    got = "deny" if blocking or not ruling.allowed else "allow"
    unrelated = unrelated_names(lines, test.without)
    if unrelated:
        message = f'{test.text}: no need of this cell names "{unrelated[0]}", got {got}'
        hint = "delete the name here, or add a line to needs.csv"
    elif test.allowed is (got == "allow"):
        return None
    else:
        because = f"line {blocking[0].line} of needs.csv" if blocking else "no line of needs.csv asks for these alone"
        because = because if ruling.allowed else str(ruling.reason)
        message = f"{test.text}: expected {'allow' if test.allowed else 'deny'}, got {got} ({because})"
        hint = f"fix needs.csv, or write {got} here"
    findings.add(Code.FAILED_EXPECTATION, EXPECTATIONS, (test.line, 1), message, hint)
    return got


def decisive_rows(generation: Generation, suite: Suite) -> dict[NeedLine, int]:
    """Return, for each line of needs.csv, the number of rows that would change without it."""
    counts = dict.fromkeys(generation.needs.lines, 0)
    for test in suite.expectations:
        if test.without and decide(generation, test.role, test.section, test.action).allowed:
            lines = generation.needs.lines_of(test.role, test.section, test.action)
            blocking = blocking_lines(lines, test.without)
            if len(blocking) == 1 and not test.allowed:
                counts[blocking[0]] += 1
    return counts


def _untested_needs(generation: Generation, suite: Suite, findings: DiagnosticSink) -> Iterator[NeedLine]:
    if findings.errors_in(needs_file.FILE):
        return  # a line that never matters cannot be tested
    for line, count in decisive_rows(generation, suite).items():
        if not count:
            row = example_row(generation.needs, line, generation.roles, generation.cells)
            message = f"no row of {EXPECTATIONS} is decided by this line"
            hint = f"example: {row}" if row else "write a row that names the line's conditions as missing"
            findings.add(Code.UNTESTED_NEED, needs_file.FILE, (line.line, 1), message, hint)
            yield line


def _failed_routes(generation: Generation, suite: Suite, findings: DiagnosticSink) -> Iterator[FailedTest]:
    """Run the route tests. Rows with the same two targets are one finding: their routes are gone, or elsewhere."""
    causes: dict[tuple[str, str], list[tuple[RouteTest, str]]] = {}
    for test in suite.routes:
        outcome = generation.routes.resolve(test.method, test.path)
        foreign = isinstance(outcome, OwnTarget) and not outcome.is_own(*OWN)  # a test has the braces in their places
        got = outcome_text(outcome)
        if foreign:
            yield FailedTest(test, _report_foreign(generation, test, got, findings))
        elif got != test.expected:
            note = " (the path is ambiguous)" if outcome is Reason.AMBIGUOUS_PATH else ""
            causes.setdefault((test.expected, got + note), []).append((test, got))
            yield FailedTest(test, got)
    for (expected, noted), same in causes.items():
        test, got = same[0]
        message = f"{test.method} {test.path}: expected {expected}, got {noted}"
        hint = f"fix the routes of sections.toml, or write {got} here"
        places = [(one.line, 1) for one, _ in same[1:]]
        findings.add(Code.FAILED_ROUTE, ROUTES, (test.line, 1), message, hint, places)


def _report_foreign(generation: Generation, test: RouteTest, outcome: str, findings: DiagnosticSink) -> str:
    """Report a test whose path has other ids in the places of own segments. Returns the result of the test."""
    got = outcome if outcome != test.expected else Reason.NOT_YOURS.value
    route = generation.routes.route_of(test.method, test.path)
    example = f", with the braces written out, as in {example_request(generation.routes, route)[1]}" if route else ""
    message = f"{test.method} {test.path}: expected {test.expected}, got {got}"
    hint = f"fix the routes of sections.toml, or write {outcome} here{example}"
    findings.add(Code.FAILED_ROUTE, ROUTES, (test.line, 1), message, hint)
    return got


# -- gaps --------------------------------------------------------------------------------------------------------------


def _missing_cells(generation: Generation, rows: ExpectedCells) -> Iterator[Cell]:
    exact, assignable = rows.rows, {role.id for role in generation.roles.values() if role.assignable}
    for cell in generation.cells:
        if cell not in exact and cell[0] in assignable and rows.row_of(*cell) is None:
            yield cell


def _report_missing(generation: Generation, missing: Sequence[Cell], suite: Suite, findings: DiagnosticSink) -> None:
    """Report the cells without a row: one finding per role without any row, otherwise per section."""
    if not missing:
        return
    at, width = (suite.last_lines[0], 1), sum(len(section.actions) for section in generation.sections.values())
    per_role = Counter(role for role, _, _ in missing)
    causes: dict[str, list[Cell]] = {}
    for cell in missing:
        causes.setdefault(cell[0] if per_role[cell[0]] == width else f"/{cell[1]}", []).append(cell)
    for cause, cells in causes.items():
        role, section, action = cells[0]
        message = f"no expectation for {role} on {section}/{action}"
        if len(cells) > 1:
            message = f'{len(cells)} cells of "{cause.removeprefix("/")}" have no expectation: '
            message += f"{role} on {section}/{action} and {len(cells) - 1} more"
        rows = [", ".join(row) for row in missing_expectations(generation, cells)]
        more = f"; and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        findings.add(Code.MISSING_EXPECTATION, EXPECTATIONS, at, message, f"currently: {'; '.join(rows[:SHOWN])}{more}")


def _untested_routes(generation: Generation, suite: Suite) -> Iterator[Route]:
    reached = {id(generation.routes.route_of(test.method, test.path)) for test in suite.routes}
    for route in generation.routes.routes:
        if id(route) not in reached:
            yield route


def _report_untested(generation: Generation, untested: Sequence[Route], suite: Suite, findings: DiagnosticSink) -> None:
    """Report the routes without a test: one finding per section, and one per public path."""
    causes: dict[str, list[Route]] = {}
    for route in untested:
        cause = route.target.section if isinstance(route.target, Target) else f"/{route.path}"
        causes.setdefault(cause, []).append(route)
    for cause, routes in causes.items():
        route = routes[0]
        named = f"{', '.join(route.methods)} {route.path} of sections.toml, line {route.line}"
        message = f"no test for the route {named}"
        if len(routes) > 1:
            message = (
                f'{len(routes)} routes of "{cause.removeprefix("/")}" have no test: {named}, and {len(routes) - 1} more'
            )
        rows = [", ".join(row) for row in missing_route_tests(generation, routes[:SHOWN])]
        more = f"; and {len(routes) - SHOWN} more" if len(routes) > SHOWN else ""
        findings.add(
            Code.UNTESTED_ROUTE, ROUTES, (suite.last_lines[1], 1), message, f"example: {'; '.join(rows)}{more}"
        )
