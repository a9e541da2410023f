"""Inlay hints per rule, and code lenses with the answers that an edit changes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from lsprotocol import types

from sidecar.policy.coverage import NeedCoverage, RuleCoverage
from sidecar.policy.diff import CellChange, Difference, RouteChange
from sidecar.policy.needs.lines import FILE as NEEDS
from sidecar.policy.rules import FILE as RULES

if TYPE_CHECKING:
    from sidecar.lsp.server import FilePlace, PolicyServer

SHOWN: Final = 3
"""Changes that a lens names."""


def rule_text(found: RuleCoverage) -> str:
    """Return the effect of one rule or ``g`` line on the cells of assignable roles."""
    if not found.fired:
        return "decides nothing"
    if found.fired == 1:
        return "decides 1 cell, alone" if found.decisive else "decides 1 cell, not alone"
    return f"decides {found.fired:,} cells, {found.decisive:,} of them alone"


def need_text(found: NeedCoverage) -> str:
    """Return the effect of one line of needs.csv."""
    if not found.fired:
        return "applies to nothing"
    cells = "1 cell" if found.fired == 1 else f"{found.fired:,} cells"
    return (
        f"applies to {cells}, decides {found.decisive:,} {'row' if found.decisive == 1 else 'rows'} of expectations.csv"
    )


def inlay_hints(place: "FilePlace", wanted: types.Range) -> Iterator[types.InlayHint]:
    """Yield a hint at the end of each rule in a range."""
    coverage = place.snapshot.coverage if place.name in (RULES, NEEDS) else None
    if coverage is None:
        return
    of_rules = ((found.rule.line, rule_text(found)) for found in coverage.rules)
    of_needs = ((found.line.line, need_text(found)) for found in coverage.needs)
    for line, text in of_rules if place.name == RULES else of_needs:
        position = place.positions.position(place.buffer.line_end(line))
        if wanted.start.line <= position.line <= wanted.end.line:
            yield types.InlayHint(position, text, padding_left=True)


def lens_text(difference: Difference) -> str:
    """Return the changed answers in one line; empty without one."""
    changes: list[CellChange | RouteChange] = [*difference.cells, *difference.routes]
    if not changes:
        return ""
    opening = [change for change in changes if change.opens]
    count = f"{len(changes):,} answer{' changes' if len(changes) == 1 else 's change'}"
    opens = f"{len(opening):,} opens" if opening else "none opens"
    named = opening or changes
    examples = ", ".join(map(_named, named[:SHOWN])) + (", …" if len(named) > SHOWN else "")
    return f"{count}, {opens}: {examples}"


def _named(change: CellChange | RouteChange) -> str:
    if isinstance(change, RouteChange):
        return f"{change.method} {change.path} ({change.before} → {change.after})"
    return f"{change.role} {change.section}/{change.action}"


def code_lenses(place: "FilePlace") -> list[types.CodeLens]:
    difference = place.snapshot.difference
    text = "" if difference is None else lens_text(difference)
    if not text:
        return []
    # An empty command: clients show the title, and there is nothing to run.
    return [types.CodeLens(types.Range(types.Position(0, 0), types.Position(0, 0)), types.Command(text, ""))]


def add_features(server: "PolicyServer") -> None:
    """Register the features of this module."""

    @server.feature(types.TEXT_DOCUMENT_INLAY_HINT)
    def of_hints(params: types.InlayHintParams) -> list[types.InlayHint]:
        place = server.place(params.text_document)
        return [] if place is None else list(inlay_hints(place, params.range))

    @server.feature(types.TEXT_DOCUMENT_CODE_LENS)
    def of_lenses(params: types.CodeLensParams) -> list[types.CodeLens]:
        place = server.place(params.text_document)
        return [] if place is None else code_lenses(place)
