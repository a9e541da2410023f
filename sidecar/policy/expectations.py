"""Reader of the policy's tests in expectations.csv and routes.csv; `suite_runner` runs them.

A test with an undeclared name is an error, not a result. ``*`` stands for all sections, or all actions of a section; of
the rows of a cell, the most exact one is its expectation.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from sidecar.policy.declarations import Vocabulary
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink, did_you_mean, path_of
from sidecar.policy.name_checks import ANY, NameChecker, quoted
from sidecar.policy.needs.conditions import Conditions
from sidecar.policy.needs.lines import NeedLine, read_alternatives
from sidecar.policy.needs.rows import PREFIX
from sidecar.policy.routes import METHODS, Route
from sidecar.policy.text.csv_reader import CsvRecord, read_lines, records

EXPECTATIONS = "expectations.csv"
ROUTES = "routes.csv"
REVIEW = "# review"
"""Line above each row that `policy expect --write` proposes."""
_EXPECTATION_FORM = "allow|deny, role, section|*, action|*"
_ROUTE_FORM = "public|SECTION/ACTION|own SECTION/ACTION|unmatched, METHOD, path"


class Expectation(msgspec.Struct, frozen=True, gc=False):
    """Line of expectations.csv. ``section`` and ``action`` may be `ANY`.

    ``without``: conditions that are missing; all other needs of the cell are met.
    """

    line: int
    allowed: bool
    role: str
    section: str
    action: str
    without: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{path_of(EXPECTATIONS)}:{self.line}"

    @property
    def exact(self) -> bool:
        """Return whether the row names one cell."""
        return self.action != ANY

    @property
    def effect(self) -> str:
        return "allow" if self.allowed else "deny"

    @property
    def text(self) -> str:
        """Cell and missing conditions, for messages."""
        missing = f" {PREFIX} {' | '.join(self.without)}" if self.without else ""
        return f"{self.role} on {self.section}/{self.action}{missing}"


class RouteTest(msgspec.Struct, frozen=True, gc=False):
    """Line of routes.csv. ``expected`` is ``public``, ``unmatched``, ``SECTION/ACTION`` or ``own SECTION/ACTION``."""

    line: int
    expected: str
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Suite:
    """All readable tests. A file with an invalid line is not checked for completeness, because its gaps are unknown.

    ``review``: file and line of each `REVIEW` line.
    """

    expectations: tuple[Expectation, ...] = ()
    routes: tuple[RouteTest, ...] = ()
    last_lines: tuple[int, int] = (1, 1)
    whole: tuple[bool, bool] = (True, True)
    review: tuple[tuple[str, int], ...] = ()

    def denied(self) -> frozenset[tuple[str, str, str]]:
        """Return role, section and action of each deny that an exact row expects."""
        denies = (test for test in self.expectations if test.exact and not (test.allowed or test.without))
        return frozenset((test.role, test.section, test.action) for test in denies)

    def rows(self) -> "ExpectedCells":
        """Return the rows by the cells that they expect."""
        return ExpectedCells(self.expectations)


class ExpectedCells:
    """Rows of expectations.csv by cell. Of several rows for a cell, the most exact one counts."""

    def __init__(self, expectations: Iterable[Expectation]) -> None:
        self.rows = {(e.role, e.section, e.action): e for e in expectations if not e.without}
        self.wildcard_roles = frozenset(role for role, _, action in self.rows if action == ANY)

    def row_of(self, role: str, section: str, action: str) -> Expectation | None:
        """Return the row of a cell: of the action, otherwise of its section, otherwise of the role."""
        rows = self.rows
        return rows.get((role, section, action)) or rows.get((role, section, ANY)) or rows.get((role, ANY, ANY))


class FailedTest(NamedTuple):
    """Test with another result. ``cells``: for a row with ``*``, section and action of the cells that differ."""

    test: Expectation | RouteTest
    got: str
    cells: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TestResults:
    """Test results of a generation: passed and failed lines, and gaps. Messages are in the findings."""

    passed: int = 0
    failed: tuple[FailedTest, ...] = ()
    missing: tuple[tuple[str, str, str], ...] = ()
    untested: tuple[Route, ...] = ()
    untested_needs: tuple[NeedLine, ...] = ()

    @property
    def ok(self) -> bool:
        return not (self.failed or self.missing or self.untested or self.untested_needs)


def read_suite(
    expectations: bytes | None,
    routes: bytes | None,
    vocabulary: Vocabulary,
    conditions: Conditions,
    findings: DiagnosticSink,
) -> Suite:
    """Read both files. None is a missing file, which is already reported."""
    cells, last_cell, cell_reviews = _read(expectations, EXPECTATIONS, findings)
    requests, last_request, request_reviews = _read(routes, ROUTES, findings)
    return Suite(
        tuple(_read_expectations(cells, vocabulary, conditions, findings)),
        tuple(_read_route_tests(requests, vocabulary, findings)),
        (last_cell, last_request),
        (not findings.errors_in(EXPECTATIONS), not findings.errors_in(ROUTES)),
        (*cell_reviews, *request_reviews),
    )


def _read(
    data: bytes | None, file: str, findings: DiagnosticSink
) -> tuple[list[CsvRecord], int, list[tuple[str, int]]]:
    """Return the records, the last line, and the `REVIEW` lines, which are reported."""
    if data is None:
        return [], 1, []
    lines = read_lines(data, file, findings)
    found = list(records(lines, file, findings))
    if not found and not findings.errors_in(file):
        form = _EXPECTATION_FORM if file == EXPECTATIONS else _ROUTE_FORM
        findings.add(Code.EMPTY_FILE, file, (1, 1), "the file contains no tests", f"a test is: {form}")
    marked = lines if REVIEW.encode() in data else ()
    reviews = [(file, line.number) for line in marked if line.text.strip() == REVIEW]
    for _, number in reviews:
        message, hint = "the row below was proposed and not yet reviewed", f'check it, then delete the line "{REVIEW}"'
        findings.add(Code.UNREVIEWED_ROW, file, (number, 1), message, hint)
    return found, lines[-1].number if lines else 1, reviews


def _read_expectations(
    cells: list[CsvRecord], vocabulary: Vocabulary, conditions: Conditions, findings: DiagnosticSink
) -> Iterator[Expectation]:
    seen: dict[tuple[str, ...], tuple[int, str]] = {}
    names = NameChecker(vocabulary, EXPECTATIONS, findings)
    for record in cells:
        has_without = len(record.fields) == 5 and record.fields[4].split(" ")[0] == PREFIX
        if not names.form(record, _EXPECTATION_FORM, 5 if has_without else 4):
            continue
        checks = (names.effect(record, 0), names.role(record, 1), _is_target(record, names, exact=has_without))
        without = _read_without(record, conditions, names) if has_without else ()
        if without is None or not all(checks):
            continue
        if _is_first(record, (*record.fields[1:4], *sorted(without)), seen, EXPECTATIONS, findings):
            effect, role, section, action = record.fields[:4]
            yield Expectation(record.line, effect == "allow", role, section, action, without)


def _is_target(record: CsvRecord, names: NameChecker, *, exact: bool) -> bool:
    """Return whether section and action are a cell, or ``*`` for all actions: of a section, or of all."""
    section, action = record.fields[2:4]
    if not names.target(record, 2, wildcards=not exact):
        return False
    if section != ANY or action == ANY:
        return True
    message = f'"*" is all sections, but {quoted(action)} is one action'
    hint = f"write *, * for all actions of all sections, or one section before {action}"
    names.findings.add(Code.MISPLACED_WILDCARD, EXPECTATIONS, record.at(2), message, hint)
    return False


def _read_without(record: CsvRecord, conditions: Conditions, names: NameChecker) -> tuple[str, ...] | None:
    text = record.fields[4].removeprefix(PREFIX).strip(" ")
    if text:
        return read_alternatives(record, 4, text, conditions, names)
    message = f"{PREFIX} names no condition"
    names.findings.add(Code.EMPTY_FIELD, EXPECTATIONS, record.at(4), message, f"write {PREFIX} A | B")
    return None


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


_OWN = "own "  # starts the target of a path with own segments, whose braces are written out


def _is_expected_target(record: CsvRecord, names: NameChecker) -> bool:
    expected, sections = record.fields[0], names.vocabulary.sections
    if expected in ("public", "unmatched"):
        return True
    line, column = record.at(0)
    own = _OWN if expected.startswith(_OWN) else ""
    expected, column = expected.removeprefix(own), column + len(own)
    section, slash, action = expected.partition("/")
    if expected and not slash:
        if not names.confusable(expected, (line, column), "a target", ("public", "unmatched")):
            near = "" if own else did_you_mean(expected, ("public", "unmatched"))
            hint = near or f"write {own or 'public, unmatched or '}SECTION/ACTION"
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
