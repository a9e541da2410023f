"""Verbs and a store that does not exist: only those that fill one may make it, and never by accident.

In another folder the default state directory is another one. A verb that reads ends there; one that writes asks for
`--new-store`. Where the settings name a store, they are consent enough; an embedded one that is made is announced.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import click

from sidecar.cli.health import ask
from sidecar.cli.output import Stop, complain, wrong
from sidecar.config.settings import Settings
from sidecar.server.admin_context import Consent
from sidecar.server.state_files import has_embedded, store_place

F = TypeVar("F", bound=Callable[..., Any])


def new_store_option(verb: F) -> F:
    about = "Make the store where the settings name none and there is none in this folder."
    return click.option("--new-store", is_flag=True, help=about)(verb)


def refusal(settings: Settings) -> Consent:
    """For verbs that never make a store."""

    def refuse(where: str) -> None:
        raise _refused(settings, where, "")

    return refuse


def consent(settings: Settings, *, new_store: bool) -> Consent:
    """For verbs that may make a store. Ends them at once where it is clear already that they may not."""
    named = any(value.name in {"state_dir", "redis_url"} and value.source != "default" for value in settings.values)

    def announce(where: str) -> None:
        if not new_store and not named:
            raise _refused(settings, where, ", or make one here with --new-store")
        if settings.redis_url is None:
            complain(f"there is no store yet: making one in {where}{_another(settings)}")

    if not new_store and not named and not has_embedded(settings):
        announce(store_place(settings))
    return announce


def _refused(settings: Settings, where: str, besides: str) -> Stop:
    if settings.redis_url is None:
        remedy = f"go to the folder of `sidecar serve`, set SIDECAR_STATE_DIR or SIDECAR_REDIS_URL{besides}"
    else:
        remedy = "set SIDECAR_REDIS_URL to the one of `sidecar serve`, or begin here with `sidecar account create`"
    return wrong(f"there is no store in {where}{_another(settings)}: {remedy}")


def _another(settings: Settings) -> str:
    """A running sidecar and the store that it uses; empty where none answers."""
    with suppress(Stop):
        _, status = ask(settings.ops_listen, "/status")
        if isinstance(at := status.get("store_address"), str):
            return f" (the sidecar at {settings.ops_listen} uses {at})"
    return ""
