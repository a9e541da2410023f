"""``sidecar user reset-factors`` and ``confirm-factor``: help by an operator for a user without a phone (R37)."""

from collections.abc import Awaitable, Callable

import click

from sidecar.api.serializers import to_user
from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import answer_no, json_option, print_json
from sidecar.cli.store_session import run_with_store
from sidecar.cli.user_options import account_option, on_user, refused
from sidecar.domain.users import Account, UserId
from sidecar.identity.factors.factor_admin import FactorAdmin
from sidecar.server.admin_context import AdminContext
from sidecar.store.outcomes import ActorChanged, Changed, NoUser, Unchanged

_Act = Callable[[FactorAdmin, UserId], Awaitable[Changed | Unchanged | NoUser | ActorChanged]]


@click.command("reset-factors")
@click.argument("user")
@account_option
@settings_options(STORE)
@json_option
def reset_factors(user: str, account: str | None, as_json: bool, **flags: str | None) -> None:
    """Remove all second factors of a user, and the recovery codes. Every session of the user ends."""
    changed = _change(user, account, flags, FactorAdmin.reset_by_operator, "has no second factor")
    if as_json:
        print_json(to_user(changed.record))
    else:
        click.echo(f"{changed.record.email} has no second factor any more, and is signed out everywhere")


@click.command("confirm-factor")
@click.argument("user")
@account_option
@settings_options(STORE)
@json_option
def confirm_factor(user: str, account: str | None, as_json: bool, **flags: str | None) -> None:
    """Let the second factors of a user count for the policy's needs at once, instead of after the wait."""
    changed = _change(user, account, flags, FactorAdmin.confirm_by_operator, "has no second factor that waits")
    if as_json:
        print_json(to_user(changed.record))
    else:
        click.echo(f"the second factor of {changed.record.email} counts from now on")


def _change(user: str, account: str | None, flags: dict[str, str | None], act: _Act, none: str) -> Changed:
    async def job(operator: AdminContext, _found: Account, uid: UserId) -> Changed | Unchanged | NoUser | ActorChanged:
        return await act(operator.people.factors.admin, uid)

    outcome = run_with_store(settings_from(flags), on_user(account, user, job))
    match outcome:
        case Changed():
            return outcome
        case Unchanged():
            raise answer_no(f"{user} {none}")
        case _:
            raise refused(outcome, user)
