"""Completions: the words that can follow, with their titles."""

from typing import TYPE_CHECKING, Final

from lsprotocol import types

from sidecar.policy.editing.completions import Names, WordKind, complete, declared_names
from sidecar.policy.generation import Generation

if TYPE_CHECKING:
    from sidecar.lsp.server import FilePlace, PolicyServer

_KINDS: Final = {
    WordKind.LINE: types.CompletionItemKind.Keyword,
    WordKind.ROLE: types.CompletionItemKind.Class,
    WordKind.SECTION: types.CompletionItemKind.Module,
    WordKind.ACTION: types.CompletionItemKind.Method,
    WordKind.EFFECT: types.CompletionItemKind.Keyword,
    WordKind.CONDITION: types.CompletionItemKind.EnumMember,
    WordKind.METHOD: types.CompletionItemKind.Enum,
    WordKind.TARGET: types.CompletionItemKind.Value,
    WordKind.KEY: types.CompletionItemKind.Property,
    WordKind.VALUE: types.CompletionItemKind.Value,
    WordKind.PATH: types.CompletionItemKind.File,
}
TRIGGERS: Final = (",", " ", "/", "|", '"', "[", "{")


def completion(place: "FilePlace", position: types.Position) -> types.CompletionList:
    found = complete(place.buffer, place.positions.offset(position), _names(place))
    span = place.positions.range(found.start, found.end)
    items = [
        types.CompletionItem(
            word.text,
            kind=_KINDS[word.kind],
            detail=f"{word.kind}: {word.detail}" if word.detail else word.kind.value,
            sort_text=f"{index:04}",
            filter_text=word.text,
            text_edit=types.TextEdit(span, word.text),
        )
        for index, word in enumerate(found.words)
    ]
    return types.CompletionList(is_incomplete=False, items=items)


def _names(place: "FilePlace") -> Names:
    generation = place.session.vocabulary
    paths = () if generation is None else dict.fromkeys(route.path for route in generation.routes.routes)
    return declared_names(place.snapshot.occurrences, paths, {} if generation is None else _titles(generation))


def _titles(generation: Generation) -> dict[tuple[str, str], str]:
    """Return the titles by kind and name."""
    titles = {(WordKind.ROLE.value, role.id): role.title for role in generation.roles.values()}
    titles |= {(WordKind.SECTION.value, section.id): section.title for section in generation.sections.values()}
    return titles | {(WordKind.CONDITION.value, one.name): one.title for one in generation.needs.conditions.values()}


def add_features(server: "PolicyServer") -> None:
    """Register the feature of this module."""

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=list(TRIGGERS)))
    def of_completion(params: types.CompletionParams) -> types.CompletionList:
        place = server.place(params.text_document)
        return (
            types.CompletionList(is_incomplete=False, items=[]) if place is None else completion(place, params.position)
        )
