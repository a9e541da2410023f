"""Tests of the policy in expectations.csv and routes.csv: reader and runner. A failure prevents activation (R3).

The tests must be complete: an untested cell of an assignable role, or an untested route, fails like a wrong result. A
test with an undeclared name is an error, not a result.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from sidecar.domain.decision import Reason
from sidecar.policy.csv_reader import CsvRecord, read_lines, records
from sidecar.policy.decide import decide
from sidecar.policy.declarations import Vocabulary
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink, did_you_mean
from sidecar.policy.generation import Generation
from sidecar.policy.name_checks import NameChecker, quoted
from sidecar.policy.route_loader import owner
from sidecar.policy.routes import METHODS, Route, outcome_text

EXPECTATIONS = "expectations.csv"
ROUTES = "routes.csv"
_EXPECTATION_FORM = "allow|deny, role, section, action"
_ROUTE_FORM = "public|SECTION/ACTION|unmatched, METHOD, path"


class Expectation(msgspec.Struct, frozen=True, gc=False):
    """Line of expectations.csv."""

    line: int
    allowed: bool
    role: str
    section: str
    action: str


class RouteTest(msgspec.Struct, frozen=True, gc=False):
    """Line of routes.csv. ``expected`` is ``public``, ``unmatched`` or ``SECTION/ACTION``."""

    line: int
    expected: str
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Suite:
    """All readable tests. A file with an invalid line is not checked for completeness, because its gaps are unknown."""

    expectations: tuple[Expectation, ...] = ()
    routes: tuple[RouteTest, ...] = ()
    last_lines: tuple[int, int] = (1, 1)
    whole: tuple[bool, bool] = (True, True)

    def denied(self) -> frozenset[tuple[str, str, str]]:
        """Return role, section and action of each expected deny."""
        return frozenset((test.role, test.section, test.action) for test in self.expectations if not test.allowed)


@dataclass(frozen=True, slots=True)
class TestResults:
    """Test results of a generation: passed and failed lines, and gaps. Messages are in the findings."""

    passed: int = 0
    failed: tuple[tuple[Expectation | RouteTest, str], ...] = ()
    missing: tuple[tuple[str, str, str], ...] = ()
    untested: tuple[Route, ...] = ()

    @property
    def ok(self) -> bool:
        return not (self.failed or self.missing or self.untested)


# -- reading -----------------------------------------------------------------------------------------------------------


def read_suite(
    expectations: bytes | None, routes: bytes | None, vocabulary: Vocabulary, findings: DiagnosticSink
) -> Suite:
    """Read both files. None is a missing file, which is already reported."""
    cells, last_cell = _read(expectations, EXPECTATIONS, findings)
    requests, last_request = _read(routes, ROUTES, findings)
    return Suite(
        tuple(_read_expectations(cells, vocabulary, findings)),
        tuple(_read_route_tests(requests, vocabulary, findings)),
        (last_cell, last_request),
        (not findings.errors_in(EXPECTATIONS), not findings.errors_in(ROUTES)),
    )


def _read(data: bytes | None, file: str, findings: DiagnosticSink) -> tuple[list[CsvRecord], int]:
    if data is None:
        return [], 1
    lines = read_lines(data, file, findings)
    found = list(records(lines, file, findings))
    if not found and not findings.errors_in(file):
        form = _EXPECTATION_FORM if file == EXPECTATIONS else _ROUTE_FORM
        findings.add(Code.EMPTY_FILE, file, (1, 1), "the file contains no tests", f"a test is: {form}")
    return found, lines[-1].number if lines else 1


def _read_expectations(
    cells: list[CsvRecord], vocabulary: Vocabulary, findings: DiagnosticSink
) -> Iterator[Expectation]:
    seen: dict[tuple[str, ...], tuple[int, str]] = {}
    names = NameChecker(vocabulary, EXPECTATIONS, findings)
    for record in cells:
        if not names.form(record, _EXPECTATION_FORM, 4):
            continue
        checks = (names.effect(record, 0), names.role(record, 1), names.target(record, 2, wildcards=False))
        if all(checks) and _is_first(record, record.fields[1:], seen, EXPECTATIONS, findings):
            effect, role, section, action = record.fields
            yield Expectation(record.line, effect == "allow", role, section, action)


def _is_first(
    record: CsvRecord,
    subject: tuple[str, ...],
    seen: dict[tuple[str, ...], tuple[int, str]],
    file: str,
    findings: DiagnosticSink,
) -> bool:
    line, expected = seen.setdefault(subject, (record.line, record.fields[0]))
    if line == record.line:
        return True
    if expected == record.fields[0]:
        findings.add(Code.DUPLICATE_EXPECTATION, file, record.at(0), f"duplicate of line {line}", "delete one of them")
    else:
        message = f'contradicts line {line}, which expects "{expected}"'
        findings.add(Code.CONTRADICTING_EXPECTATION, file, record.at(0), message, "keep the intended one")
    return False


_METHOD = re.compile(r"[A-Za-z!#$%&'*+.^_`|~0-9-]+")


def _read_route_tests(
    requests: list[CsvRecord], vocabulary: Vocabulary, findings: DiagnosticSink
) -> Iterator[RouteTest]:
    seen: dict[tuple[str, ...], tuple[int, str]] = {}
    names = NameChecker(vocabulary, ROUTES, findings)
    for record in requests:
        if not names.form(record, _ROUTE_FORM, 3):
            continue
        expected, method, path = record.fields
        checks = (_is_expected_target(record, names), _is_request(record, names))
        if all(checks) and _is_first(record, (method, path), seen, ROUTES, findings):
            yield RouteTest(record.line, expected, method, path)


def _is_expected_target(record: CsvRecord, names: NameChecker) -> bool:
    expected, sections = record.fields[0], names.vocabulary.sections
    if expected in ("public", "unmatched"):
        return True
    section, slash, action = expected.partition("/")
    line, column = record.at(0)
    if expected and not slash:
        if not names.confusable(expected, (line, column), "a target", ("public", "unmatched")):
            hint = did_you_mean(expected, ("public", "unmatched")) or "write public, unmatched or SECTION/ACTION"
            names.findings.add(Code.INVALID_TARGET, ROUTES, (line, column), f"{quoted(expected)} is not a target", hint)
        return False
    action_at = (line, column + len(section) + 1)
    if not names.no_star(section, (line, column)) or not names.no_star(action, action_at):
        return False
    if sections is None or not expected or section in names.vocabulary.unreadable:
        return bool(expected)
    if section not in sections:
        names.unknown(Code.UNKNOWN_SECTION, section, (line, column), "a section", sections)
        return False
    actions = sections[section].actions
    if action not in actions:
        names.unknown(Code.UNKNOWN_ACTION, action or "/", action_at, f'an action of "{section}"', actions)
        return False
    return True


def _is_request(record: CsvRecord, names: NameChecker) -> bool:
    _, method, path = record.fields
    good = bool(method and path) and (method in METHODS or _is_other_method(record, names))
    if path and (not path.startswith("/") or "?" in path):
        message = f"{quoted(path)} is not the path of a request"
        names.findings.add(Code.INVALID_PATH, ROUTES, record.at(2), message, "a path begins with / and has no ?")
        good = False
    return good


def _is_other_method(record: CsvRecord, names: NameChecker) -> bool:
    """Return whether a method outside METHODS is valid. Only a test of ``unmatched`` may use one."""
    expected, method, _ = record.fields
    if names.confusable(method, record.at(1), "a method", METHODS):
        return False
    message, hint = f"{quoted(method)} is not a method", "like GET"
    if _METHOD.fullmatch(method):
        if expected == "unmatched":
            return True
        message += " of a route" if method.upper() not in METHODS else ": methods are upper case"
        hint = did_you_mean(method, METHODS) or f"known: {', '.join(METHODS)}"
    names.findings.add(Code.INVALID_METHOD, ROUTES, record.at(1), message, hint)
    return False


# -- running -----------------------------------------------------------------------------------------------------------


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
    return TestResults(passed, tuple(failed), tuple(missing), tuple(untested))


def _failed_expectations(
    generation: Generation, suite: Suite, findings: DiagnosticSink
) -> Iterator[tuple[Expectation | RouteTest, str]]:
    for expectation in suite.expectations:
        ruling = decide(generation, expectation.role, expectation.section, expectation.action)
        if ruling.allowed is expectation.allowed:
            continue
        expected_effect, got = ("allow", "deny") if expectation.allowed else ("deny", "allow")
        by = f" by line {ruling.line} of policy.csv" if ruling.line else ""
        cell = f"{expectation.role} on {expectation.section}/{expectation.action}"
        message = f"{cell}: expected {expected_effect}, got {got} ({ruling.reason}{by})"
        rule = (
            f"add p, {expectation.role}, {expectation.section}, {expectation.action}, {expected_effect} to policy.csv"
        )
        if ruling.line:
            rule = f"fix line {ruling.line} of policy.csv"
        findings.add(
            Code.FAILED_EXPECTATION, EXPECTATIONS, (expectation.line, 1), message, f"{rule}, or write {got} here"
        )
        yield expectation, got


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
    expected = {(e.role, e.section, e.action) for e in suite.expectations}
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
