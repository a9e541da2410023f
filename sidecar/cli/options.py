"""Settings as options of a verb: ``--lease`` for ``SIDECAR_LEASE``, with the help text of the settings table."""

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from sidecar.cli.output import print_error, usage_error
from sidecar.config.parsers import boolean
from sidecar.config.settings import ROWS, Row, Settings, SettingsError, load
from sidecar.config.sources import spell_env, spell_flag

F = TypeVar("F", bound=Callable[..., Any])

STORE = (
    *("redis_url", "state_dir", "keys_dir", "keys_group_read"),
    *("policy_dir", "model", "public_url", "issuer", "audience"),
)
"""Settings of every verb that works on the store: its place, keys and names."""


def settings_options(names: Iterable[str] = ROWS) -> Callable[[F], F]:
    """Add ``--config`` and the named settings. The verb receives them as keyword arguments, None when not given."""

    def add(verb: F) -> F:
        for name in reversed(list(names)):
            if ROWS[name].secret:
                verb = _file_option(name)(verb)
            verb = _option(name, ROWS[name])(verb)
        return click.option("--config", metavar="FILE", help="TOML file of settings. [SIDECAR_CONFIG]")(verb)

    return add


def _option(name: str, row: Row) -> Callable[[F], F]:
    default = f" [default: {row.default}]" if isinstance(row.default, str) and row.default else ""
    # A bare --plaintext means true; click needs the value for an option without one.
    yes: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if row.parse is boolean else {}
    about = f"{row.about} [{spell_env(name)}]{default}"
    return click.option(spell_flag(name), name, metavar=_metavar(row), help=about, **yes)


def _metavar(row: Row) -> str:
    return "BOOL" if row.parse is boolean else "TEXT"


def _file_option(name: str) -> Callable[[F], F]:
    about = f"File with the value. [{spell_env(name)}_FILE]"
    return click.option(f"{spell_flag(name)}-file", f"{name}_file", metavar="FILE", help=about)


def settings_from(flags: dict[str, str | None]) -> Settings:
    """Return the settings in force. Warnings go to stderr; an invalid setting ends the verb with status 2."""
    try:
        settings = load(flags, os.environ)
    except SettingsError as error:
        raise usage_error(str(error)) from None
    for warning in settings.warnings:
        print_error(f"warning: {warning}")
    return settings
