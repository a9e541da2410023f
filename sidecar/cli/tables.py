"""Tables on a terminal of any width. Ids, e-mails and keys are never broken, so that they can be copied.

Cells wrap between words. Free-text columns may break a path, and are omitted with a notice when they do not fit. If the
other columns do not fit, each row becomes a block of lines.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP: Final = 2
LEAST: Final = 16
"""Minimum width of a free-text column."""
FREE: Final = frozenset({"because", "check", "detail", "source", "text", "value"})


def draw(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    console = Console(highlight=False)
    least = [_least(column, [row[at] for row in cells]) for at, column in enumerate(columns)]
    fits = [at for at, column in enumerate(columns) if column not in FREE]
    if _width(least, range(len(columns))) <= console.width:
        fits = list(range(len(columns)))
    elif len(fits) < 2 or _width(least, fits) > console.width:
        _blocks(console, columns, cells)
        return
    widths = {at: least[at] for at in fits}
    _grow(widths, {at: _natural(columns[at], [row[at] for row in cells]) for at in fits}, console.width)
    console.print(_table(columns, cells, widths))
    left_out = [column for at, column in enumerate(columns) if at not in fits]
    if left_out:
        console.print(f"(omitted at width {console.width}: {', '.join(left_out)}; --json prints all)")


def _least(column: str, cells: Sequence[str]) -> int:
    """Return the length of the longest word. A path in free text counts at most LEAST."""
    words = {word: cell_len(word) for text in (column, *cells) for word in text.split()}
    paths = {word for word in words if "/" in word} if column in FREE else set()
    return max((min(size, LEAST) if word in paths else size for word, size in words.items()), default=0)


def _width(least: Sequence[int], chosen: Sequence[int]) -> int:
    return sum(least[at] for at in chosen) + GAP * (len(chosen) - 1)


def _natural(column: str, cells: Sequence[str]) -> int:
    return max(map(cell_len, (column, *cells)))


def _grow(widths: dict[int, int], natural: Mapping[int, int], whole: int) -> None:
    """Distribute the remaining width over the columns. rich's own layout would crop the last ones."""
    left = whole - sum(widths.values()) - GAP * (len(widths) - 1)
    while left > 0 and (short := [at for at in widths if widths[at] < natural[at]]):
        for at in short[:left]:
            widths[at] += 1
        left -= len(short)


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]], widths: Mapping[int, int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, width in widths.items():
        table.add_column(columns[at], overflow="fold", width=width)
    for row in cells:
        table.add_row(*(Text(row[at]) for at in widths))
    return table


def _blocks(console: Console, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print one line per cell, and an empty line between rows. Lines wrapped by the terminal are copied whole."""
    label = max(map(len, columns))
    for number, row in enumerate(cells):
        if number:
            console.print()
        for column, cell in zip(columns, row, strict=True):
            line = Text.assemble((column.ljust(label), "bold"), "  ", cell)
            line.rstrip()
            console.print(line, soft_wrap=True)
