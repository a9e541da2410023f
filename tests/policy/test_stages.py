"""Compilation with remembered stages, as editors do: always the findings and the table of a compilation without."""

import random
from collections.abc import Mapping

import pytest

from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.diagnostics import AT_MOST, DiagnosticSink
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.stages import RememberedStages
from tests.policy.test_corpus import cases, files_of

Files = Mapping[str, bytes]


def assert_same(files: Files, stages: RememberedStages) -> Compiled:
    fresh = compile_policy(files, proof=ProofScope.NONE)
    again = compile_policy(files, proof=ProofScope.NONE, stages=stages)
    assert again.diagnostics == fresh.diagnostics
    assert (again.generation is None) is (fresh.generation is None)
    assert again.verdict == fresh.verdict
    if fresh.draft is not None:
        assert again.draft is not None
        assert again.draft.id == fresh.draft.id
        assert again.draft.files == fresh.draft.files
        assert again.draft.cells.packed == fresh.draft.cells.packed
        assert again.draft.rules == fresh.draft.rules
        assert again.draft.routes.routes == fresh.draft.routes.routes
        assert again.draft.needs.packed == fresh.draft.needs.packed
    return again


def test_every_case_after_another_has_its_own_findings(seed: Files) -> None:
    order = [*cases("bad"), *cases("suspicious")]
    random.Random(18).shuffle(order)
    stages = RememberedStages()
    for case in order:
        assert_same(files_of(case, seed), stages)


def test_a_valid_policy_between_broken_ones_is_valid(seed: Files) -> None:
    stages = RememberedStages()
    for case in cases("bad")[::10]:
        assert_same(files_of(case, seed), stages)
        assert assert_same(seed, stages).generation is not None


@pytest.mark.parametrize("name", ["policy.csv", "expectations.csv", "routes.csv", "roles.toml", "sections.toml"])
def test_a_file_written_letter_by_letter_keeps_no_old_finding(name: str, seed: Files) -> None:
    stages, text = RememberedStages(), seed[name]
    for end in range(max(0, len(text) - 40), len(text) + 1):
        assert_same({**seed, name: text[:end]}, stages)


def test_a_comment_runs_no_later_stage_again(seed: Files) -> None:
    stages = RememberedStages()
    first = compile_policy(seed, proof=ProofScope.NONE, stages=stages)
    edited = {**seed, "roles.toml": seed["roles.toml"] + b"# a comment\n"}
    second = compile_policy(edited, proof=ProofScope.NONE, stages=stages)
    assert first.draft is not None
    assert second.draft is not None
    assert second.draft.cells is first.draft.cells
    assert second.draft.id != first.draft.id


def test_absorbed_findings_count_like_added_ones() -> None:
    whole, parts = DiagnosticSink(), [DiagnosticSink(), DiagnosticSink()]
    for number in range(2 * (AT_MOST - 100)):
        for sink in (whole, parts[number % 2]):
            sink.add(Code.UNKNOWN_ROLE, "policy.csv", (1, 1), f"finding {number}", "hint")
    joined = DiagnosticSink()
    for part in parts:
        joined.absorb(part)
    assert len(joined.sorted()) == len(whole.sorted()) == AT_MOST
    assert joined.sorted()[-1].message.endswith("and 300 more of this kind")
    assert whole.sorted()[-1].message.endswith("and 300 more of this kind")
    assert not joined.accepts(Code.UNKNOWN_ROLE, "policy.csv")
