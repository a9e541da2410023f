"""Code actions: a quick fix for each hint that has an edit, and the missing tests of the whole policy."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from lsprotocol import types

from sidecar.lsp.publishing import per_file, places_of, span_of, to_protocol
from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode
from sidecar.policy.editing.missing import missing_edits
from sidecar.policy.editing.quick_fixes import Finding, fixes_of

if TYPE_CHECKING:
    from sidecar.lsp.server import FilePlace, PolicyServer

MISSING_TITLE: Final = "Write the missing expectations"
MISSING_KIND: Final = "source.writeMissingExpectations"
MAX_FINDINGS: Final = 200
"""Maximum findings of a range that get their fixes."""
_GAPS: Final = frozenset(
    (DiagnosticCode.MISSING_EXPECTATION, DiagnosticCode.UNTESTED_ROUTE, DiagnosticCode.UNTESTED_NEED)
)


def code_actions(place: "FilePlace", wanted: types.Range, only: list[str] | None) -> Iterator[types.CodeAction]:
    """Yield the fixes of the findings in a range, and the missing tests."""
    start, end = place.positions.offset(wanted.start), place.positions.offset(wanted.end)
    gap = None
    if _is_wanted(types.CodeActionKind.QuickFix, only):
        found = per_file(place.snapshot.compiled.diagnostics).get(place.name, [])
        touched = [one for one in found if _touches(place, one, start, end)][:MAX_FINDINGS]
        for line, column, diagnostic in touched:
            shown = list(to_protocol([(line, column, diagnostic)], place.buffer, place.positions))
            yield from _fixes(place, diagnostic, (line, column), shown)
            gap = shown if diagnostic.code in _GAPS else gap
    edits = missing_edits(place.snapshot.compiled, place.snapshot.buffers)
    if edits and gap is not None:
        kind = types.CodeActionKind.QuickFix
        yield types.CodeAction(MISSING_TITLE, kind=kind, diagnostics=gap, edit=place.workspace_edit(edits))
    elif edits and _is_wanted(MISSING_KIND, only):
        yield types.CodeAction(MISSING_TITLE, kind=MISSING_KIND, edit=place.workspace_edit(edits))


def _touches(place: "FilePlace", found: tuple[int, int, Diagnostic], start: int, end: int) -> bool:
    first, last = span_of(place.buffer, found[0], found[1])
    return first <= end and start <= last


def _fixes(
    place: "FilePlace", diagnostic: Diagnostic, at: tuple[int, int], shown: list[types.Diagnostic]
) -> Iterator[types.CodeAction]:
    everywhere = tuple((line, column) for file, line, column in places_of(diagnostic) if file == place.name)
    finding = Finding(
        diagnostic.code,
        place.name,
        *at,
        diagnostic.message,
        diagnostic.hint,
        place.snapshot.buffers,
        everywhere if len(everywhere) > 1 else (),
    )
    for one in fixes_of(finding):
        yield types.CodeAction(
            one.title,
            kind=types.CodeActionKind.QuickFix,
            diagnostics=shown,
            is_preferred=one.certain or None,
            edit=place.workspace_edit(one.edits),
        )


def _is_wanted(kind: str, only: list[str] | None) -> bool:
    """Return whether the client asks for a kind or for one that contains it."""
    return only is None or any(kind == one or kind.startswith(f"{one}.") or not one for one in only)


def add_features(server: "PolicyServer") -> None:
    """Register the feature of this module."""
    kinds: list[types.CodeActionKind | str] = [types.CodeActionKind.QuickFix, MISSING_KIND]

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=kinds))
    def of_actions(params: types.CodeActionParams) -> list[types.CodeAction]:
        place = server.place(params.text_document)
        only = params.context.only
        kinds_wanted = None if only is None else [str(one.value if hasattr(one, "value") else one) for one in only]
        return [] if place is None else list(code_actions(place, params.range, kinds_wanted))
