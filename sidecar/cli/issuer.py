"""``sidecar issuer``: changes the issuer of a store's tokens, after a change of the public URL (R22)."""

from typing import assert_never

import click

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import answer_no, json_option, print_json, print_pairs, usage_error
from sidecar.cli.store_session import OPERATOR, run_with_store
from sidecar.config.parsers import InvalidValueError
from sidecar.config.settings import ROWS
from sidecar.server.admin_context import AdminContext
from sidecar.store.maintenance.issuer_change import (
    ChangedMeanwhile,
    IssuerChanged,
    NoIssuer,
    Outcome,
    SameIssuer,
    StillServing,
    change_issuer,
)


@click.group()
def issuer() -> None:
    """The issuer of the store's tokens (their `iss`)."""


@issuer.command()
@click.argument("new", metavar="NEW")
@settings_options(STORE)
@json_option
def change(new: str, as_json: bool, **flags: str | None) -> None:
    """Change the store's issuer to NEW. Every session and every token becomes invalid: all users must sign in again.

    Stop all sidecars first. Afterwards start them with SIDECAR_ISSUER=NEW, or with the SIDECAR_PUBLIC_URL of NEW.
    """
    try:
        ROWS["issuer"].parse(new)
    except InvalidValueError as bad:
        raise usage_error(f"NEW = {new!r}: {bad}") from None
    settings = settings_from(flags)

    async def job(operator: AdminContext) -> Outcome:
        return await change_issuer(operator.store, operator.people.fleet, operator.pepper, new, OPERATOR)

    outcome = run_with_store(settings, job)
    match outcome:
        case IssuerChanged(before, accounts, signed_out):
            reported = {"issuer": new, "before": before, "accounts": accounts, "signed_out": signed_out}
            say = print_json if as_json else print_pairs
            say(reported)
            if settings.issuer != new:
                click.echo(f"start the sidecars with SIDECAR_ISSUER={new}", err=True)
        case SameIssuer():
            raise answer_no(f"the store's issuer is {new} already")
        case NoIssuer():
            raise answer_no(
                "the store has no issuer yet: the first start of `sidecar serve` sets it, from SIDECAR_ISSUER"
            )
        case StillServing(sidecars):
            raise answer_no(f"these sidecars serve on the store: {', '.join(sidecars)}: stop them first")
        case ChangedMeanwhile(other):
            raise answer_no(
                f"the store's issuer was changed to {other!r} meanwhile: check the cause, and run this again"
            )
        case _:
            assert_never(outcome)
