"""The table against pycasbin, cell by cell (R28), on the shipped policy and on random ones."""

import importlib.metadata
import logging
from array import array
from collections.abc import Mapping
from dataclasses import replace

import casbin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.decision import Reason
from sidecar.policy import oracle
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.decide import decide
from sidecar.policy.decision_table import NUMBERS, DecisionTable, Ruling
from sidecar.policy.declarations import Role, Section
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.generation import Generation, build
from sidecar.policy.model import MODEL
from sidecar.policy.routes import RouteTable
from sidecar.policy.rules import ANY, MAX_DEPTH, Effect, Inheritance, Rule, read_closures

ROLES = [f"r{index}" for index in range(5)]
SECTIONS = {"one": ("view", "manage"), "two": ("view",), "r0": ("view", "purge")}


def generation_of(rules: list[tuple[str, str, str, str]], links: list[tuple[str, str]]) -> Generation:
    roles = {name: Role(name, name, "", assignable=True) for name in ROLES}
    sections = {name: Section(name, name, actions, actions) for name, actions in SECTIONS.items()}
    lines = tuple(Rule(line, r, s, a, Effect(e)) for line, (r, s, a, e) in enumerate(rules, start=1))
    inheritance = tuple(Inheritance(line, role, up) for line, (role, up) in enumerate(links, start=100))
    closures = read_closures(roles, inheritance, DiagnosticSink())
    return build({}, roles, sections, RouteTable(), lines, inheritance, closures)


TARGETS = [(s, a) for s in (*SECTIONS, ANY) for a in ("view", "manage", "purge", ANY)]
TARGETS = [(s, a) for s, a in TARGETS if ANY in (s, a) or a in SECTIONS[s]]
RULES = st.lists(
    st.tuples(st.sampled_from(ROLES), st.sampled_from(TARGETS), st.sampled_from(["allow", "deny"])).map(
        lambda parts: (parts[0], *parts[1], parts[2])
    ),
    max_size=12,
    unique=True,
)
# Only upwards in the order of the names: no cycles.
LINKS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(lambda pair: pair[0] < pair[1]), max_size=6, unique=True
).map(lambda pairs: [(ROLES[low], ROLES[high]) for low, high in pairs])


@settings(max_examples=150, deadline=None)
@given(RULES, LINKS)
def test_R28_the_table_is_what_one_enforcer_over_all_roles_says(
    rules: list[tuple[str, str, str, str]], links: list[tuple[str, str]]
) -> None:
    """Without the shortcuts of the proof: one enforcer, all rules, all roles."""
    generation = generation_of(rules, links)
    model = casbin.Model()
    model.load_model_from_text(MODEL)
    enforcer = casbin.Enforcer(model)
    for role, section, action, effect in rules:
        enforcer.add_policy(f"role:{role}", section, action, effect)
    for role, up in links:
        enforcer.add_grouping_policy(f"role:{role}", f"role:{up}")
    for (role, section, action), ruling in generation.cells.items():
        assert ruling.allowed is enforcer.enforce(f"role:{role}", section, action)
    findings = DiagnosticSink()
    oracle.prove(generation, findings, sampled=False)
    assert findings.sorted() == ()


@settings(max_examples=100, deadline=None)
@given(RULES, LINKS)
def test_reason_and_rule_are_those_of_the_definition(
    rules: list[tuple[str, str, str, str]], links: list[tuple[str, str]]
) -> None:
    generation = generation_of(rules, links)
    for (role, section, action), ruling in generation.cells.items():
        matching = [
            rule
            for rule in generation.rules
            if rule.role in generation.closures[role]
            and rule.section in (section, ANY)
            and rule.action in (action, ANY)
        ]
        denies = [rule for rule in matching if rule.effect is Effect.DENY]
        deciding = (denies or matching)[:1]
        assert ruling.rule == (deciding[0].id if deciding else None)
        assert (ruling.reason is Reason.NO_RULE) == (not matching)
        assert (ruling.reason is Reason.EXPLICIT_DENY) == bool(denies)
        assert decide(generation, role, section, action) == ruling


