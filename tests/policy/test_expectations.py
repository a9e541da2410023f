"""Rows of expectations.csv with wildcards: precedence, errors, coverage, and findings of one cause as one finding."""

import json
from collections.abc import Callable, Mapping
from itertools import product

import msgspec
import pytest

from sidecar.pdp.compile.report import preview
from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.coverage import inexact_allows, measure
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.diagnostics import DiagnosticCode as Code

Edit = Callable[..., dict[str, bytes]]
ROLE_TOML = '\n[roles.support]\ntitle = "Support"\n'
RULES = "p, support, billing, view, allow\np, support, audit, *, allow\n"


def compiled(files: Mapping[str, bytes]) -> Compiled:
    return compile_policy(files, proof=ProofScope.NONE)


def found(files: Mapping[str, bytes], code: Code) -> list[Diagnostic]:
    return [one for one in compiled(files).diagnostics if one.code is code]


@pytest.fixture
def support(edited: Edit) -> Callable[..., dict[str, bytes]]:
    """Return the shipped policy with a role of two allows, and these rows for it."""

    def files(*rows: str, rules: str = RULES) -> dict[str, bytes]:
        more = edited("roles.toml", add=ROLE_TOML)
        more = edited("policy.csv", add=rules, files=more)
        return edited("expectations.csv", add="".join(f"{row}\n" for row in rows), files=more)

    return files


COMPLETE = ("deny, support, *, *", "allow, support, billing, view", "allow, support, audit, view")


def test_a_denied_role_with_two_allows_is_complete_in_three_rows(support: Callable[..., dict[str, bytes]]) -> None:
    result = compiled(support(*COMPLETE))
    assert result.diagnostics == ()
    assert result.verdict.ok


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_more_exact_row_wins_wherever_it_is(
    support: Callable[..., dict[str, bytes]], order: tuple[int, ...]
) -> None:
    assert compiled(support(*(COMPLETE[index] for index in order))).diagnostics == ()


@pytest.mark.parametrize("effects", list(product(("allow", "deny"), repeat=3)))
def test_the_row_of_a_cell_is_action_then_section_then_all(
    support: Callable[..., dict[str, bytes]], effects: tuple[str, str, str]
) -> None:
    """All eight combinations of the three rows, against the cells of a role without a rule."""
    everything, section, action = effects
    rows = (f"{everything}, support, *, *", f"{section}, support, billing, *", f"{action}, support, billing, view")
    suite = compiled(support(*rows, rules="")).suite.rows()
    expected = {cell: suite.row_of("support", *cell) for cell in (("billing", "view"), ("billing", "change-plan"))}
    assert {cell: row and row.effect for cell, row in expected.items()} == {
        ("billing", "view"): action,
        ("billing", "change-plan"): section,
    }
    other = suite.row_of("support", "users", "view")
    assert other is not None
    assert other.effect == everything


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("deny, support, *, *", Code.DUPLICATE_EXPECTATION),
        ("allow, support, *, *", Code.CONTRADICTING_EXPECTATION),
        ("deny, support, *, view", Code.MISPLACED_WILDCARD),
        ("deny, support, bill*, *", Code.MISPLACED_WILDCARD),
        ("deny, support, billing, v*", Code.MISPLACED_WILDCARD),
        ("deny, *, billing, view", Code.MISPLACED_WILDCARD),
        ("deny, support, *, *, without office", Code.MISPLACED_WILDCARD),
        ("deny, support, billing, *, without office", Code.MISPLACED_WILDCARD),
        ("deny, support, \uff0a, *", Code.LOOKALIKE_CHARACTER),
        ("deny, support, *, \uff0a", Code.LOOKALIKE_CHARACTER),
        ("deny, support, nowhere, *", Code.UNKNOWN_SECTION),
    ],
)
def test_a_wildcard_row_that_cannot_be_meant_is_an_error(
    support: Callable[..., dict[str, bytes]], row: str, code: Code
) -> None:
    files = support(*COMPLETE, row)
    files["conditions.toml"] = b'[conditions.office]\nnetworks = ["192.0.2.0/24"]\n'
    errors = [one for one in compiled(files).diagnostics if one.is_error and one.file.endswith("expectations.csv")]
    assert [one.code for one in errors] == [code]
    assert errors[0].line == files["expectations.csv"].count(b"\n")


