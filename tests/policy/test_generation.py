"""Generations: the hash of the bytes as id (R25), an immutable table, encoding for a child process."""

import hashlib
from collections.abc import Mapping

import pytest

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.decide import decide
from sidecar.policy.generation import Generation, content_hash
from sidecar.policy.rules import Effect


def test_R25_the_id_hashes_dialect_names_lengths_and_bytes(shipped: Generation, seed: Mapping[str, bytes]) -> None:
    digest = hashlib.sha256(b"sidecar-policy/1")
    for name in sorted(seed):
        digest.update(len(name).to_bytes(8) + name.encode() + len(seed[name]).to_bytes(8) + seed[name])
    assert shipped.id == digest.hexdigest()[:32]


def test_R25_the_id_changes_with_every_byte_of_every_file(seed: Mapping[str, bytes]) -> None:
    ids = {content_hash(seed)} | {content_hash({**seed, name: seed[name] + b"\n"}) for name in seed}
    assert len(ids) == 1 + len(seed)


def test_R25_bytes_cannot_wander_from_one_file_to_the_next() -> None:
    assert content_hash({"a": b"xy", "b": b"z"}) != content_hash({"a": b"x", "b": b"yz"})
    assert content_hash({"a": b"", "ab": b""}) != content_hash({"aa": b"", "b": b""})


def test_R25_the_bytes_hashed_are_the_bytes_compiled(shipped: Generation, seed: Mapping[str, bytes]) -> None:
    assert dict(shipped.files) == dict(seed)
    assert content_hash(shipped.files) == shipped.id


def test_other_files_are_no_part_of_it(shipped: Generation, seed: Mapping[str, bytes]) -> None:
    compiled = compile_policy({**seed, "notes.txt": b"?", ".policy.csv.swp": b"?"})
    assert compiled.generation is not None
    assert compiled.generation.id == shipped.id


def test_nobody_can_change_it(shipped: Generation) -> None:
    with pytest.raises(AttributeError):
        shipped.id = "other"  # type: ignore[misc]
    for mapping in (shipped.roles, shipped.sections, shipped.closures, shipped.allowed, shipped.files):
        with pytest.raises(TypeError):
            mapping["x"] = None  # type: ignore[index]


def compiled_rules(seed: Mapping[str, bytes], rules: str) -> Generation:
    """Compile a draft: these rules need not match the expectations."""
    draft = compile_policy({**seed, "policy.csv": rules.encode()}, proof=ProofScope.FULL).draft
    assert draft is not None
    return draft


def test_a_deny_beats_an_allow_whatever_the_order(seed: Mapping[str, bytes]) -> None:
    allow, deny = "p, marketer, billing, view, allow\n", "p, marketer, *, view, deny\n"
    for rules in (allow + deny, deny + allow):
        ruling = decide(compiled_rules(seed, rules), "marketer", "billing", "view")
        assert ruling.reason == "explicit_deny"
        assert ruling.rule == f"policy/policy.csv:{rules.splitlines().index(deny.strip()) + 1}"


def test_of_several_rules_the_first_in_the_file_is_named(seed: Mapping[str, bytes]) -> None:
    generation = compiled_rules(seed, "p, marketer, *, *, allow\np, marketer, billing, *, allow\n")
    assert decide(generation, "marketer", "billing", "view").line == 1


def test_a_deny_without_an_allow_is_still_an_explicit_one(seed: Mapping[str, bytes]) -> None:
    generation = compiled_rules(seed, "p, marketer, billing, view, deny\n")
    assert decide(generation, "marketer", "billing", "view").reason == "explicit_deny"
    assert decide(generation, "marketer", "billing", "change-plan").reason == "no_rule"


def test_roles_inherit_what_their_ancestors_may_and_may_not(seed: Mapping[str, bytes]) -> None:
    rules = (
        "p, member, billing, view, allow\np, accountant, billing, *, allow\np, accountant, billing, change-plan, deny\n"
        "g, marketer, accountant\ng, accountant, member\n"
    )
    generation = compiled_rules(seed, rules)
    assert generation.closures["marketer"] == ("marketer", "accountant", "member")
    assert decide(generation, "marketer", "billing", "view").allowed
    assert decide(generation, "marketer", "billing", "change-plan").line == 3
    assert not decide(generation, "developer", "billing", "view").allowed


def test_an_action_of_every_section_reaches_those_that_have_it(seed: Mapping[str, bytes]) -> None:
    generation = compiled_rules(seed, "p, marketer, *, manage, allow\n")
    having = {section.id for section in generation.sections.values() if "manage" in section.actions}
    assert generation.allowed["marketer"] == {(section, "manage") for section in having}
    assert all(rule.effect is Effect.ALLOW for rule in generation.rules)


def test_a_policy_that_fails_its_tests_is_readable_but_inactive(edited) -> None:  # type: ignore[no-untyped-def]
    compiled = compile_policy(edited("policy.csv", add="p, marketer, billing, view, allow\n"))
    assert compiled.generation is None
    assert compiled.draft is not None
    assert compiled.valid  # it compiles; only its own expectations fail
    assert decide(compiled.draft, "marketer", "billing", "view").allowed
    assert [(one.test.line, one.got) for one in compiled.verdict.failed] == [(80, "allow")]
    assert compiled.verdict.passed == 190


def test_a_policy_with_a_typo_is_neither(edited) -> None:  # type: ignore[no-untyped-def]
    compiled = compile_policy(edited("policy.csv", add="p, marketer, biling, view, allow\n"))
    assert compiled.generation is None
    assert compiled.draft is None
    assert not compiled.valid
