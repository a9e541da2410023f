"""``sidecar policy test``: runs the policy's tests, and measures the coverage of the policy."""

from collections.abc import Sequence
from pathlib import Path

import click

from sidecar.cli.output import NO, OK, print_error, print_json, print_table, usage_error
from sidecar.cli.policy.junit import NOT_RUN, junit
from sidecar.cli.policy.policy_source import (
    FORMATS,
    Source,
    compiled,
    files_options,
    say_diagnostics,
    source_from,
)
from sidecar.policy.compiler import Compiled, ProofScope
from sidecar.policy.coverage import Coverage, NeedCoverage, RuleCoverage, inexact_allows, measure, shortfalls
from sidecar.policy.decision_table import Cell
from sidecar.policy.diagnostics import path_of
from sidecar.policy.places import listed

_CELL = ("role", "section", "action")
FEW = 50
"""Maximum number of rules that are all listed. Above it only rules that never decide, unless --verbose is set."""


@click.command()
@files_options
@click.option("--format", "form", type=click.Choice((*FORMATS, "junit")), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--junit", "junit_file", metavar="FILE", help="Write a JUnit report as well.")
@click.option("--threshold", type=click.FloatRange(0, 100), metavar="PERCENT", help="Fail below this coverage.")
@click.option("--strict", is_flag=True, help="Warnings are errors, also rows that still have to be reviewed.")
@click.option("--explicit", is_flag=True, help="Fail for an allowed cell that only a row with * expects.")
@click.option("-v", "--verbose", is_flag=True, help="List every rule and every cell.")
def test(
    form: str,
    as_json: bool,
    junit_file: str | None,
    threshold: float | None,
    strict: bool,
    explicit: bool,
    verbose: bool,
    **flags: str | None,
) -> int:
    """Run expectations.csv and routes.csv, and measure their coverage of rules and cells.

    Exit status 1 when a test fails, a cell or route has none, the policy does not compile, or fewer than --threshold
    percent of the rules decide something or of the cells are expected. If the policy does not compile, no test is run,
    and none passes. Lines "# review" of `policy expect --write` are counted, and fail --strict.
    """
    source = source_from(flags)
    result = compiled(source, ProofScope.START)
    diagnostics = [d.as_error() if strict else d for d in result.diagnostics]
    coverage = measure(result.draft, result.suite) if result.draft is not None else None
    short = shortfalls(coverage, threshold) if coverage is not None and threshold is not None else []
    if explicit and result.draft is not None:
        diagnostics += map(source.shown, inexact_allows(result.draft, result.suite))
    found = [*diagnostics, *map(source.shown, short)]
    if junit_file is not None:
        _write(Path(junit_file), junit(result, found, source))
    form = "json" if as_json else form
    if form == "junit":
        click.echo(junit(result, found, source), nl=False)
    elif form == "json":
        print_json({"diagnostics": found, **_figures(result, coverage, source)})
    else:
        say_diagnostics(diagnostics if form == "text" else found, form)
    if form == "text":
        _say_tests(result)
    if form == "text" and coverage is not None:
        _say_coverage(coverage, source, verbose=verbose)
    for shortfall in short:
        print_error(shortfall.message)
    return NO if any(diagnostic.is_error for diagnostic in found) else OK


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise usage_error(f"{path}: {error.strerror}") from error


def _state(rule: RuleCoverage | NeedCoverage) -> str:
    """Return the state. Fired: a cell names the rule. Decisive: without the rule a decision would differ."""
    if rule.decisive:
        return "decides"
    return "fires, never decisive" if rule.fired else "never fires"


def _say_tests(result: Compiled) -> None:
    tests, verdict = result.suite, result.verdict
    counted = f"{len(tests.expectations)} expectations and {len(tests.routes)} routes: "
    if result.draft is None:
        click.echo(counted + NOT_RUN)
        return
    click.echo(
        f"{counted}{verdict.passed} passed, {len(verdict.failed)} failed, "
        f"{len(verdict.missing)} cells and {len(verdict.untested)} routes without a test"
    )
    if verdict.untested_needs:
        click.echo(f"{len(verdict.untested_needs)} needs without a test")
    if tests.review:
        click.echo(f"{len(tests.review)} rows to review: {_places(tests.review)}")


def _places(reviews: Sequence[tuple[str, int]]) -> str:
    files = dict.fromkeys(file for file, _ in reviews)
    return ", ".join(listed(file, [(line, 1) for name, line in reviews if name == file]) for file in files)


def _say_coverage(coverage: Coverage, source: Source, *, verbose: bool) -> None:
    listed = [r for r in coverage.rules if verbose or len(coverage.rules) <= FEW or not r.decisive]
    if listed:
        rows = [(source.name_of(r.rule.id), r.rule.text, r.fired, r.decisive, _state(r)) for r in listed]
        print_table(("rule", "text", "cells", "decisive for", "state"), rows)
    if coverage.needs:
        needs = [(source.name_of(n.line.id), n.line.text, n.fired, n.decisive, _state(n)) for n in coverage.needs]
        print_table(("need", "text", "cells", "decisive for", "state"), needs)
    if verbose:
        cells = [(*cell, _expected(coverage, cell, expected)) for cell, expected in coverage.cells]
        print_table(("role", "section", "action", "state"), cells)
    decisive = sum(1 for rule in coverage.rules if rule.decisive)
    expected = sum(1 for _, has in coverage.cells if has)
    click.echo(f"rules: {decisive} of {len(coverage.rules)} decide something ({coverage.rule_percent:.1f} %)")
    wildcards = f", {len(coverage.wildcards)} of them by rows with *" if coverage.wildcards else ""
    click.echo(f"cells: {expected} of {len(coverage.cells)} are expected ({coverage.cell_percent:.1f} %){wildcards}")


def _expected(coverage: Coverage, cell: Cell, expected: bool) -> str:
    how = "expected" if expected else "not expected"
    return "expected by *" if cell in coverage.wildcards else how


def _figures(result: Compiled, coverage: Coverage | None, source: Source) -> dict[str, object]:
    tests = len(result.suite.expectations) + len(result.suite.routes)
    figures: dict[str, object] = {
        "generation": result.draft.id if result.draft is not None else None,
        "passed": result.verdict.passed,
        "failed": len(result.verdict.failed),
        "not_judged": tests if result.draft is None else 0,
        "review": [{"file": source.name_of(path_of(file)), "line": line} for file, line in result.suite.review],
        "missing": [dict(zip(_CELL, cell, strict=True)) for cell in result.verdict.missing],
    }
    if coverage is None:
        return figures
    figures["rules"] = [
        {
            "rule": source.name_of(r.rule.id),
            "text": r.rule.text,
            "fired": r.fired,
            "decisive": r.decisive,
        }
        for r in coverage.rules
    ]
    figures["needs"] = [
        {"need": source.name_of(n.line.id), "text": n.line.text, "fired": n.fired, "decisive": n.decisive}
        for n in coverage.needs
    ]
    figures["cells"] = [
        {**dict(zip(_CELL, cell, strict=True)), "expected": expected, "wildcard": cell in coverage.wildcards}
        for cell, expected in coverage.cells
    ]
    figures["coverage"] = {"rules": round(coverage.rule_percent, 2), "cells": round(coverage.cell_percent, 2)}
    return figures
