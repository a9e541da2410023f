"""Renames in an editor's buffers: the same edits as `policy rename`, and reasons against them."""

from collections.abc import Callable, Mapping

import pytest

from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.editing.buffers import Buffer, apply_edits
from sidecar.policy.editing.renaming import SymbolRenameError, check_renamable, rename_edits
from sidecar.policy.editing.symbols import Occurrence, SymbolKind, occurrences
from sidecar.policy.rename.names import RenameKind
from sidecar.policy.rename.plan import RenamePlan, plan_rename
from sidecar.policy.rename.target import InvalidRename, read_target
from tests.policy.needs_policies import CONDITIONS, with_needs

Edited = Callable[..., dict[str, bytes]]

NEW_NAMES = ("zz", "a-name-that-is-longer-than-each-column-of-the-files", "view", "marketer", "billing", "Wrong", "")


def compiled_of(files: Mapping[str, bytes]) -> Compiled:
    return compile_policy(files, proof=ProofScope.NONE)


def in_buffers(files: Mapping[str, bytes], symbol: Occurrence, new: str) -> dict[str, bytes] | str:
    """Return all files after the editor's rename, or the reason against it."""
    buffers = {name: Buffer(name, data.decode()) for name, data in files.items()}
    try:
        edits = rename_edits(symbol, new, compiled_of(files), buffers, occurrences(buffers))
    except SymbolRenameError as error:
        return str(error)
    texts = apply_edits({name: one.text for name, one in buffers.items()}, edits)
    return {name: text.encode() for name, text in texts.items()}


def by_command(files: Mapping[str, bytes], symbol: Occurrence, new: str) -> dict[str, bytes] | str:
    """Return all files after `policy rename`, or the reason against it."""
    before = compiled_of(files).draft
    assert before is not None
    old = f"{symbol.section}/{symbol.name}" if symbol.section not in ("", "*") else symbol.name
    target = read_target(RenameKind(symbol.kind), old, new, before.roles, before.sections)
    plan = target if isinstance(target, InvalidRename) else plan_rename(before, target)
    if isinstance(plan, InvalidRename):
        return plan.message
    assert isinstance(plan, RenamePlan), plan
    return {**files, **plan.files}


def symbols_of(files: Mapping[str, bytes]) -> list[Occurrence]:
    """Return one place per name, declared or not, without conditions."""
    buffers = {name: Buffer(name, data.decode()) for name, data in files.items()}
    unique = {(one.kind, one.section, one.name): one for one in occurrences(buffers)}
    return [one for one in unique.values() if one.kind is not SymbolKind.CONDITION]


@pytest.mark.parametrize("new", NEW_NAMES)
def test_an_editor_renames_as_the_command_does(seed: Mapping[str, bytes], edited: Edited, new: str) -> None:
    files = edited("policy.csv", add="\n# not aligned, view\np,accountant, *, purge, allow\n")
    row = "accountant,            cache-purge,        purge"
    files = edited("expectations.csv", (f"deny,  {row}", f"allow, {row}"), files=files)
    for symbol in symbols_of(files)[:: 1 if new in ("zz", "view") else 5]:
        assert in_buffers(files, symbol, new) == by_command(files, symbol, new), symbol


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_edits_are_of_the_changed_lines_alone(seed: Mapping[str, bytes], end: bytes) -> None:
    files = {name: data.replace(b"\n", end) for name, data in seed.items()}
    symbol = Occurrence(SymbolKind.SECTION, "media-library", "", "policy.csv", 0, 0)
    buffers = {name: Buffer(name, data.decode()) for name, data in files.items()}
    edits = rename_edits(symbol, "new-library", compiled_of(files), buffers, occurrences(buffers))
    lines = [(one.file, buffers[one.file].line_of(one.start)) for one in edits]
    assert [(one.file, buffers[one.file].line_of(one.end)) for one in edits] == lines
    assert len(set(lines)) == len(lines)
    assert all("media-library" in buffers[file].line(line) for file, line in lines)


def test_failing_tests_of_the_policy_do_not_prevent_it(edited: Edited) -> None:
    files = edited("policy.csv", add="p, marketer, billing, view, allow\n")
    assert not compiled_of(files).generation
    symbol = Occurrence(SymbolKind.ROLE, "marketer", "", "policy.csv", 0, 0)
    renamed = in_buffers(files, symbol, "seller")
    assert isinstance(renamed, dict)
    before, after = compiled_of(files).diagnostics, compiled_of(renamed).diagnostics
    assert [(one.code, one.line) for one in before] == [(one.code, one.line) for one in after]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("policy.csv", "p, marketer, billing\n"),
        ("sections.toml", "[sections\n"),
        ("roles.toml", "x\n"),
        ("expectations.csv", "alow, a, b, c\n"),
        ("routes.csv", "x\n"),
        ("model.conf", "x\n"),
    ],
)
def test_other_errors_prevent_it_and_are_named(edited: Edited, name: str, line: str) -> None:
    files = edited(name, add=line)
    symbol = Occurrence(SymbolKind.ROLE, "marketer", "", "policy.csv", 0, 0)
    found = in_buffers(files, symbol, "seller")
    assert isinstance(found, str)
    assert found.startswith("the files have ")
    assert name in found
    with pytest.raises(SymbolRenameError, match="correct them first"):
        check_renamable(symbol, compiled_of(files), ())


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("second-factor", "key", 'the condition "key" exists already'),
        ("second-factor", "Key", '"Key" is not a valid condition id'),
        ("second-factor", "k" * 41, "is not a valid condition id"),
        ("nothing", "key2", 'the condition "nothing" is not declared'),
    ],
)
def test_a_wrong_rename_of_a_condition_is_refused(seed: Mapping[str, bytes], old: str, new: str, reason: str) -> None:
    rows = "deny, accountant, billing, view, without second-factor\n"
    conditions = CONDITIONS + '\n[conditions.key]\nmethods = ["passkey"]\n'
    files = with_needs(seed, "needs, accountant, billing, view, second-factor\n", rows, conditions)
    found = in_buffers(files, Occurrence(SymbolKind.CONDITION, old, "", "needs.csv", 0, 0), new)
    assert isinstance(found, str), found
    assert reason in found
