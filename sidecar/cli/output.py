"""Output of a verb: tables on a terminal, aligned text in a pipe, JSON with ``--json``; and its exit status.

Control characters in users' texts are escaped, because a terminal would obey them. Every verb has all standard streams,
and they accept any character. A full disk or a closed stream is reported as the caller's problem, not as a fault of the
program.
"""

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO, TypeVar

import click
import msgspec

F = TypeVar("F", bound=Callable[..., Any])

OK, NO, WRONG, UNREACHABLE, FAULT = 0, 1, 2, 3, 70
"""Exit statuses: README.md beside this file, and 70 for a fault of the program itself (sysexits' EX_SOFTWARE)."""


class CliError(click.ClickException):
    """Ends the verb with an exit status and one line on stderr."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def answer_no(message: str) -> CliError:
    """Return the error for a negative answer (status 1)."""
    return CliError(NO, message)


def usage_error(message: str) -> CliError:
    """Return the error for wrong usage or configuration (status 2)."""
    return CliError(WRONG, message)


def unavailable(message: str) -> CliError:
    """Return the error for an unreachable store or server (status 3)."""
    return CliError(UNREACHABLE, message)


def json_option(verb: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(verb)


def print_error(message: str) -> None:
    """Print one line on stderr, with control characters escaped."""
    click.echo(f"sidecar: {plain(message)}", err=True)


def print_json(value: object) -> None:
    """Print a value. Structs are printed with the members of their response in the API."""
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(value, ensure_ascii=False, indent=indent, default=msgspec.to_builtins))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table for people. Programs use ``--json``."""
    cells = [[plain("" if cell is None else str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from sidecar.cli.tables import draw

        draw(columns, cells)
        return
    lines = [[column.upper() for column in columns], *cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_pairs(pairs: Mapping[str, object]) -> None:
    """Print one object, with one line per field."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        click.echo(f"{name.ljust(width)}  {plain('' if value is None else str(value))}".rstrip())


def plain(text: str) -> str:
    """Return the text as one line, with unprintable characters escaped."""
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text)


# -- standard streams --------------------------------------------------------------------------------------------------


class OutputLostError(OSError):
    """A write to standard output failed."""


class _Output(io.FileIO):
    """Standard output with its own error class. A broken pipe is not an error."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLostError(error.errno, error.strerror) from None


def prepare_streams() -> None:
    """Open missing standard streams once, at the start. Replaced streams (as in tests) stay."""
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stdout is None:  # reserves the number, so that no other file gets it; writes fail
        sys.stdout = _output(os.open(os.devnull, os.O_RDONLY), "utf-8")
    elif (own := sys.__stdout__) is not None and sys.stdout is own:
        sys.stdout = _output(own.fileno(), own.encoding)
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def abandon_output() -> None:
    """Discard buffered output, so that Python's final flush does not fail too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _output(number: int, encoding: str) -> TextIO:
    raw = io.BufferedWriter(_Output(number, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=os.isatty(number))
