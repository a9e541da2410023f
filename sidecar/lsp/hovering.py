"""Hovers: permissions, and the line of each."""

from typing import TYPE_CHECKING

from lsprotocol import types

from sidecar.policy.editing.summaries import summary

if TYPE_CHECKING:
    from sidecar.lsp.server import FilePlace, PolicyServer


def hover(place: "FilePlace", position: types.Position) -> types.Hover | None:
    symbol, generation = place.at(position), place.session.vocabulary
    text = None if symbol is None or generation is None else summary(generation, symbol)
    if symbol is None or text is None:
        return None
    content = types.MarkupContent(types.MarkupKind.Markdown, text)
    return types.Hover(content, place.positions.range(symbol.start, symbol.end))


def add_features(server: "PolicyServer") -> None:
    """Register the feature of this module."""

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def of_hover(params: types.HoverParams) -> types.Hover | None:
        place = server.place(params.text_document)
        return None if place is None else hover(place, params.position)
