"""The command ``sidecar``: its verbs, and the exit status of each.

A verb's module is loaded when the verb is called, so that ``policy check`` and ``health`` start without a web server.
Every error ends in an exit status and at most one line on stderr. Only ``--debug`` prints a traceback.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from sidecar import __version__
from sidecar.cli.lazy_group import lazy
from sidecar.cli.output import (
    FAULT,
    OK,
    WRONG,
    CliError,
    OutputLostError,
    abandon_output,
    prepare_streams,
    print_error,
    usage_error,
)

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("sidecar.cli.demo:demo", "Try the sidecar: a temporary one, with four users and curl commands."),
    "serve": ("sidecar.cli.serve:serve", "Serve checks, tokens and users."),
    "init": ("sidecar.cli.init:init", "Write a commented starter policy into a directory."),
    "account": ("sidecar.cli.accounts:account", "Accounts and their seats."),
    "user": ("sidecar.cli.user_links:user", "The users of an account."),
    "pep": ("sidecar.cli.peps:pep", "Keys for gateways and services that query users."),
    "issuer": ("sidecar.cli.issuer:issuer", "The issuer of the store's tokens: change."),
    "keys": ("sidecar.cli.keys:keys", "The keys that sign tokens: rotate, list, revoke."),
    "audit": ("sidecar.cli.audit:audit", "The audit log: export, verify."),
    "policy": ("sidecar.cli.policy:policy", "Check, test and query the policy files."),
    "token": ("sidecar.cli.tokens:token", "Inspect a token."),
    "fsck": ("sidecar.cli.maintenance:fsck", "Check the invariants of the store."),
    "backup": ("sidecar.cli.maintenance:backup", "Write accounts into a file."),
    "restore": ("sidecar.cli.maintenance:restore", "Restore the accounts of a backup."),
    "migrate": ("sidecar.cli.maintenance:migrate", "Migrate the store to this version's schema."),
    "doctor": ("sidecar.cli.doctor:doctor", "Check everything that serve needs."),
    "health": ("sidecar.cli.health:health", "Check the readiness of the running sidecar."),
    "config": ("sidecar.cli.config:config", "Every setting with its value and source."),
    "version": ("sidecar.cli.version:version", "The version."),
}
"""Name → (``module:name``, help line)."""


@click.group(cls=lazy(VERBS), context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="policy-sidecar", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of a fault.")
def sidecar() -> None:
    """A policy-as-code authorization sidecar.

    Gateways send it a check before every request; a Casbin policy file decides. Exit status: 0 yes, 1 the answer is no,
    2 wrong usage or configuration, 3 the store or the server cannot be reached.
    """


def run(argv: Sequence[str]) -> int:
    """Run one command line. Return the exit status."""
    prepare_streams()
    try:
        result: Any = sidecar.main(
            [_text(number, arg) for number, arg in enumerate(argv, 1)], prog_name="sidecar", standalone_mode=False
        )
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return WRONG
    except CliError as stop:
        return _ended(stop.status, stop.format_message())
    except click.ClickException as error:
        return _ended(WRONG, _usage(error))
    except (click.Abort, KeyboardInterrupt):
        return 130
    except (BrokenPipeError, SystemExit):  # click itself exits only on a closed pipe
        return _pipe_closed()
    except OutputLostError as error:
        abandon_output()
        return _ended(WRONG, f"standard output: {error.strerror}")
    except Exception as error:
        if "--debug" in argv:
            raise
        return _failed(error)
    return result if isinstance(result, int) and not isinstance(result, bool) else OK


def _text(number: int, arg: str) -> str:
    """Return the argument decoded as UTF-8, also in a locale with another encoding."""
    try:
        arg.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(arg).decode()
        except UnicodeError:
            raise usage_error(f"argument {number}, {arg[:40]!r}, is not UTF-8: write it in UTF-8") from None
    return arg


def _ended(status: int, message: str) -> int:
    print_error(message)
    return status


def _failed(error: Exception) -> int:
    """Print the error. An unreadable file is the caller's problem (status 2); all else is a fault (status 70)."""
    if isinstance(error, OSError) and error.filename is not None:
        return _ended(WRONG, f"{os.fsdecode(error.filename)}: {error.strerror}")
    return _ended(FAULT, f"internal fault, please report it: {type(error).__name__}: {error} (--debug shows where)")


def _usage(error: click.ClickException) -> str:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    return f"{message} (see {context.command_path} --help)" if context is not None else message


def _pipe_closed() -> int:
    """Exit without a message when the reader of stdout has gone, as ``head`` does. 128 + SIGPIPE."""
    abandon_output()
    return 141
