"""Consent to create a missing store. Only verbs that fill a store may create one, and never by accident.

The default state directory depends on the working directory. With a missing store, a reading verb ends and a writing
verb requires `--new-store`. Settings that name the store are consent enough. Creating an embedded store is announced.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import click

from sidecar.cli.health import fetch
from sidecar.cli.output import CliError, print_error, usage_error
from sidecar.config.settings import Settings
from sidecar.server.admin_context import Consent
from sidecar.server.state_files import has_embedded, store_place

F = TypeVar("F", bound=Callable[..., Any])


def new_store_option(verb: F) -> F:
    about = "Create the store if the settings name none and this directory has none."
    return click.option("--new-store", is_flag=True, help=about)(verb)


def refusal(settings: Settings) -> Consent:
    """Return the consent of verbs that never create a store."""

    def refuse(where: str) -> None:
        raise _refused(settings, where, "")

    return refuse


def consent(settings: Settings, *, new_store: bool) -> Consent:
    """Return the consent of verbs that may create a store. Ends a verb at once when consent is already impossible."""
    named = any(value.name in {"state_dir", "redis_url"} and value.source != "default" for value in settings.values)

    def announce(where: str) -> None:
        if not new_store and not named:
            raise _refused(settings, where, ", or create one here with --new-store")
        if settings.redis_url is None:
            print_error(f"there is no store yet: creating one in {where}{_another(settings)}")

    if not new_store and not named and not has_embedded(settings):
        announce(store_place(settings))
    return announce


def _refused(settings: Settings, where: str, besides: str) -> CliError:
    if settings.redis_url is None:
        remedy = f"run it in the directory of `sidecar serve`, set SIDECAR_STATE_DIR or SIDECAR_REDIS_URL{besides}"
    else:
        remedy = "set SIDECAR_REDIS_URL to the one of `sidecar serve`, or create one with `sidecar account create`"
    return usage_error(f"there is no store in {where}{_another(settings)}: {remedy}")


def _another(settings: Settings) -> str:
    """Return a hint that names a running sidecar and its store; empty without one."""
    with suppress(CliError):
        _, status = fetch(settings.ops_listen, "/status")
        if isinstance(at := status.get("store_address"), str):
            return f" (the sidecar at {settings.ops_listen} uses {at})"
    return ""
