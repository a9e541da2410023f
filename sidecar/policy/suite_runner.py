"""Runner of the policy's tests. A failure prevents activation (R3).

The tests must be complete. An untested cell of an assignable role, an untested route and an untested line of needs.csv
fail like a wrong result.
"""

from collections.abc import Iterator

from sidecar.domain.decision import Reason
from sidecar.policy.decide import decide
from sidecar.policy.decision_table import Ruling
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.expectations import EXPECTATIONS, ROUTES, Expectation, RouteTest, Suite, TestResults
from sidecar.policy.generation import Generation
from sidecar.policy.needs import lines as needs_file
from sidecar.policy.needs.lines import NeedLine
from sidecar.policy.needs.rows import blocking_lines, example_row, unrelated_names
from sidecar.policy.route_loader import owner
from sidecar.policy.routes import Route, outcome_text


def run_tests(generation: Generation, suite: Suite, findings: DiagnosticSink) -> TestResults:
    """Run all tests. A failure is reported at the test's line, a missing test at the end of the file."""
    failed = [*_failed_expectations(generation, suite, findings), *_failed_routes(generation, suite, findings)]
    missing = list(_missing_cells(generation, suite)) if suite.whole[0] else []
    for role, section, action in missing:
        message = f"no expectation for {role} on {section}/{action}"
        effect = "allow" if decide(generation, role, section, action).allowed else "deny"
        hint = f"currently: {effect}, {role}, {section}, {action}"
        findings.add(Code.MISSING_EXPECTATION, EXPECTATIONS, (suite.last_lines[0], 1), message, hint)
    untested = list(_untested_routes(generation, suite)) if suite.whole[1] else []
    for route in untested:
        message = f"no test for the route {', '.join(route.methods)} {route.path} of sections.toml, line {route.line}"
        hint = f"example: {owner(route)}, {route.methods[0]}, {_example(route.path)}"
        findings.add(Code.UNTESTED_ROUTE, ROUTES, (suite.last_lines[1], 1), message, hint)
    passed = len(suite.expectations) + len(suite.routes) - len(failed)
    needs = tuple(_untested_needs(generation, suite, findings)) if suite.whole[0] else ()
    return TestResults(passed, tuple(failed), tuple(missing), tuple(untested), needs)


def _failed_expectations(
    generation: Generation, suite: Suite, findings: DiagnosticSink
) -> Iterator[tuple[Expectation | RouteTest, str]]:
    for expectation in suite.expectations:
        ruling = decide(generation, expectation.role, expectation.section, expectation.action)
        if expectation.without:
            got = _failed_need(generation, expectation, ruling, findings)
            if got is not None:
                yield expectation, got
            continue
        if ruling.allowed is expectation.allowed:
            continue
        expected_effect, got = ("allow", "deny") if expectation.allowed else ("deny", "allow")
        by = f" by line {ruling.line} of policy.csv" if ruling.line else ""
        message = f"{expectation.text}: expected {expected_effect}, got {got} ({ruling.reason}{by})"
        rule = (
            f"add p, {expectation.role}, {expectation.section}, {expectation.action}, {expected_effect} to policy.csv"
        )
        if ruling.line:
            rule = f"fix line {ruling.line} of policy.csv"
        findings.add(
            Code.FAILED_EXPECTATION, EXPECTATIONS, (expectation.line, 1), message, f"{rule}, or write {got} here"
        )
        yield expectation, got


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


def _failed_routes(
    generation: Generation, suite: Suite, findings: DiagnosticSink
) -> Iterator[tuple[Expectation | RouteTest, str]]:
    for test in suite.routes:
        outcome = generation.routes.resolve(test.method, test.path)
        got = outcome_text(outcome)
        if got == test.expected:
            continue
        note = " (the path is ambiguous)" if outcome is Reason.AMBIGUOUS_PATH else ""
        message = f"{test.method} {test.path}: expected {test.expected}, got {got}{note}"
        findings.add(Code.FAILED_ROUTE, ROUTES, (test.line, 1), message, f"fix the routes, or write {got} here")
        yield test, got


def _missing_cells(generation: Generation, suite: Suite) -> Iterator[tuple[str, str, str]]:
    expected = {(e.role, e.section, e.action) for e in suite.expectations if not e.without}
    for cell in generation.cells:
        if generation.roles[cell[0]].assignable and cell not in expected:
            yield cell


def _untested_routes(generation: Generation, suite: Suite) -> Iterator[Route]:
    reached = {id(generation.routes.route_of(test.method, test.path)) for test in suite.routes}
    for route in generation.routes.routes:
        if id(route) not in reached:
            yield route


def _example(path: str) -> str:
    return path.replace("/**", "/example").replace("*", "example")
