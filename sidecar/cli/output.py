"""What a verb says: a table on a terminal, aligned text in a pipe, JSON with ``--json``; and how it ends.

Text from people is never trusted with the terminal: control characters are shown, not sent. The standard streams are
there for every verb, hold any character, and are known when they fail: a full disk or a closed stream is the condition
of whoever called us, not a fault of the program.
"""

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO, TypeVar

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
        from sidecar.cli.tables import draw

        draw(columns, cells)
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


def plain(text: str) -> str:
    """One line without anything that a terminal would obey."""
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text)


# -- the standard streams ----------------------------------------------------------------------------------------------


class OutputLost(OSError):
    """Standard output did not take what was written."""


class _Output(io.FileIO):
    """Tells its own failures apart from those of all other files. That nobody reads any more is no failure."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(error.errno, error.strerror) from None


def prepare_streams() -> None:
    """Once, at the start. What somebody has put in the place of the process's own streams stays as it is."""
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stdout is None:  # its number is kept from the next file, and what is written to it fails
        sys.stdout = _output(os.open(os.devnull, os.O_RDONLY), "utf-8")
    elif (own := sys.__stdout__) is not None and sys.stdout is own:
        sys.stdout = _output(own.fileno(), own.encoding)
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def abandon_output() -> None:
    """What is still to be written goes nowhere: Python's own last flush must not fail as well."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _output(number: int, encoding: str) -> TextIO:
    raw = io.BufferedWriter(_Output(number, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=os.isatty(number))
