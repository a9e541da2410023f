"""``sidecar user suspend``, ``resume`` and ``sessions``: they need no policy, so that they work without a valid one."""

import click

from sidecar.api.serializers import to_session, to_user, when
from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import json_option, print_json, print_table
from sidecar.cli.store_session import OPERATOR, run_with_store
from sidecar.cli.user_options import account_option, on_user, refused
from sidecar.domain.users import Account, SessionId, Status, UserId
from sidecar.http.schemas import Sessions
from sidecar.identity.users import Edited, EditOutcome
from sidecar.server.admin_context import AdminContext
from sidecar.store.outcomes import NoUser, StillInvited
from sidecar.store.sessions import Session


@click.command()
@click.argument("user")
@account_option
@settings_options(STORE)
@json_option
def suspend(user: str, account: str | None, as_json: bool, **flags: str | None) -> None:
    """Suspend a user: every session ends, and every sidecar denies the user. The seat stays taken."""
    _set_status(user, account, Status.SUSPENDED, as_json, flags)


@click.command()
@click.argument("user")
@account_option
@settings_options(STORE)
@json_option
def resume(user: str, account: str | None, as_json: bool, **flags: str | None) -> None:
    """Resume a suspended user, who can sign in again with the same password."""
    _set_status(user, account, Status.ACTIVE, as_json, flags)


def _set_status(
    user: str,
    account: str | None,
    status: Status,
    as_json: bool,
    flags: dict[str, str | None],
) -> None:
    async def job(operator: AdminContext, found: Account, uid: UserId) -> EditOutcome:
        return await operator.people.membership.set_status(OPERATOR, found.id, uid, status)

    outcome = run_with_store(settings_from(flags), on_user(account, user, job))
    if not isinstance(outcome, Edited):
        raise refused(outcome, user)
    if as_json:
        print_json(to_user(outcome.record))
    else:
        click.echo(f"{outcome.record.email} is {outcome.record.status.value}")


@click.command()
@click.argument("user")
@account_option
@settings_options(STORE)
@json_option
def sessions(user: str, account: str | None, as_json: bool, **flags: str | None) -> None:
    """List the live sessions of a user, newest first."""

    async def job(operator: AdminContext, found: Account, uid: UserId) -> list[Session] | NoUser | StillInvited:
        record = await operator.people.membership.find(found.id, uid)
        if record is None:
            return NoUser()
        if record.status in {Status.INVITED, Status.EXPIRED}:
            return StillInvited()
        return await operator.people.sessions.listing(record.id)

    outcome = run_with_store(settings_from(flags), on_user(account, user, job))
    if not isinstance(outcome, list):
        raise refused(outcome, user)
    if as_json:
        print_json(Sessions([to_session(one, SessionId("")) for one in outcome]))
        return
    if outcome:
        columns = ["id", "address", "browser", "signed in", "last active", "expires"]
        print_table(
            columns,
            (
                (one.id, one.address, one.agent, when(one.created_at), when(one.refreshed_at), when(one.expires_at))
                for one in outcome
            ),
        )
    click.echo(f"{len(outcome)} live {'session' if len(outcome) == 1 else 'sessions'}")
