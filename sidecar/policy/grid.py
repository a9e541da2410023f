"""Grid of a policy: sections and actions down, roles across."""

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.policy.decision_table import Ruling
from sidecar.policy.generation import Generation
from sidecar.policy.markdown import code, table_head, table_row

ALLOW: Final = "allow"
DENY: Final = "deny"
NO_RULE: Final = "-"
"""Cell that no rule allows, in a table for people. In CSV and Markdown it is `DENY`."""


@dataclass(frozen=True, slots=True)
class GridCell:
    """Decision of one role. ``needs``: the conditions of each line that applies; one of each line must be met."""

    word: str
    needs: tuple[tuple[str, ...], ...] = ()

    @property
    def needs_text(self) -> str:
        return "; ".join(" | ".join(line) for line in self.needs)

    @property
    def text(self) -> str:
        """Return the whole cell in words."""
        word = DENY if self.word == NO_RULE else self.word
        return f"{word} if {self.needs_text}" if self.needs else word


@dataclass(frozen=True, slots=True)
class GridRow:
    """Cells of one action, in the order of the grid's roles."""

    section: str
    action: str
    cells: tuple[GridCell, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """All cells of the chosen roles and sections."""

    roles: tuple[str, ...]
    rows: tuple[GridRow, ...]


def grid_of(policy: Generation, roles: Collection[str] = (), sections: Collection[str] = ()) -> Grid:
    """Return the grid of these roles and sections, by default of all, in the order of the files."""
    chosen = tuple(role for role in policy.roles if not roles or role in roles)
    rows = tuple(
        GridRow(section.id, action, tuple(_cell(policy, role, section.id, action) for role in chosen))
        for section in policy.sections.values()
        if not sections or section.id in sections
        for action in section.actions
    )
    return Grid(chosen, rows)


def _cell(policy: Generation, role: str, section: str, action: str) -> GridCell:
    ruling: Ruling = policy.cells[role, section, action]
    if not ruling.allowed:
        return GridCell(NO_RULE if ruling.rule is None else DENY)
    return GridCell(ALLOW, tuple(line.conditions for line in policy.needs.lines_of(role, section, action)))


def as_csv(grid: Grid) -> str:
    """Return the grid as CSV, with the needs of a cell behind ``if``."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(("section", "action", *grid.roles))
    writer.writerows((row.section, row.action, *(cell.text for cell in row.cells)) for row in grid.rows)
    return written.getvalue()


def as_markdown(grid: Grid) -> str:
    """Return the grid as a Markdown table. Each name is in a code span."""
    lines = table_head("section", "action", *map(code, grid.roles))
    lines += (table_row(code(row.section), code(row.action), *map(_marked, row.cells)) for row in grid.rows)
    return "\n".join(lines) + "\n"


def _marked(cell: GridCell) -> str:
    word = DENY if cell.word == NO_RULE else cell.word
    if not cell.needs:
        return word
    return f"{word} if {' and '.join(' or '.join(map(code, line)) for line in cell.needs)}"


def footnotes(grid: Grid) -> dict[str, int]:
    """Number the different needs of the grid, in the order of its cells."""
    texts = dict.fromkeys(cell.needs_text for row in grid.rows for cell in row.cells if cell.needs)
    return {text: number for number, text in enumerate(texts, start=1)}


def short(cell: GridCell, notes: dict[str, int]) -> str:
    """Return the cell for a narrow column: its word, and the number of its needs."""
    return f"{cell.word} {notes[cell.needs_text]}" if cell.needs else cell.word


def blocks(grid: Grid, notes: dict[str, int], width: int, gap: int) -> list[Sequence[int]] | None:
    """Return the columns of roles per block of a table, so that no line is wider than ``width``.

    None: not even one role fits beside the names of sections and actions.
    """
    head = sum(max(map(len, (name, *names))) + gap for name, names in _names(grid))
    found: list[list[int]] = []
    left = 0
    for at, role in enumerate(grid.roles):
        column = max(len(role), *(len(short(row.cells[at], notes)) for row in grid.rows)) if grid.rows else len(role)
        if head + column > width:
            return None
        if not found or left < column + gap:
            found.append([])
            left = width - head + gap
        found[-1].append(at)
        left -= column + gap
    return list(found)


def _names(grid: Grid) -> list[tuple[str, list[str]]]:
    return [("section", [row.section for row in grid.rows]), ("action", [row.action for row in grid.rows])]
