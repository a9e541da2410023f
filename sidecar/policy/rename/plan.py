"""Plan of a rename: the new files, proven to decide as the old ones under the new name."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.diagnostics import Diagnostic, DiagnosticSink
from sidecar.policy.diff import Difference, RenameChange, diff
from sidecar.policy.generation import Generation
from sidecar.policy.rename.edits import apply_edits, edits_of
from sidecar.policy.rename.target import InvalidRename, RenameTarget
from sidecar.policy.text.format import format_csv


@dataclass(frozen=True, slots=True)
class RenamePlan:
    """Valid rename. ``files``: changed files only. ``lines``: changed lines per file. ``rename``: what it moves."""

    files: Mapping[str, bytes]
    lines: Mapping[str, int]
    rename: RenameChange
    generation: Generation


@dataclass(frozen=True, slots=True)
class RejectedFiles:
    """The files with the new name do not compile. ``diagnostics``: their errors."""

    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class DraftedRename:
    """The files with the new name, compiled. ``rename`` is None without a draft; otherwise no decision differs."""

    compiled: Compiled
    rename: RenameChange | None


def plan_rename(before: Generation, target: RenameTarget) -> RenamePlan | RejectedFiles | InvalidRename:
    """Rename in the files of ``before``, and compare the decisions. Any other decision rejects the rename."""
    changed = renamed_files(before.files, target, before)
    drafted = draft_rename(before, target, changed, ProofScope.START)
    if isinstance(drafted, InvalidRename):
        return drafted
    compiled, rename = drafted.compiled, drafted.rename
    if compiled.generation is None or rename is None:
        return RejectedFiles(tuple(one for one in compiled.diagnostics if one.is_error))
    lines = {name: _lines(before.files[name], data) for name, data in changed.items()}
    return RenamePlan(changed, lines, rename, compiled.generation)


def draft_rename(
    before: Generation, target: RenameTarget, changed: Mapping[str, bytes], proof: ProofScope
) -> DraftedRename | InvalidRename:
    """Compile the changed files, and compare the decisions. Errors of the files are in the result."""
    compiled = compile_policy({**before.files, **changed}, proof=proof)
    if compiled.draft is None:
        return DraftedRename(compiled, None)
    difference = diff(before, compiled.draft, target.renames)
    if difference.cells or difference.routes or difference.roles:
        return InvalidRename(_other_decisions(target, difference))
    return DraftedRename(compiled, difference.renames[0])


def renamed_files(files: Mapping[str, bytes], target: RenameTarget, before: Generation) -> dict[str, bytes]:
    """Return the changed files. A file with aligned columns stays aligned; in others only names change."""
    changed: dict[str, bytes] = {}
    for name, data in files.items():
        text = data.decode()
        edits = edits_of(name, text, target, before.sections)
        if edits:
            changed[name] = aligned_as(name, data, apply_edits(text, edits).encode())
    return changed


def aligned_as(name: str, before: bytes, after: bytes) -> bytes:
    """Return ``after`` with aligned columns if ``before`` has them (`policy fmt`)."""
    if not name.endswith(".csv") or format_csv(before, name, DiagnosticSink()) != before:
        return after
    return format_csv(after, name, DiagnosticSink()) or after


def _lines(before: bytes, after: bytes) -> int:
    """Return the number of changed and added lines."""
    return (Counter(after.split(b"\n")) - Counter(before.split(b"\n"))).total()


def _other_decisions(target: RenameTarget, difference: Difference) -> str:
    cells = [f"{one.role} on {one.section}/{one.action}: {one.before} to {one.after}" for one in difference.cells]
    routes = [f"{one.method} {one.path}: {one.before} to {one.after}" for one in difference.routes]
    found = [*cells, *routes]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    because = "" if target.section == "" else ": a line with * as its section names an action of that name"
    return f'the new name "{target.new}" would change decisions{because} ({found[0]}{more}); write another name'