def test_a_wildcard_row_that_is_not_true_fails_with_its_cells(support: Callable[..., dict[str, bytes]]) -> None:
    files = support("deny, support, *, *")
    result = compiled(files)
    [failed] = [one for one in result.diagnostics if one.code is Code.FAILED_EXPECTATION]
    assert failed.line == files["expectations.csv"].count(b"\n")
    assert (
        "support on */*: expected deny, got allow on billing/view (allowed by line 36 of policy.csv)" in failed.message
    )
    assert failed.message.endswith(" and 1 more")
    assert "add allow, support, billing, view; allow, support, audit, view to expectations.csv" in failed.hint
    [test] = result.verdict.failed
    assert test.cells == (("billing", "view"), ("audit", "view"))


def test_the_preview_lists_each_cell_of_a_failed_wildcard_row(
    support: Callable[..., dict[str, bytes]], seed: Mapping[str, bytes]
) -> None:
    current = compiled(seed).generation
    assert current is not None
    files = support("deny, support, *, *")
    line = files["expectations.csv"].count(b"\n")
    failed = json.loads(preview(current, files, {}))["expectations"]["failed"]
    assert [(one["rule"], one["section"], one["action"], one["expected"], one["got"]) for one in failed] == [
        (f"policy/expectations.csv:{line}", "billing", "view", "deny", "allow"),
        (f"policy/expectations.csv:{line}", "audit", "view", "deny", "allow"),
    ]


def test_coverage_counts_the_cells_of_wildcard_rows(support: Callable[..., dict[str, bytes]]) -> None:
    result = compiled(support(*COMPLETE))
    assert result.draft is not None
    coverage = measure(result.draft, result.suite)
    assert coverage.cell_percent == 100.0
    assert len([cell for cell in coverage.wildcards if cell[0] == "support"]) == 20
    assert inexact_allows(result.draft, result.suite) == []


def test_explicit_names_the_wildcard_rows_that_cover_allows(support: Callable[..., dict[str, bytes]]) -> None:
    result = compiled(support("deny, support, *, *", "allow, support, audit, *", "allow, support, billing, view"))
    assert result.draft is not None
    [one] = inexact_allows(result.draft, result.suite)
    assert one.message == "1 allowed cell has no exact row, only allow, support, audit, *"
    assert one.hint == "add to expectations.csv: allow, support, audit, view"


def test_a_missing_cell_beside_wildcards_is_still_missing(support: Callable[..., dict[str, bytes]]) -> None:
    rows = [f"deny, support, {section}, *" for section in ("users", "analytics", "integration", "media-library")]
    [missing, *more] = found(support(*rows), Code.MISSING_EXPECTATION)
    assert "support on billing/view" in missing.message
    assert len(more) == 7, "one per section that has no row"


def test_a_deny_that_only_a_wildcard_states_is_warned_of(support: Callable[..., dict[str, bytes]]) -> None:
    rules = RULES + "p, support, users, *, allow\np, support, users, *, deny\n"
    [warned] = found(support(*COMPLETE, rules=rules), Code.DENY_OVERRIDES_ALLOW)
    assert "support on users/view and 1 more" in warned.message
    exact = ("deny, support, users, view", "deny, support, users, manage")
    assert found(support(*COMPLETE, *exact, rules=rules), Code.DENY_OVERRIDES_ALLOW) == []


# -- findings of one cause ---------------------------------------------------------------------------------------------


