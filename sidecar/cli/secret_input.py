"""Input of secrets: standard input, or typed without echo. All users of the machine can read a command line."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from sidecar.cli.output import usage_error

F = TypeVar("F", bound=Callable[..., Any])
MOST = 64 * 1024


def password_option(verb: F) -> F:
    return click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")(verb)


def read_password(*, from_stdin: bool) -> str:
    """Read the password from standard input if requested, otherwise twice from the terminal."""
    if from_stdin:
        return read_secret("password")
    if not sys.stdin.isatty():
        raise usage_error("no terminal to ask for the password: use --password-stdin")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return typed


def read_secret(what: str) -> str:
    """Read all of standard input, without the final newline."""
    raw = sys.stdin.buffer.read(MOST + 1)
    if len(raw) > MOST:
        raise usage_error(f"the {what} on standard input is too long")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise usage_error(f"the {what} on standard input is not UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise usage_error(f"there is no {what} on standard input")
    return text
