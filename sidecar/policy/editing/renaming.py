"""Rename of a role, a section, an action or a condition: the edits of all files, or the reason against it."""

from collections.abc import Iterable

from sidecar.policy.editing.buffers import BufferEdit
from sidecar.policy.editing.symbols import Occurrence, SymbolKind
from sidecar.policy.needs.conditions import CONDITION_NAME
from sidecar.policy.rename.target import OWN_ACTIONS, OWN_ROLES
from sidecar.policy.rules import ANY
from sidecar.policy.text.csv_reader import NAME, NAME_FORM


class SymbolRenameError(ValueError):
    """Rename that the files do not allow. The message names the reason."""


def rename_edits(symbol: Occurrence, new: str, known: Iterable[Occurrence]) -> list[BufferEdit]:
    """Return the edits that rename a symbol in all files. Raises SymbolRenameError."""
    known = list(known)
    check_renamable(symbol, known)
    _check_name(symbol, new, known)
    same = [one for one in known if one.names(symbol) and one.section != ANY]
    if symbol.kind is SymbolKind.ACTION:
        same += _wide_actions(symbol, known)
    return [BufferEdit(one.file, one.start, one.end, new) for one in same]


def check_renamable(symbol: Occurrence, known: Iterable[Occurrence]) -> None:
    """Raise SymbolRenameError for names of the sidecar itself, and for undeclared ones."""
    kind, name = symbol.kind, symbol.name
    if kind is SymbolKind.ROLE and name in OWN_ROLES:
        raise SymbolRenameError(f'the role "{name}" is the sidecar\'s own and cannot be renamed')
    section = symbol.section if kind is SymbolKind.ACTION else name
    if kind in (SymbolKind.SECTION, SymbolKind.ACTION) and section in OWN_ACTIONS:
        raise SymbolRenameError(f'the section "{section}" is the sidecar\'s own and cannot be renamed, nor its actions')
    if kind is SymbolKind.ACTION and section == ANY:
        raise SymbolRenameError(f'"{name}" here is an action of all sections: rename it at one section')
    if not any(one.declares and one.names(symbol) for one in known):
        raise SymbolRenameError(f'the {kind} "{name}" is not declared: there is nothing to rename')


def _check_name(symbol: Occurrence, new: str, known: Iterable[Occurrence]) -> None:
    is_condition = symbol.kind is SymbolKind.CONDITION
    if not (CONDITION_NAME if is_condition else NAME).fullmatch(new):
        form = "1 to 40 of a-z, 0-9 and -" if is_condition else NAME_FORM
        raise SymbolRenameError(f'"{new}" is not a valid name: a name is {form}')
    taken = Occurrence(symbol.kind, new, symbol.section, "", 0, 0)
    if new != symbol.name and any(one.names(taken) for one in known if one.section != ANY):
        raise SymbolRenameError(f'the {symbol.kind} "{new}" exists already: choose another name')


def _wide_actions(symbol: Occurrence, known: Iterable[Occurrence]) -> list[Occurrence]:
    """Return the places that name the action in all sections.

    Raises SymbolRenameError if another section has the action too.
    """
    of_name = [one for one in known if one.kind is SymbolKind.ACTION and one.name == symbol.name]
    wide = [one for one in of_name if one.section == ANY]
    if wide and any(one.declares and one.section != symbol.section for one in of_name):
        raise SymbolRenameError(
            f'{wide[0].file} names "{symbol.name}" of all sections: write these rules per section first'
        )
    return wide
