"""Rename of a name in buffers. Roles, sections and actions are renamed as by `policy rename`; conditions only here."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from sidecar.policy.compiler import Compiled, ProofScope
from sidecar.policy.editing.buffers import Buffer, BufferEdit
from sidecar.policy.editing.symbols import Occurrence, SymbolKind
from sidecar.policy.generation import Generation
from sidecar.policy.needs.conditions import CONDITION_NAME
from sidecar.policy.rename.names import RenameKind
from sidecar.policy.rename.plan import draft_rename, renamed_files
from sidecar.policy.rename.target import InvalidRename, find_target, read_target
from sidecar.policy.rules import ANY

T = TypeVar("T")


class SymbolRenameError(ValueError):
    """Rename that the files do not allow. The message names the reason."""


def rename_edits(
    symbol: Occurrence, new: str, compiled: Compiled, buffers: Mapping[str, Buffer], known: Iterable[Occurrence]
) -> list[BufferEdit]:
    """Return the edits that rename a symbol in all files. Raises SymbolRenameError."""
    draft = _valid_draft(compiled)
    if symbol.kind is SymbolKind.CONDITION:
        return _condition_edits(symbol, new, list(known))
    target = _accepted(read_target(RenameKind(symbol.kind), _old(symbol), new, draft.roles, draft.sections))
    changed = renamed_files({name: one.text.encode() for name, one in buffers.items()}, target, draft)
    renamed = _accepted(draft_rename(draft, target, changed, ProofScope.NONE))
    before, after = _errors(compiled), _errors(renamed.compiled)
    if len(after) > len(before):
        added = next(one for one in after if one not in before)
        raise SymbolRenameError(f"with the new name, the files would have this error: {added}")
    return [edit for name, data in changed.items() for edit in _line_edits(buffers[name], data.decode())]


def check_renamable(symbol: Occurrence, compiled: Compiled, known: Iterable[Occurrence]) -> None:
    """Raise SymbolRenameError for files with errors, names of the sidecar itself, and undeclared names."""
    draft = _valid_draft(compiled)
    if symbol.kind is not SymbolKind.CONDITION:
        _accepted(find_target(RenameKind(symbol.kind), _old(symbol), draft.roles, draft.sections))
    elif not any(one.declares and one.names(symbol) for one in known):
        raise SymbolRenameError(f'the condition "{symbol.name}" is not declared: there is nothing to rename')


def _accepted(found: T | InvalidRename) -> T:
    if isinstance(found, InvalidRename):
        raise SymbolRenameError(found.message)
    return found


def _valid_draft(compiled: Compiled) -> Generation:
    """Return the policy. Its own tests may fail, because a buffer is often half an edit."""
    if compiled.draft is None or not compiled.valid:
        count = len(_errors(compiled))
        raise SymbolRenameError(f"the files have {count:,} errors, such as {_errors(compiled)[0]}: correct them first")
    return compiled.draft


def _errors(compiled: Compiled) -> list[str]:
    return [f"{one.file}:{one.line}: {one.code}: {one.message}" for one in compiled.diagnostics if one.is_error]


def _old(symbol: Occurrence) -> str:
    """Return the name as a command takes it. An action of all sections is a bare one."""
    bare = symbol.kind is not SymbolKind.ACTION or symbol.section == ANY
    return symbol.name if bare else f"{symbol.section}/{symbol.name}"


def _condition_edits(symbol: Occurrence, new: str, known: list[Occurrence]) -> list[BufferEdit]:
    same = [one for one in known if one.names(symbol)]
    taken = any(one.kind is SymbolKind.CONDITION and one.name == new for one in known)
    if not any(one.declares for one in same):
        raise SymbolRenameError(f'the condition "{symbol.name}" is not declared: there is nothing to rename')
    if not CONDITION_NAME.fullmatch(new):
        raise SymbolRenameError(f'"{new}" is not a valid condition id: an id is 1 to 40 of a-z, 0-9 and -')
    if taken:
        raise SymbolRenameError(f'the condition "{new}" exists already: write another name')
    return [BufferEdit(one.file, one.start, one.end, new) for one in same]


def _line_edits(buffer: Buffer, text: str) -> Iterator[BufferEdit]:
    """Yield the edits from the text of a buffer to a new text: one per changed line, or one in all if lines move."""
    before, after = buffer.text.split("\n"), text.split("\n")
    if len(before) != len(after):
        before, after = [buffer.text], [text]
    start = 0
    for old, new in zip(before, after, strict=True):
        if old != new:
            head = _common(old, new)
            tail = _common(old[head:][::-1], new[head:][::-1])
            yield buffer.replace(start + head, start + len(old) - tail, new[head : len(new) - tail])
        start += len(old) + 1


def _common(one: str, other: str) -> int:
    """Return the number of equal characters at the start of both."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))
