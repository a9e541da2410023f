"""Explanations: of the shipped policy in words, of random policies by their guarantees."""

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import to_builtins

from sidecar.domain.decision import Reason
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.decide import decide
from sidecar.policy.declarations import Role, Section
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.expectations import Expectation
from sidecar.policy.explain import Edit, EditKind, explain
from sidecar.policy.explained import to_explained
from sidecar.policy.generation import Generation, build
from sidecar.policy.routes import RouteTable
from sidecar.policy.rules import Effect, Inheritance, Rule, read_closures

Edited = Callable[..., dict[str, bytes]]


def line_of(files: Mapping[str, bytes], start: str) -> int:
    lines = files["policy.csv"].decode().split("\n")
    return next(number for number, line in enumerate(lines, 1) if " ".join(line.split()).startswith(start))


def draft(files: Mapping[str, bytes]) -> Generation:
    found = compile_policy(files, proof=ProofScope.NONE).draft
    assert found is not None
    return found


def test_an_allow_names_its_line_and_who_else_may(shipped: Generation, seed: Mapping[str, bytes]) -> None:
    found = explain(shipped, "accountant", "billing", "change-plan")
    assert found.ruling.allowed
    assert found.rule is not None
    assert found.rule.id == f"policy/policy.csv:{line_of(seed, 'p, accountant, billing')}"
    assert found.path == ()
    assert found.roles == ("account-administrator", "accountant")
    assert found.edits_to_flip == ()


def test_an_inherited_allow_names_the_way_to_it(shipped: Generation, seed: Mapping[str, bytes]) -> None:
    told = to_builtins(to_explained(explain(shipped, "marketer", "account-settings", "view")))
    assert told["decision"] is True
    assert told["text"] == "p, member, account-settings, *, allow"
    line = line_of(seed, "g, marketer, member")
    assert told["path"] == [{"rule": f"policy/policy.csv:{line}", "text": "g, marketer, member"}]


def test_a_missing_rule_is_told_with_the_line_to_write(shipped: Generation) -> None:
    told = to_builtins(to_explained(explain(shipped, "marketer", "billing", "view")))
    assert told["decision"] is False
    assert told["reason"] == "no_rule"
    assert told["rule"] is None
    assert told["edits"] == [{"edit": "write", "line": "p, marketer, billing, view, allow", "rule": None}]
    assert told["roles"] == ["account-administrator", "accountant"]
    nearest = told["nearest"]
    assert isinstance(nearest, dict)
    assert nearest["text"] == "p, accountant, billing, *, allow"
    assert nearest["mismatches"] == ["role"]


def test_the_nearest_rule_is_rather_of_the_same_role(edited: Edited) -> None:
    files = edited(
        "policy.csv", ("p, marketer,              media-library,      *", "p, marketer, media-library, view")
    )
    found = explain(draft(files), "marketer", "media-library", "upload")
    assert found.nearest is not None
    assert found.nearest.rule.text == "p, marketer, media-library, view, allow"
    assert found.nearest.mismatches == ("action",)


def test_a_deny_is_explained_with_its_line_and_side_effects(edited: Edited) -> None:
    files = edited("policy.csv", add="p, accountant, billing, *, deny\n")
    told = to_builtins(to_explained(explain(draft(files), "accountant", "billing", "view")))
    line = line_of(files, "p, accountant, billing, *, deny")
    assert told["reason"] == "explicit_deny"
    assert told["rule"] == f"policy/policy.csv:{line}"
    overridden = told["overridden"]
    assert isinstance(overridden, dict)
    assert overridden["text"] == "p, accountant, billing, *, allow"
    assert told["nearest"] == {**overridden, "mismatches": []}
    assert told["edits"] == [
        {"edit": "remove", "line": "p, accountant, billing, *, deny", "rule": f"policy/policy.csv:{line}"}
    ]
    cell = {"role": "accountant", "section": "billing", "action": "change-plan"}
    assert told["side_effects"] == {"count": 1, "cells": [cell]}


