"""``sidecar pep``: keys for gateways and services that query an account's users (AuthZEN, introspection)."""

import os
from typing import Any, assert_never

import click

from sidecar.api.serializers import when
from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import CliError, answer_no, json_option, print_error, print_json, print_table, usage_error
from sidecar.cli.store_session import OPERATOR, account_of, run_with_store
from sidecar.cli.user_options import account_option
from sidecar.config.parsers import InvalidValueError, whole_seconds
from sidecar.domain.peps import DEFAULT_RATE, Pep, Scope
from sidecar.identity.pep_keys import InvalidPepName, MakeOutcome, NewPep, PepMade, PepRevokedEverywhere
from sidecar.identity.pep_keys import make as make_pep
from sidecar.identity.pep_keys import revoke as revoke_pep
from sidecar.server.admin_context import AdminContext
from sidecar.store.outcomes import ActorChanged, NoAccount
from sidecar.store.peps import MAX_KEYS, NoPep, PepExists, Peps, TooManyPeps

DAY = 86400
MAX_RATE = 1_000_000
SCOPES = [scope.value for scope in Scope]


def _ttl(_ctx: click.Context, _param: click.Parameter, text: str) -> int:
    """Parse a duration in the form of the settings."""
    try:
        return whole_seconds(1, 3650 * DAY)(text)
    except InvalidValueError as problem:
        raise click.BadParameter(str(problem)) from None


@click.group()
def pep() -> None:
    """Keys for gateways and services that query users: AuthZEN and introspection. PEP is a name or an id."""


@pep.command()
@click.argument("name")
@account_option
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="Permitted operations; repeatable. [default: all]",
)
@click.option(
    "--ttl", callback=_ttl, default="365d", show_default=True, metavar="DURATION", help="Lifetime of the key."
)
@click.option(
    "--rate",
    type=click.IntRange(1, MAX_RATE),
    default=DEFAULT_RATE,
    show_default=True,
    help="Decisions per second and sidecar process.",
)
@settings_options(STORE)
@json_option
def create(
    name: str,
    account: str | None,
    scopes: tuple[str, ...],
    ttl: int,
    rate: int,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Create a key and print it. It cannot be shown again.

    Send it as `Authorization: Bearer pep_…`. It is valid for users of its own account only.
    """
    wanted = NewPep(name, frozenset(map(Scope, scopes or SCOPES)), ttl, rate)

    async def job(operator: AdminContext) -> MakeOutcome:
        found = await account_of(operator, account)
        return await make_pep(
            Peps(operator.store), operator.pepper, found.id, wanted, actor=OPERATOR, entropy=os.urandom
        )

    outcome = run_with_store(settings_from(flags), job)
    if not isinstance(outcome, PepMade):
        raise _not_made(outcome, wanted)
    if as_json:
        print_json({**pep_json(outcome.pep), "key": outcome.key})
    else:
        click.echo(outcome.key)


def _not_made(outcome: InvalidPepName | PepExists | TooManyPeps | NoAccount | ActorChanged, wanted: NewPep) -> CliError:
    match outcome:
        case InvalidPepName():
            return usage_error("invalid key name: use 1 to 100 printable characters, and do not begin with pep_")
        case PepExists(pep=existing):
            return answer_no(f"there is a key {wanted.name!r} already: {existing}; sidecar pep revoke ends it")
        case TooManyPeps():
            return answer_no(
                f"the account has {MAX_KEYS} keys: sidecar pep list shows them, sidecar pep revoke ends one"
            )
        case NoAccount() | ActorChanged():
            return answer_no("the account is gone")
        case _:
            assert_never(outcome)


@pep.command("list")
@account_option
@settings_options(STORE)
@json_option
def list_(account: str | None, as_json: bool, **flags: str | None) -> None:
    """List the keys of an account, without their secrets."""

    async def job(operator: AdminContext) -> list[Pep]:
        return await Peps(operator.store).listing((await account_of(operator, account)).id)

    peps = run_with_store(settings_from(flags), job)
    if as_json:
        print_json([pep_json(one) for one in peps])
        return
    rows = ((one.id, one.name, " ".join(sorted(one.scopes)), one.rate, when(one.expires_at)) for one in peps)
    print_table(["id", "name", "scopes", "rate", "expires"], rows)


@pep.command()
@click.argument("pep")
@account_option
@settings_options(STORE)
@json_option
def revoke(pep: str, account: str | None, as_json: bool, **flags: str | None) -> None:
    """Revoke a key. When this returns, no sidecar accepts it."""

    async def job(operator: AdminContext) -> PepRevokedEverywhere | NoPep | ActorChanged:
        found = await account_of(operator, account)
        return await revoke_pep(Peps(operator.store), operator.people.fleet, found.id, pep, actor=OPERATOR)

    outcome = run_with_store(settings_from(flags), job)
    match outcome:
        case PepRevokedEverywhere(dead, revocation):
            if as_json:
                done = {"complete": revocation.complete, "sidecars": revocation.sidecars}
                print_json({"revoked": pep_json(dead), "revocation": {**done, "waited_ms": revocation.waited_ms}})
            else:
                click.echo(f"{dead.name} ({dead.id}) is revoked")
            if not revocation.complete:
                print_error("not every sidecar has confirmed; cached keys expire within the lease")
        case NoPep() | ActorChanged():
            raise answer_no(f"there is no key {pep!r}: sidecar pep list names them")
        case _:
            assert_never(outcome)


def pep_json(one: Pep) -> dict[str, Any]:
    """Return the JSON form of a key, shared by all verbs, without its secret."""
    return {
        "id": one.id,
        "name": one.name,
        "account": one.account,
        "scopes": sorted(one.scopes),
        "rate": one.rate,
        "created_at": when(one.created_at),
        "expires_at": when(one.expires_at),
    }
