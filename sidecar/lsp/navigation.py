"""Definitions, references, symbols and renames across the files of a policy."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from lsprotocol import types

from sidecar.lsp.protocol import INVALID_PARAMS, REQUEST_FAILED, RequestError
from sidecar.policy.editing.fields import fields_of
from sidecar.policy.editing.renaming import SymbolRenameError, check_renamable, rename_edits
from sidecar.policy.editing.symbols import Occurrence, SymbolKind

if TYPE_CHECKING:
    from sidecar.lsp.server import FilePlace, PolicyServer

_KINDS: Final = {
    SymbolKind.ROLE: types.SymbolKind.Class,
    SymbolKind.SECTION: types.SymbolKind.Module,
    SymbolKind.ACTION: types.SymbolKind.Method,
    SymbolKind.CONDITION: types.SymbolKind.Boolean,
}


def definition(place: "FilePlace", position: types.Position) -> list[types.Location]:
    symbol = place.at(position)
    if symbol is None:
        return []
    found = [one for one in place.snapshot.occurrences if one.declares and one.names(symbol)]
    return [place.location(one.file, one.start, one.end) for one in found]


def references(place: "FilePlace", position: types.Position, *, declarations: bool) -> list[types.Location]:
    symbol = place.at(position)
    if symbol is None:
        return []
    same = (one for one in place.snapshot.occurrences if one.names(symbol) and (declarations or not one.declares))
    return [place.location(one.file, one.start, one.end) for one in same]


def highlights(place: "FilePlace", position: types.Position) -> list[types.DocumentHighlight]:
    symbol = place.at(position)
    same = (one for one in place.snapshot.occurrences if symbol and one.file == place.name and one.names(symbol))
    return [types.DocumentHighlight(place.positions.range(one.start, one.end)) for one in same]


def prepare_rename(place: "FilePlace", position: types.Position) -> types.Range | None:
    symbol = place.at(position)
    if symbol is None:
        return None
    try:
        check_renamable(symbol, place.snapshot.compiled, place.snapshot.occurrences)
    except SymbolRenameError as error:
        raise RequestError(REQUEST_FAILED, str(error)) from error
    return place.positions.range(symbol.start, symbol.end)


def rename(place: "FilePlace", position: types.Position, new: str) -> types.WorkspaceEdit:
    symbol = place.at(position)
    if symbol is None:
        raise RequestError(REQUEST_FAILED, "there is no role, section, action or condition at this position")
    try:
        now = place.snapshot
        edit = place.workspace_edit(rename_edits(symbol, new, now.compiled, now.buffers, now.occurrences))
    except SymbolRenameError as error:
        raise RequestError(INVALID_PARAMS, str(error)) from error
    if symbol.kind is SymbolKind.ROLE:
        text = f'A sidecar activates this edit only when no user has the role "{symbol.name}".'
        message = types.ShowMessageParams(types.MessageType.Info, text)
        place.server.protocol.notify(types.WINDOW_SHOW_MESSAGE, message)
    return edit


# -- symbols -----------------------------------------------------------------------------------------------------------


def document_symbols(place: "FilePlace") -> list[types.DocumentSymbol]:
    """Return the declarations of a TOML file, the roles of a CSV file, or the sections of the model."""
    if place.name.endswith(".toml"):
        return _declared(place)
    return _groups(place) if place.name.endswith(".csv") else _model_sections(place)


def _declared(place: "FilePlace") -> list[types.DocumentSymbol]:
    found = [one for one in place.snapshot.occurrences if one.file == place.name and one.declares]
    tops = [one for one in found if one.kind is not SymbolKind.ACTION]
    symbols = []
    for index, one in enumerate(tops):
        end = tops[index + 1].start if index + 1 < len(tops) else len(place.buffer.text)
        buffer = place.buffer
        last = buffer.line_of(max(one.end, end - 1)) if index + 1 == len(tops) else buffer.line_of(end) - 1
        whole = (buffer.line_start(buffer.line_of(one.start)), max(one.end, buffer.line_end(max(last, 1))))
        actions = [_symbol(place, act) for act in found if act.kind is SymbolKind.ACTION and act.section == one.name]
        symbols.append(_symbol(place, one, whole, actions))
    return symbols


def _symbol(
    place: "FilePlace",
    one: Occurrence,
    whole: tuple[int, int] | None = None,
    children: list[types.DocumentSymbol] | None = None,
) -> types.DocumentSymbol:
    selection = place.positions.range(one.start, one.end)
    span = selection if whole is None else place.positions.range(*whole)
    return types.DocumentSymbol(one.name, _KINDS[one.kind], span, selection, detail=one.kind, children=children)


def _groups(place: "FilePlace") -> list[types.DocumentSymbol]:
    """Return one symbol per run of lines with the same subject: the role, or the section of a route test."""
    symbols: list[types.DocumentSymbol] = []
    groups: dict[str, list[int]] = {}
    for line, subject in _subjects(place):
        groups.setdefault(subject, []).append(line)
    kind = types.SymbolKind.Module if place.name == "routes.csv" else types.SymbolKind.Class
    for subject, lines in groups.items():
        children = [
            types.DocumentSymbol(
                place.buffer.line(line).strip() or subject, types.SymbolKind.Field, span := _line(place, line), span
            )
            for line in lines
        ]
        whole = types.Range(children[0].range.start, children[-1].range.end)
        detail = f"{len(lines)} lines" if len(lines) > 1 else "1 line"
        symbols.append(types.DocumentSymbol(subject, kind, whole, children[0].range, detail=detail, children=children))
    return symbols


def _subjects(place: "FilePlace") -> Iterator[tuple[int, str]]:
    index = 0 if place.name == "routes.csv" else 1
    for line in range(1, len(place.buffer.starts) + 1):
        fields = fields_of(place.buffer, line)
        subject = fields[index].text.partition("/")[0].strip() if len(fields) > index else ""
        if subject:
            yield line, subject


def _model_sections(place: "FilePlace") -> list[types.DocumentSymbol]:
    lines = range(1, len(place.buffer.starts) + 1)
    headers = [(line, place.buffer.line(line).strip()) for line in lines]
    return [
        types.DocumentSymbol(text[1:-1], types.SymbolKind.Namespace, span := _line(place, line), span)
        for line, text in headers
        if text.startswith("[") and text.endswith("]") and len(text) > 2
    ]


def _line(place: "FilePlace", line: int) -> types.Range:
    return place.positions.range(place.buffer.line_start(line), place.buffer.line_end(line))


def add_features(server: "PolicyServer") -> None:
    """Register the features of this module."""

    @server.feature(types.TEXT_DOCUMENT_DEFINITION)
    def of_definition(params: types.DefinitionParams) -> list[types.Location]:
        place = server.place(params.text_document)
        return [] if place is None else definition(place, params.position)

    @server.feature(types.TEXT_DOCUMENT_REFERENCES)
    def of_references(params: types.ReferenceParams) -> list[types.Location]:
        place = server.place(params.text_document)
        if place is None:
            return []
        return references(place, params.position, declarations=params.context.include_declaration)

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    def of_highlight(params: types.DocumentHighlightParams) -> list[types.DocumentHighlight]:
        place = server.place(params.text_document)
        return [] if place is None else highlights(place, params.position)

    @server.feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
    def of_prepare(params: types.PrepareRenameParams) -> types.Range | None:
        place = server.place(params.text_document)
        return None if place is None else prepare_rename(place, params.position)

    @server.feature(types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True))
    def of_rename(params: types.RenameParams) -> types.WorkspaceEdit:
        place = server.place(params.text_document)
        if place is None:
            raise RequestError(REQUEST_FAILED, "the file belongs to no policy")
        return rename(place, params.position, params.new_name)

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def of_symbols(params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
        place = server.place(params.text_document)
        return [] if place is None else document_symbols(place)
