"""What a verb says: a table on a terminal, aligned text in a pipe, JSON with ``--json``; and how it ends.

Text from people is never trusted with the terminal: control characters are shown, not sent.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

OK, NO, WRONG, UNREACHABLE, FAULT = 0, 1, 2, 3, 70
"""Exit statuses: README, "Command line", and 70 for a fault of the program itself (sysexits' EX_SOFTWARE)."""


class Stop(click.ClickException):
    """The verb ends here, with one line on stderr."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def no(message: str) -> Stop:
    """The answer is no."""
    return Stop(NO, message)


def wrong(message: str) -> Stop:
    """Usage or configuration is wrong."""
    return Stop(WRONG, message)


def unreachable(message: str) -> Stop:
    """The store or the server does not answer."""
    return Stop(UNREACHABLE, message)


def json_option(verb: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(verb)


def complain(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    click.echo(f"sidecar: {plain(message)}", err=True)


def say_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people. Who wants to read it by program takes ``--json``."""
    cells = [[plain("" if cell is None else str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich(columns, cells)
        return
    lines = [[column.upper() for column in columns], *cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def say_pairs(pairs: Mapping[str, object]) -> None:
    """One thing, a line for each of its sides."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        click.echo(f"{name.ljust(width)}  {plain('' if value is None else str(value))}".rstrip())


def _rich(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def plain(text: str) -> str:
    """One line without anything that a terminal would obey."""
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text)