def test_a_removed_section_is_one_finding_per_file(seed: Mapping[str, bytes], edited: Edit) -> None:
    files = edited("sections.toml", ("[sections.billing]", "[sections.invoices]"), ('"Billing"', '"Invoices"'))
    findings = [one for one in compiled(files).diagnostics if one.code is Code.UNKNOWN_SECTION]
    assert [one.file.rpartition("/")[2] for one in findings] == ["expectations.csv", "policy.csv", "routes.csv"]
    [expectations, rule, routes] = findings
    assert expectations.message == '"billing" is not a section any more: expectations.csv 8, 9, 32 and 3 more'
    assert rule.message == '"billing" is not a section'
    rows = [
        number
        for number, line in enumerate(seed["expectations.csv"].decode().splitlines(), start=1)
        if ", billing," in " ".join(line.split())
    ]
    assert [expectations.line, *(place.line for place in expectations.places)] == rows
    assert len(routes.places) == 5
    assert "or declare it in sections.toml" in expectations.hint


def test_the_json_form_has_the_further_places(edited: Edit) -> None:
    files = edited("policy.csv", ("p, marketer,", "p, marketeer,"), ("g, marketer,", "g, marketeer,"))
    [one] = [one for one in compiled(files).diagnostics if one.code is Code.UNKNOWN_ROLE]
    shown = json.loads(msgspec.json.encode(one))
    assert (shown["line"], shown["column"]) == (27, 4)
    assert shown["places"] == [{"line": 35, "column": 4}]
    assert shown["hint"] == 'did you mean "marketer"?'
    assert " any more" not in shown["message"], "a misspelt name was never a role"


def test_one_rule_that_breaks_many_rows_is_one_finding(edited: Edit) -> None:
    result = compiled(edited("policy.csv", add="p, marketer, *, *, allow\n"))
    [failed] = [one for one in result.diagnostics if one.code is Code.FAILED_EXPECTATION]
    assert len(failed.places) == 16
    assert len(result.verdict.failed) == 17, "each row failed"
    assert failed.hint == "fix line 36 of policy.csv, or write allow here"


def test_a_new_role_and_a_new_section_are_one_finding_each(edited: Edit) -> None:
    files = edited("roles.toml", add=ROLE_TOML)
    files = edited("policy.csv", add="g, support, member\n", files=files)
    section = '[sections.reports]\ntitle = "Reports"\nactions = ["view", "create"]\n[sections.audit]'
    files = edited("sections.toml", ("[sections.audit]", section), files=files)
    reports, role = sorted(found(files, Code.MISSING_EXPECTATION), key=lambda one: len(one.hint), reverse=True)
    assert reports.message.startswith('6 cells of "reports" have no expectation')
    assert role.message.startswith('24 cells of "support" have no expectation')
    assert role.hint == "currently: deny, support, *, *; allow, support, account-settings, *"


def test_findings_at_one_line_name_their_columns(edited: Edit) -> None:
    [one] = found(edited("policy.csv", add="p, mar\u200bketer, billing\u200b, *, allow\n"), Code.INVISIBLE_CHARACTER)
    assert one.message.endswith("is invisible: policy.csv 36, columns 7, 22")


def test_findings_of_different_causes_stay_apart(edited: Edit) -> None:
    found_names = found(
        edited("policy.csv", add="p, a, billing, *, allow\np, b, billing, *, allow\n"), Code.UNKNOWN_ROLE
    )
    assert len(found_names) == 2
    assert all(one.places == () for one in found_names)


# -- rows to review ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["expectations.csv", "routes.csv"])
def test_a_row_to_review_is_a_warning_until_its_line_is_deleted(
    edited: Edit, seed: Mapping[str, bytes], file: str
) -> None:
    row = {"expectations.csv": "# marketer\n", "routes.csv": "# What must stay shut"}[file]
    files = edited(file, (row, f"# review\n{row}"))
    result = compiled(files)
    assert [(one.code, one.file) for one in result.diagnostics] == [(Code.UNREVIEWED_ROW, f"policy/{file}")]
    assert result.generation is not None, "a warning"
    assert result.suite.review == ((file, result.diagnostics[0].line),)
    assert compiled(edited(file, (row, f"# reviewed by Ada\n{row}"))).diagnostics == ()
    assert compiled(seed).suite.review == ()
