"""``sidecar user review``: users held because the store lost an acknowledged change of their record (R48)."""

from typing import Any

import click
from msgspec.structs import asdict

from sidecar.api.serializers import to_review, to_user, when
from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import json_option, print_json, print_table, usage_error
from sidecar.cli.store_session import OPERATOR, account_of, policy_of, run_with_store
from sidecar.cli.user_options import account_option, on_user, refused
from sidecar.domain.users import Account, Status, UserId, UserRecord
from sidecar.http.schemas import Review, User
from sidecar.identity.users import Edited, ReviewedOutcome
from sidecar.server.admin_context import AdminContext
from sidecar.store.users import Roster

_Held = list[tuple[Account, UserRecord]]


class _HeldUser(User, frozen=True):
    review: Review | None


@click.command()
@click.argument("user", required=False)
@click.option("--role", metavar="ROLE", help="The role from now on.")
@click.option("--status", type=click.Choice(["active", "suspended"]), help="The status from now on.")
@click.option("--all-as-stored", is_flag=True, help="Accept the stored role and status of every held user.")
@account_option
@settings_options(STORE)
@json_option
def review(
    user: str | None,
    role: str | None,
    status: str | None,
    all_as_stored: bool,
    account: str | None,
    as_json: bool,
    **flags: str | None,
) -> None:
    """List held users, or end the hold of USER with a role and a status.

    A user is held when the store has lost an acknowledged change of its record: every check and every sign-in is
    denied. Without --account, users of all accounts are listed. `user remove` repeats a lost removal.
    """
    settings = settings_from(flags)
    if user is not None and not all_as_stored:
        if role is None or status is None:
            raise usage_error("USER needs --role ROLE and --status active|suspended, the values from now on")
        wanted_role, wanted_status = role, Status(status)

        async def one(operator: AdminContext, found: Account, uid: UserId) -> ReviewedOutcome:
            generation = await policy_of(operator)
            return await operator.people.membership.review(
                OPERATOR, generation, found.id, uid, wanted_role, wanted_status
            )

        outcome = run_with_store(settings, on_user(account, user, one))
        if not isinstance(outcome, Edited):
            raise refused(outcome, user)
        return _say_reviewed([outcome.record], as_json=as_json)
    if user is not None or role is not None or status is not None:
        raise usage_error("--all-as-stored takes no USER, --role and --status need one")
    if all_as_stored:
        return _say_reviewed(run_with_store(settings, lambda operator: _accept_all(operator, account)), as_json=as_json)
    return _say_held(run_with_store(settings, lambda operator: _held(operator, account)), as_json=as_json)


async def _held(operator: AdminContext, account: str | None) -> _Held:
    people = operator.people
    every = await people.accounts.all() if account is None else [await account_of(operator, account)]
    found: _Held = []
    for one in every:
        roster = await people.users.roster(one.id)
        members = roster.members if isinstance(roster, Roster) else ()
        found += [(one, member.record) for member in members if member.record.review is not None]
    return found


async def _accept_all(operator: AdminContext, account: str | None) -> list[UserRecord]:
    """Accept the stored role and status, without checks against the policy, because no permission is added."""
    done = []
    for _, record in await _held(operator, account):
        suspended = record.review is not None and record.review.status_now == Status.SUSPENDED
        status = Status.SUSPENDED if suspended else Status.ACTIVE
        outcome = await operator.people.membership.accept_stored(OPERATOR, record, status)
        if not isinstance(outcome, Edited):
            raise refused(outcome, record.email)
        done.append(outcome.record)
    return done


def _say_reviewed(records: list[UserRecord], *, as_json: bool) -> None:
    if as_json:
        print_json({"reviewed": [to_user(record) for record in records]})
        return
    for record in records:
        click.echo(f"{record.email} is {record.role} and {record.status}")
    if not records:
        click.echo("no user is held")


def _say_held(held: _Held, *, as_json: bool) -> None:
    if as_json:
        users = [_HeldUser(**asdict(to_user(record)), review=to_review(record.review)) for _, record in held]
        print_json({"held": users})
        return
    rows: list[tuple[Any, ...]] = []
    for account, record in held:
        if (lost := record.review) is not None:
            before, now = f"{lost.role_before} {lost.status_before}", f"{lost.role_now} {lost.status_now}"
            rows.append((account.name, record.id, record.email, before, now, when(lost.since)))
    if rows:
        print_table(["account", "id", "e-mail", "acknowledged", "stored", "since"], rows)
    click.echo(f"{len(rows)} users are held" if rows else "no user is held")
