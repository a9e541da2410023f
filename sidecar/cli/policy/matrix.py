"""``sidecar policy matrix``: the grid of a policy, sections and actions down, roles across."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Final

import click

from sidecar.cli.output import OK, print_json
from sidecar.cli.policy.policy_source import Source, draft_of, files_options, source_from
from sidecar.cli.policy.query import as_dict, known
from sidecar.policy import grid as grids
from sidecar.policy.generation import Generation
from sidecar.policy.grid import Grid, grid_of

FORMATS: Final = ("table", "csv", "markdown", "json")
GAP: Final = 2
PIPE_WIDTH: Final = 80
"""Columns of a table that is not printed on a terminal."""

_STYLES: Final = {grids.ALLOW: "green", grids.DENY: "red", grids.NO_RULE: "dim"}
"""Colours repeat the word of a cell. None of them is its only mark."""


@click.command()
@files_options
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="Only this role; may be repeated.")
@click.option("--section", "sections", multiple=True, metavar="SECTION", help="Only this section; may be repeated.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="Output format.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def matrix(roles: tuple[str, ...], sections: tuple[str, ...], form: str, as_json: bool, **flags: str | None) -> int:
    """Print a grid of all decisions: sections and actions down, roles across.

    In the table `-` is a cell that no rule allows, and `deny` one that a rule denies. A number beside `allow` stands
    for needs, which are listed below. --format json also names the deciding rule of each cell.
    """
    source = source_from(flags)
    generation = draft_of(source)
    for role in roles:
        known("role", role, generation.roles)
    for section in sections:
        known("section", section, generation.sections)
    grid = grid_of(generation, roles, sections)
    match "json" if as_json else form:
        case "json":
            print_json({"generation": generation.id, "cells": _cells(source, generation, grid)})
        case "csv":
            click.echo(grids.as_csv(grid), nl=False)
        case "markdown":
            click.echo(grids.as_markdown(grid), nl=False)
        case _:
            _print_table(grid)
    return OK


def _cells(source: Source, generation: Generation, grid: Grid) -> list[dict[str, object]]:
    """Return the cells by role, in the form of the API."""
    found = []
    for at, role in enumerate(grid.roles):
        for row in grid.rows:
            cell = as_dict(source, role, row.section, row.action, generation.cells[role, row.section, row.action])
            needs = [list(line) for line in row.cells[at].needs]
            found.append({**cell, **({"needs": needs} if needs else {})})
    return found


# -- table -------------------------------------------------------------------------------------------------------------


def _print_table(grid: Grid) -> None:
    width = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns if sys.stdout.isatty() else PIPE_WIDTH
    notes = grids.footnotes(grid)
    blocks = grids.blocks(grid, notes, width, GAP)
    lines = _tree(grid, notes) if blocks is None else _blocks(grid, notes, blocks)
    _print_lines(lines)
    if any(cell.word == grids.NO_RULE for row in grid.rows for cell in row.cells):
        _print_lines([[("", "")], [(f"{grids.NO_RULE}: no rule allows it", "")]])
    for text, number in notes.items():
        wrapped = wrap(f"{number}: needs {text}", width, break_long_words=False, break_on_hyphens=False)
        _print_lines([(line, "")] for line in wrapped)


Line = list[tuple[str, str]]
"""Pieces of a line, each with its style."""


def _blocks(grid: Grid, notes: dict[str, int], blocks: Iterable[Sequence[int]]) -> list[Line]:
    """Return one table per block of roles, with the names of sections and actions in each."""
    lines: list[Line] = []
    for block in blocks:
        rows: list[list[tuple[str, str]]] = [
            [("section", "bold"), ("action", "bold"), *((grid.roles[at], "bold") for at in block)]
        ]
        for row in grid.rows:
            cells = [(grids.short(row.cells[at], notes), _STYLES[row.cells[at].word]) for at in block]
            rows.append([(row.section, ""), (row.action, ""), *cells])
        widths = [max(len(row[at][0]) for row in rows) for at in range(len(rows[0]))]
        if lines:
            lines.append([("", "")])
        lines += ([_padded(piece, width) for piece, width in zip(row, widths, strict=True)] for row in rows)
    return lines


def _padded(piece: tuple[str, str], width: int) -> tuple[str, str]:
    return piece[0].ljust(width + GAP), piece[1]


def _tree(grid: Grid, notes: dict[str, int]) -> list[Line]:
    """Return one line per cell below its section and action, for names that are too long for a table."""
    lines: list[Line] = []
    for row in grid.rows:
        lines += [[(row.section, "bold")], [(f" {row.action}", "bold")]]
        for role, cell in zip(grid.roles, row.cells, strict=True):
            lines.append([(f"  {role} ", ""), (grids.short(cell, notes), _STYLES[cell.word])])
    return lines


def _print_lines(lines: Iterable[Line]) -> None:
    if not sys.stdout.isatty():
        for line in lines:
            click.echo("".join(text for text, _ in line).rstrip())
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for line in lines:
        text = Text.assemble(*line)
        text.rstrip()
        console.print(text, soft_wrap=True)