def test_R28_a_wrong_cell_is_found_and_reported_at_its_rule(shipped: Generation) -> None:
    numbers = array(NUMBERS, shipped.cells.packed)
    cells = list(shipped.cells)
    numbers[cells.index(("marketer", "billing", "view"))] = 1
    numbers[cells.index(("accountant", "billing", "view"))] *= -1
    wrong = replace(shipped, cells=DecisionTable(shipped.roles, shipped.sections, numbers))
    findings = DiagnosticSink()
    oracle.prove(wrong, findings, sampled=False)
    assert [(found.code, found.line) for found in findings.sorted()] == [
        (Code.CASBIN_DISAGREES, 1),
        (Code.CASBIN_DISAGREES, 15),
    ]


def test_R28_each_role_is_proved_with_its_closure_of_rules_alone(
    shipped: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[str], set[str]]] = []

    class Spy:
        def __init__(self, _model: object, adapter: object, enable_log: bool) -> None:
            assert enable_log is False
            loaded = {"p": {"p": casbin.model.Assertion()}, "g": {"g": casbin.model.Assertion()}}
            adapter.load_policy(loaded)  # type: ignore[attr-defined]
            self.roles = {rule[0] for rule in loaded["p"]["p"].policy}
            self.links = {link[0] for link in loaded["g"]["g"].policy}

        def enforce(self, role: str, section: str, action: str) -> bool:
            assert role.startswith("role:")
            seen.append((self.roles, self.links))
            return (section, action) in shipped.allowed[role.removeprefix("role:")]

    monkeypatch.setattr(oracle._pycasbin, "Enforcer", Spy)
    findings = DiagnosticSink()
    oracle.prove(shipped, findings, sampled=False)
    assert findings.sorted() == ()
    assert len(seen) == len(shipped.cells)
    assert [roles for roles, _ in seen[:: len(shipped.cells) // 5]] == [
        {"role:account-administrator", "role:member"},
        {"role:accountant", "role:member"},
        {"role:developer", "role:member"},
        {"role:marketer", "role:member"},
        {"role:member"},
    ]


def proved(generation: Generation, *, sampled: bool, monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str, str]]:
    cells: set[tuple[str, str, str]] = set()

    class Spy:
        def __init__(self, *_: object, **__: object) -> None: ...

        def enforce(self, role: str, section: str, action: str) -> bool:
            cells.add((role, section, action))
            return (section, action) in generation.allowed[role.removeprefix("role:")]

    monkeypatch.setattr(oracle._pycasbin, "Enforcer", Spy)
    oracle.prove(generation, DiagnosticSink(), sampled=sampled)
    return cells