def test_a_deny_without_an_allow_under_it_is_turned_in_place(edited: Edited) -> None:
    files = edited("policy.csv", add="p, marketer, billing, view, deny\n")
    found = explain(draft(files), "marketer", "billing", "view")
    where = f"policy/policy.csv:{line_of(files, 'p, marketer, billing')}"
    assert found.edits_to_flip == (Edit(EditKind.REPLACE, "p, marketer, billing, view, allow", where),)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (("marketer", "biling", "view"), Reason.UNKNOWN_SECTION),
        (("marketer", "billing", "look"), Reason.UNKNOWN_ACTION),
        (("nobody", "billing", "view"), Reason.NO_RULE),
    ],
)
def test_what_is_not_declared_cannot_be_turned_by_a_rule(
    shipped: Generation, cell: tuple[str, str, str], reason: Reason
) -> None:
    found = explain(shipped, *cell)
    assert found.ruling.reason is reason
    assert (found.rule, found.nearest, found.edits_to_flip, found.side_effects) == (None, None, (), ())


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        (("marketer", "biling", "view"), 'did you mean "billing"?'),
        (("marketer", "billing", "vew"), 'did you mean "view"?'),
        (("marketer", "billing", "purge"), "known: view, change-plan"),
        (("marketer", "billing", "view"), None),
    ],
)
def test_what_is_not_declared_comes_with_what_was_meant(
    shipped: Generation, cell: tuple[str, str, str], hint: str | None
) -> None:
    assert to_builtins(to_explained(explain(shipped, *cell)))["hint"] == hint


def test_lines_are_named_as_the_reader_can_open_them(shipped: Generation) -> None:
    told = to_builtins(
        to_explained(explain(shipped, "marketer", "account-settings", "view"), lambda path: "/etc/" + path)
    )
    assert str(told["rule"]).startswith("/etc/policy/policy.csv:")


# -- random policies ---------------------------------------------------------------------------------------------------

ROLES = ("a", "b", "c", "d")
SECTIONS = {"s": ("x", "y"), "t": ("x", "z"), "u": ("w",)}


@st.composite
def generations(draw: st.DrawFn) -> Generation:
    cells = [("*", "*"), *((s, a) for s, actions in SECTIONS.items() for a in ("*", *actions)), ("*", "x")]
    keys = draw(st.lists(st.tuples(st.sampled_from(ROLES), st.sampled_from(cells)), max_size=12, unique=True))
    effects = draw(st.lists(st.sampled_from(Effect), min_size=len(keys), max_size=len(keys)))
    rules = [Rule(n, role, s, a, e) for n, ((role, (s, a)), e) in enumerate(zip(keys, effects, strict=True), 1)]
    links = draw(st.lists(st.sampled_from(list(combinations(ROLES, 2))), max_size=5, unique=True))
    return made(rules, [Inheritance(100 + n, *link) for n, link in enumerate(links)])


def made(rules: list[Rule], links: list[Inheritance]) -> Generation:
    roles = {role: Role(role, role, "", role != "d") for role in ROLES}
    sections = {name: Section(name, name, actions, actions) for name, actions in SECTIONS.items()}
    closures = read_closures(roles, links, DiagnosticSink())
    return build({}, roles, sections, RouteTable(), tuple(rules), tuple(links), closures)


def after(generation: Generation, edits: tuple[Edit, ...]) -> Generation:
    gone = {edit.rule for edit in edits if edit.rule is not None}
    rules = [rule for rule in generation.rules if rule.id not in gone]
    for number, edit in enumerate(edit for edit in edits if edit.kind is not EditKind.REMOVE):
        _, role, section, action, effect = edit.line.split(", ")
        rules.append(Rule(1000 + number, role, section, action, Effect(effect)))
    return made(rules, list(generation.inheritance))


