"""Decisive rules and covered cells."""

from collections.abc import Mapping

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.coverage import Coverage, measure
from sidecar.policy.generation import Generation


def coverage_of(files: Mapping[str, bytes]) -> Coverage:
    compiled = compile_policy(files, proof=ProofScope.NONE)
    assert compiled.draft is not None
    return measure(compiled.draft, compiled.suite)


def test_shipped_rules_but_one_decide_and_all_cells_are_expected(seed: Mapping[str, bytes]) -> None:
    coverage = coverage_of(seed)
    idle = [rule.rule.text for rule in coverage.rules if not (rule.decisive and rule.fired)]
    assert idle == ["g, account-administrator, member"], "a role with every permission inherits nothing more"
    assert (coverage.rule_percent, coverage.cell_percent) == (100 * 15 / 16, 100.0)
    assert len(coverage.cells) == 88


def test_a_rule_decides_the_cells_that_change_without_it(edited) -> None:  # type: ignore[no-untyped-def]
    files = edited(
        "policy.csv",
        add="p, marketer, *, view, allow\np, marketer, billing, *, deny\np, marketer, billing, view, deny\n"
        "p, accountant, users, *, deny\np, marketer, media-library, upload, allow\n"
        "g, marketer, accountant\ng, accountant, developer\ng, marketer, developer\n",
    )
    for measured in coverage_of(files).rules:
        lines = files["policy.csv"].decode().split("\n")
        lines[measured.rule.line - 1] = ""
        without = {**files, "policy.csv": "\n".join(lines).encode()}
        assert measured.decisive == changed(allowed(files), allowed(without)), measured.rule


def allowed(files: Mapping[str, bytes]) -> Generation:
    draft = compile_policy(files, proof=ProofScope.NONE).draft
    assert draft is not None
    return draft


def changed(one: Generation, other: Generation) -> int:
    """Over the assignable roles."""
    return sum(
        ruling.allowed is not other.cells[cell].allowed
        for cell, ruling in one.cells.items()
        if one.roles[cell[0]].assignable
    )


def test_a_rule_may_fire_and_never_decide(edited) -> None:  # type: ignore[no-untyped-def]
    coverage = coverage_of(
        edited("policy.csv", ("p, marketer, ", "p, marketer, media-library, view, allow\np, marketer, "))
    )
    states = {rule.rule.line: (rule.fired, rule.decisive) for rule in coverage.rules}
    assert states[27] == (1, 0)
    assert states[28] == (2, 2)
    assert coverage.rule_percent == 100 * 15 / 17


def test_an_inheritance_decides_the_cells_that_change_without_it(edited) -> None:  # type: ignore[no-untyped-def]
    files = edited(
        "policy.csv",
        ("g, marketer,              member\n", "g, marketer, developer\ng, marketer, member\n"),
        add="p, marketer, integration, view, allow\n",
    )
    coverage = coverage_of(files)
    states = {rule.rule.text: (rule.fired, rule.decisive) for rule in coverage.rules}
    assert states["g, marketer, member"] == (2, 0), "the shortest path uses it, and developer is another"
    fired, decisive = states["g, marketer, developer"]
    assert 0 < decisive < fired, "media-library is the marketer's own, and shadowed by the developer's"


def test_cells_without_an_expectation_are_counted(edited) -> None:  # type: ignore[no-untyped-def]
    files = edited("expectations.csv", ("deny,  marketer,              billing,            view\n", ""))
    coverage = coverage_of(files)
    assert [cell for cell, expected in coverage.cells if not expected] == [("marketer", "billing", "view")]
    assert {role for role, _, _ in coverage.wildcards} == {"developer"}
    assert coverage.cell_percent == 100 * 87 / 88
