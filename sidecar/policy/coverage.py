"""Coverage of the assignable roles: rules and needs that change a decision, and cells with an expectation."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sidecar.policy.decision_table import Cell, Row, cells_of, columns_of, direct_rules, inherited
from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode, path_of
from sidecar.policy.expectations import EXPECTATIONS, Expectation, Suite
from sidecar.policy.generation import Generation
from sidecar.policy.needs.lines import NeedLine
from sidecar.policy.needs.rows import cells_with
from sidecar.policy.rules import FILE, Effect, Inheritance, Rule, parents_of, ways_up
from sidecar.policy.suite_runner import SHOWN, decisive_rows


@dataclass(frozen=True, slots=True)
class RuleCoverage:
    """Coverage of one rule or ``g`` line, in cells.

    ``fired``: cells decided by this rule; for a ``g`` line, cells decided by a rule inherited over it. ``decisive``:
    cells that would change without it.
    """

    rule: Rule | Inheritance
    fired: int
    decisive: int


@dataclass(frozen=True, slots=True)
class NeedCoverage:
    """Coverage of one line of needs.csv. ``fired``: allowed cells with this need. ``decisive``: tests that need it."""

    line: NeedLine
    fired: int
    decisive: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """Coverage of all rules and cells. ``cells``: the cells of the assignable roles, each with its expected flag.

    ``wildcards``: the cells among them that only a row with ``*`` expects.
    """

    rules: tuple[RuleCoverage, ...]
    cells: tuple[tuple[Cell, bool], ...]
    needs: tuple[NeedCoverage, ...] = ()
    wildcards: frozenset[Cell] = frozenset()

    @property
    def rule_percent(self) -> float:
        return _percent(sum(1 for rule in self.rules if rule.decisive), len(self.rules))

    @property
    def cell_percent(self) -> float:
        return _percent(sum(1 for _, expected in self.cells if expected), len(self.cells))


def shortfalls(coverage: Coverage, required: float) -> list[Diagnostic]:
    """Return a diagnostic per measure below ``required`` percent, located at the file to improve."""
    measured = (("rules", coverage.rule_percent, FILE), ("cells", coverage.cell_percent, EXPECTATIONS))
    code = DiagnosticCode.LOW_COVERAGE
    return [
        Diagnostic(
            code.severity,
            code,
            path_of(file),
            1,
            1,
            f"{percent:.1f} % of the {measure} are covered, {required:g} % are required",
        )
        for measure, percent, file in measured
        if percent < required
    ]


def inexact_allows(generation: Generation, suite: Suite) -> list[Diagnostic]:
    """Return a diagnostic for each row with ``*`` that is the only expectation of allowed cells."""
    rows = suite.rows()
    found: dict[Expectation, list[Cell]] = {}
    for cell, ruling in generation.cells.items():
        row = rows.row_of(*cell)
        if row is not None and ruling.allowed and not row.exact and generation.roles[cell[0]].assignable:
            found.setdefault(row, []).append(cell)
    code = DiagnosticCode.MISSING_EXPECTATION
    diagnostics = []
    for row, cells in found.items():
        noun = "allowed cell has" if len(cells) == 1 else "allowed cells have"
        message = f"{len(cells)} {noun} no exact row, only {row.effect}, {row.role}, {row.section}, {row.action}"
        exact = "; ".join(f"allow, {', '.join(cell)}" for cell in cells[:SHOWN])
        more = f"; and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
        hint = f"add to {EXPECTATIONS}: {exact}{more}"
        diagnostics.append(Diagnostic(code.severity, code, path_of(EXPECTATIONS), row.line, 1, message, hint))
    return sorted(diagnostics)


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 100.0


def measure(generation: Generation, suite: Suite) -> Coverage:
    """Measure the coverage. Time is linear in rules × cells per rule."""
    fired: dict[str, int] = {}
    for (role, _, _), ruling in generation.cells.decided():
        if ruling.rule is not None and generation.roles[role].assignable:
            fired[ruling.rule] = fired.get(ruling.rule, 0) + 1
    decisive: dict[Rule, int] = {}
    for rule in _decisive(generation):
        decisive[rule] = decisive.get(rule, 0) + 1
    rules = [RuleCoverage(rule, fired.get(rule.id, 0), decisive.get(rule, 0)) for rule in generation.rules]
    expected = suite.rows()
    cells = {cell: expected.row_of(*cell) for cell in generation.cells if generation.roles[cell[0]].assignable}
    return Coverage(
        tuple(sorted((*rules, *_links(generation)), key=lambda measured: measured.rule.line)),
        tuple((cell, row is not None) for cell, row in cells.items()),
        tuple(
            NeedCoverage(line, cells_with(generation.needs, line, generation.roles, generation.cells), decisive)
            for line, decisive in decisive_rows(generation, suite).items()
        ),
        frozenset(cell for cell, row in cells.items() if row is not None and not row.exact),
    )


def _decisive(generation: Generation) -> Iterator[Rule]:
    """Yield, for each cell, the only rule that decides it: without this rule, the decision would change."""
    own: dict[str, list[Rule]] = {}
    for rule in generation.rules:
        own.setdefault(rule.role, []).append(rule)
    for role in generation.roles.values():
        if not role.assignable:
            continue
        matching: dict[tuple[str, str], tuple[list[Rule], list[Rule]]] = {}
        for ancestor in generation.closures[role.id]:
            for rule in own.get(ancestor, ()):
                for cell in cells_of(rule, generation.sections):
                    allows, denies = matching.setdefault(cell, ([], []))
                    (allows if rule.effect is Effect.ALLOW else denies).append(rule)
        for allows, denies in matching.values():
            if len(denies) == 1 and allows:
                yield denies[0]
            elif len(allows) == 1 and not denies:
                yield allows[0]


# -- inheritance -------------------------------------------------------------------------------------------------------


def _links(generation: Generation) -> Iterator[RuleCoverage]:
    """Yield the coverage of the ``g`` lines: cells decided over a line, and cells that change without it."""
    parents = parents_of(generation.inheritance)
    fired: Counter[Inheritance] = Counter(_travelled(generation, parents))
    decisive: Counter[Inheritance] = Counter()
    own = direct_rules(generation.rules, generation.sections, columns_of(generation.sections))
    for role in generation.roles.values():
        if role.assignable:
            decisive.update(_changes(role.id, generation.closures[role.id], parents, own))
    for link in generation.inheritance:
        yield RuleCoverage(link, fired[link], decisive[link])


def _travelled(generation: Generation, parents: Mapping[str, list[Inheritance]]) -> Iterator[Inheritance]:
    """Yield each link once per cell decided by a rule inherited over it, by the shortest path as in `explain`."""
    holder = {rule.id: rule.role for rule in generation.rules}
    ways = {role.id: ways_up(role.id, parents) for role in generation.roles.values() if role.assignable}
    for (role, _, _), ruling in generation.cells.decided():
        if role not in ways or ruling.rule is None:
            continue
        ancestor = holder[ruling.rule]
        while ancestor != role:
            link = ways[role][ancestor]
            yield link
            ancestor = link.role


def _changes(
    role: str, closure: tuple[str, ...], parents: Mapping[str, list[Inheritance]], own: Mapping[str, Row]
) -> dict[Inheritance, int]:
    """Return, for each link above a role, the number of the role's cells that change without it."""
    whole = inherited(closure, own)
    changes = {}
    for link in (link for ancestor in closure for link in parents.get(ancestor, ())):
        left = ways_up(role, parents, without=link)
        if len(left) + 1 < len(closure):  # otherwise another path reaches all of them
            row = inherited((role, *left), own)
            changes[link] = sum((number > 0) is not (row.get(column, 0) > 0) for column, number in whole.items())
    return changes