@given(generations(), st.data())
@settings(max_examples=300, deadline=None)
def test_edits_turn_the_cell_minimally_with_exact_side_effects(generation: Generation, data: st.DataObject) -> None:
    cell = data.draw(st.sampled_from(list(generation.cells)))
    found = explain(generation, *cell)
    if found.ruling.allowed:
        assert (found.edits_to_flip, found.side_effects, found.nearest) == ((), (), None)
        return
    turned = after(generation, found.edits_to_flip)
    opened = {c for c in generation.cells if turned.cells[c].allowed and not generation.cells[c].allowed}
    closed = {c for c in generation.cells if generation.cells[c].allowed and not turned.cells[c].allowed}
    assert opened == {cell, *found.side_effects}
    assert not closed
    assert cell not in found.side_effects
    for fewer in combinations(found.edits_to_flip, len(found.edits_to_flip) - 1):
        assert not decide(after(generation, fewer), *cell).allowed


@given(generations(), st.data())
@settings(max_examples=200, deadline=None)
def test_the_path_leads_from_the_role_to_the_rule(generation: Generation, data: st.DataObject) -> None:
    cell = data.draw(st.sampled_from(list(generation.cells)))
    found = explain(generation, *cell)
    assert found.ruling is decide(generation, *cell)
    assert found.roles == tuple(r for r in ("a", "b", "c") if decide(generation, r, *cell[1:]).allowed)
    if found.rule is None:
        assert found.path == ()
        return
    assert found.rule.id == found.ruling.rule
    role = cell[0]
    for link in found.path:
        assert link in generation.inheritance
        assert link.role == role
        role = link.inherits
    assert role == found.rule.role


@given(generations(), st.data())
@settings(max_examples=200, deadline=None)
def test_the_nearest_rule_names_its_mismatches(generation: Generation, data: st.DataObject) -> None:
    role, section, action = data.draw(st.sampled_from(list(generation.cells)))
    near = explain(generation, role, section, action).nearest
    if near is None:
        return
    assert near.rule.effect is Effect.ALLOW
    assert near.rule.section in (section, "*")
    assert ("role" in near.mismatches) == (near.rule.role not in generation.closures[role])
    assert ("action" in near.mismatches) == (near.rule.action not in (action, "*"))
    found = explain(generation, role, section, action)
    assert bool(near.mismatches) == (found.overridden is None)
    assert found.overridden in (None, near.rule)


DENY = b"p, marketer, *, *, deny\np, member, audit, *, deny\np, accountant, billing, view, deny\n"


@pytest.mark.parametrize("more", [b"", DENY], ids=["shipped", "with denies"])
def test_the_edits_of_both_files_together_pass_the_tests(seed: Mapping[str, bytes], more: bytes) -> None:
    """For each denied cell of the assignable roles: the edits of policy.csv and expectations.csv."""
    files = {**seed, "policy.csv": seed["policy.csv"] + more}
    draft = compile_policy(files, proof=ProofScope.NONE).draft
    assert draft is not None
    before = failed_rows(files)
    denied = [cell for cell, ruling in draft.cells.items() if not ruling.allowed and draft.roles[cell[0]].assignable]
    assert len(denied) > 30
    for cell in denied:
        found = explain(draft, *cell)
        edited = applied(files, found.edits_to_flip, "policy.csv")
        edited = applied(edited, found.test_edits, "expectations.csv")
        result = compile_policy(edited, proof=ProofScope.NONE)
        assert result.draft is not None
        assert result.draft.cells[cell].allowed
        assert failed_rows(edited) <= before, cell
        assert result.verdict.missing == ()


def failed_rows(files: Mapping[str, bytes]) -> set[tuple[str, str, str]]:
    verdict = compile_policy(files, proof=ProofScope.NONE).verdict
    rows = [(one.test, one.cells) for one in verdict.failed if isinstance(one.test, Expectation)]
    return {(row.role, s, a) for row, cells in rows for s, a in cells or ((row.section, row.action),)}


def applied(files: Mapping[str, bytes], edits: Iterable[Edit], name: str) -> dict[str, bytes]:
    lines = files[name].decode().split("\n")
    for edit in edits:
        if edit.rule is None:
            lines.insert(len(lines) - 1, edit.line)
            continue
        file, _, line = edit.rule.partition(":")
        assert file == f"policy/{name}"
        lines[int(line) - 1] = "" if edit.kind is EditKind.REMOVE else edit.line
    return {**files, name: "\n".join(lines).encode()}