def test_R28_above_a_million_cells_a_start_proves_a_sample(
    shipped: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(proved(shipped, sampled=True, monkeypatch=monkeypatch)) == len(shipped.cells)
    monkeypatch.setattr(oracle, "MAX_AT_START", 100)
    monkeypatch.setattr(oracle, "SAMPLE", 200)
    sample = proved(shipped, sampled=True, monkeypatch=monkeypatch)
    assert 0 < len(sample) < len(shipped.cells)
    assert proved(shipped, sampled=True, monkeypatch=monkeypatch) == sample
    assert len(proved(shipped, sampled=False, monkeypatch=monkeypatch)) == len(shipped.cells)


def test_R28_a_large_full_proof_tests_every_cell_by_section(
    shipped: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[tuple[str, str, str], list[int]] = {}
    real = oracle._Witness.allows

    def counting(witness: oracle._Witness, section: str, action: str) -> bool:
        rules = len(witness._enforcer.model["p"]["p"].policy)
        asked.setdefault((witness.role, section, action), []).append(rules)
        return real(witness, section, action)

    monkeypatch.setattr(oracle._Witness, "allows", counting)
    monkeypatch.setattr(oracle, "MAX_WHOLE", 100)
    monkeypatch.setattr(oracle, "SAMPLE", 100)
    findings = DiagnosticSink()
    oracle.prove(shipped, findings, sampled=False)
    assert findings.sorted() == ()
    assert asked.keys() == set(shipped.cells)
    assert {rules[-1] for cell, rules in asked.items() if cell[0] == "developer"} == {0, 1}
    whole = {cell: rules[0] for cell, rules in asked.items() if len(rules) == 2}
    assert 0 < len(whole) < len(asked)
    assert whole == {cell: _rules_of(shipped, cell[0]) for cell in whole}, "a few of them, with all rules of the role"


def _rules_of(generation: Generation, role: str) -> int:
    return sum(rule.role in generation.closures[role] for rule in generation.rules)


def test_R28_an_edit_that_people_wait_for_asks_every_cell_too(
    shipped: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[tuple[str, str, str], int] = {}
    real = oracle._Witness.allows

    def counting(witness: oracle._Witness, section: str, action: str) -> bool:
        cell = (witness.role, section, action)
        asked[cell] = asked.get(cell, 0) + 1
        return real(witness, section, action)

    monkeypatch.setattr(oracle._Witness, "allows", counting)
    oracle.prove(shipped, DiagnosticSink(), sampled=True, hurried=True)
    assert asked == dict.fromkeys(shipped.cells, 1), "a small one in full"

    asked.clear()
    monkeypatch.setattr(oracle, "MAX_WHOLE_FOR_EDIT", oracle.CALL_COST * len(shipped.cells))
    monkeypatch.setattr(oracle, "SAMPLE_FOR_EDIT", 400)
    oracle.prove(shipped, DiagnosticSink(), sampled=True, hurried=True)
    assert asked.keys() == set(shipped.cells)
    assert 0 < sum(times == 2 for times in asked.values()) < len(asked), "and a sample with all rules of the role"

    asked.clear()
    monkeypatch.setattr(oracle, "MAX_WHOLE_FOR_EDIT", 100)
    oracle.prove(shipped, DiagnosticSink(), sampled=True, hurried=True)
    assert 0 < len(asked) < len(shipped.cells), "or the sample alone, if there are too many cells"

    asked.clear()
    monkeypatch.setattr(oracle, "MAX_AT_START", 100)
    oracle.prove(shipped, DiagnosticSink(), sampled=True, hurried=True)
    assert 0 < len(asked) < len(shipped.cells), "above the limit of a start, a sample alone"


def test_R28_the_scope_none_proves_nothing(seed: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a preview never runs the proof (R27)")

    monkeypatch.setattr(oracle, "prove", fail)
    assert compile_policy(seed, proof=ProofScope.NONE).generation is not None


def test_it_is_refused_beside_the_distribution_casbin(
    seed: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.43.0" if name == "casbin" else real(name))
    compiled = compile_policy(seed)
    assert compiled.generation is None
    [found] = compiled.diagnostics
    assert found.code is Code.CASBIN_INSTALLATION
    assert "casbin 1.43.0" in found.message
    assert "pip uninstall casbin" in found.hint


def test_its_loggers_are_silent(seed: Mapping[str, bytes], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        compile_policy(seed)
    assert [record for record in caplog.records if record.name.startswith("casbin")] == []


def test_pycasbin_follows_as_many_links_as_we_allow_and_no_more() -> None:
    """The reason for the value of `MAX_DEPTH`."""
    for links in (MAX_DEPTH, MAX_DEPTH + 1):
        model = casbin.Model()
        model.load_model_from_text(MODEL)
        enforcer = casbin.Enforcer(model)
        enforcer.add_policy(f"role:x{links}", "one", "view", "allow")
        for index in range(links):
            enforcer.add_grouping_policy(f"role:x{index}", f"role:x{index + 1}")
        assert enforcer.enforce("role:x0", "one", "view") is (links == MAX_DEPTH)


def test_a_ruling_knows_its_line() -> None:
    assert Ruling(Reason.ALLOWED, "policy/policy.csv:12").line == 12
    assert Ruling(Reason.NO_RULE).line is None
