"""``sidecar account``: create, list, show, suspend and delete accounts, and set their seats."""

import os
from typing import Any, assert_never

import click

from sidecar.api.serializers import to_seats_with_invitations, to_user, when
from sidecar.cli.account_labels import label
from sidecar.cli.new_store import consent, new_store_option
from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import (
    CliError,
    answer_no,
    json_option,
    print_json,
    print_pairs,
    print_table,
    unavailable,
    usage_error,
)
from sidecar.cli.secret_input import password_option, read_password
from sidecar.cli.store_session import OPERATOR, account_of, policy_of, run_with_store
from sidecar.domain.labels import text_of
from sidecar.domain.users import ADMINISTRATOR, DEFAULT_SEATS, Account, Status
from sidecar.identity.account_creation import CreateAccountOutcome, InvalidName, NewAccount, create_account
from sidecar.identity.display_names import NAME_RULE
from sidecar.identity.hashing import Overloaded
from sidecar.identity.invitations import InvalidEmail
from sidecar.identity.passwords import WeakPassword
from sidecar.identity.role_assignment import is_assignable
from sidecar.server.admin_context import AdminContext
from sidecar.store.accounts import AccountExists, Created, Deleted, SeatsSet, StatusSet
from sidecar.store.outcomes import ActorChanged, NoAccount

MAX_SEATS = 1_000_000


@click.group()
def account() -> None:
    """Accounts and their seats. ACCOUNT is a name or an id."""


account.add_command(label)


@account.command()
@click.argument("name")
@click.option("--admin-email", required=True, metavar="EMAIL", help="E-mail of the first Account Administrator.")
@click.option("--admin-name", default="", metavar="NAME", help="Name of the first Account Administrator.")
@click.option(
    "--seats", type=click.IntRange(1, MAX_SEATS), default=DEFAULT_SEATS, show_default=True, help="Number of seats."
)
@password_option
@new_store_option
@settings_options(STORE)
@json_option
def create(
    name: str,
    admin_email: str,
    admin_name: str,
    seats: int,
    password_stdin: bool,
    new_store: bool,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Create an account and its first Account Administrator.

    The password is typed on a terminal, or read from standard input with --password-stdin. It is never an argument,
    because every user of the machine can read a command line.
    """
    settings = settings_from(flags)
    agreed = consent(settings, new_store=new_store)
    password = read_password(from_stdin=password_stdin)
    new_account = NewAccount(name, admin_email, password, admin_name, seats)

    async def job(operator: AdminContext) -> CreateAccountOutcome:
        if not is_assignable(await policy_of(operator), ADMINISTRATOR):
            raise answer_no(f'the policy in force has no assignable role "{ADMINISTRATOR}": correct it first')
        services = operator.people
        return await create_account(
            services.accounts, services.hashing, new_account, actor=OPERATOR, entropy=os.urandom
        )

    outcome = run_with_store(settings, job, agreed)
    if not isinstance(outcome, Created):
        raise _not_created(outcome, new_account)
    made, admin = outcome.account, outcome.admin
    if as_json:
        print_json({**account_json(made), "admin": to_user(admin)})
    else:
        print_pairs(
            {"account": made.id, "name": made.name, "seats": made.seats.cap, "admin": admin.id, "as": admin.email}
        )


def _not_created(
    outcome: AccountExists | InvalidName | InvalidEmail | WeakPassword | Overloaded, new_account: NewAccount
) -> CliError:
    match outcome:
        case AccountExists(account=other):
            return answer_no(f"there is an account of this name already: {other}")
        case InvalidName():
            return usage_error(
                "invalid name of the account or the administrator: use 1 to 100 printable characters; that of a person "
                + NAME_RULE
            )
        case InvalidEmail():
            return usage_error(f"{new_account.admin_email!r} is not an e-mail address")
        case WeakPassword(weaknesses):
            return usage_error(f"weak password: {'; '.join(weakness.advice for weakness in weaknesses)}")
        case Overloaded():
            return unavailable("this machine is too busy to hash a password: try again")
        case _:
            assert_never(outcome)


@account.command("list")
@settings_options(STORE)
@json_option
def list_(as_json: bool, **flags: str | None) -> None:
    """List the accounts and their seats."""

    async def job(operator: AdminContext) -> list[Account]:
        return await operator.people.accounts.all()

    every = run_with_store(settings_from(flags), job)
    if as_json:
        print_json([account_json(one) for one in every])
        return
    rows = ((one.id, one.name, one.status.value, f"{one.seats.used}/{one.seats.cap}") for one in every)
    print_table(["id", "name", "status", "seats"], rows)


@account.command()
@click.argument("account")
@settings_options(STORE)
@json_option
def show(account: str, as_json: bool, **flags: str | None) -> None:
    """Show an account, its seats and its open invitations."""

    async def job(operator: AdminContext) -> Account:
        return await account_of(operator, account)

    found = run_with_store(settings_from(flags), job)
    if as_json:
        print_json(account_json(found))
        return
    seats = found.seats
    print_pairs(
        {
            "id": found.id,
            "name": found.name,
            "status": found.status.value,
            "created": when(found.created_at),
            "seats": f"{seats.used} of {seats.cap} used, {seats.available} free",
            "members": seats.members,
            "labels": text_of(found.labels) or "none",
            "invited": ", ".join(f"{one.email} (until {when(one.expires_at)})" for one in seats.invitations) or "none",
        }
    )


@account.command()
@click.argument("account")
@click.argument("seats", type=click.IntRange(1, MAX_SEATS))
@settings_options(STORE)
@json_option
def set_seats(account: str, seats: int, as_json: bool, **flags: str | None) -> None:
    """Set the number of seats of an account. Below its current use, members stay and no user can be added."""

    async def job(operator: AdminContext) -> tuple[Account, SeatsSet | NoAccount | ActorChanged]:
        found = await account_of(operator, account)
        return found, await operator.people.accounts.set_seats(found.id, seats, OPERATOR)

    found, outcome = run_with_store(settings_from(flags), job)
    match outcome:
        case SeatsSet(seats=now):
            if as_json:
                print_json({"account": found.id, "seats": to_seats_with_invitations(now, "")})
            else:
                click.echo(f"{now.used} of {now.cap} seats used")
        case NoAccount() | ActorChanged():
            raise answer_no(f"the account {account!r} is gone")
        case _:
            assert_never(outcome)


@account.command()
@click.argument("account")
@settings_options(STORE)
def suspend(account: str, **flags: str | None) -> None:
    """Suspend an account: from the next check on, every sidecar denies its users. No data is lost."""
    _set_status(account, Status.SUSPENDED, flags)


@account.command()
@click.argument("account")
@settings_options(STORE)
def resume(account: str, **flags: str | None) -> None:
    """Resume a suspended account: its users have access again."""
    _set_status(account, Status.ACTIVE, flags)


def _set_status(account: str, status: Status, flags: dict[str, str | None]) -> None:
    async def job(operator: AdminContext) -> StatusSet | NoAccount | ActorChanged:
        found = await account_of(operator, account)
        outcome = await operator.people.accounts.set_status(found.id, status, OPERATOR)
        if isinstance(outcome, StatusSet):
            await operator.people.fleet.wait_applied(outcome.position)
        return outcome

    outcome = run_with_store(settings_from(flags), job)
    match outcome:
        case StatusSet(account=now):
            click.echo(f"{now.name} is {now.status.value}")
        case NoAccount() | ActorChanged():
            raise answer_no(f"the account {account!r} is gone")
        case _:
            assert_never(outcome)


@account.command()
@click.argument("account")
@click.option("--yes", is_flag=True, help="Delete without confirmation.")
@settings_options(STORE)
def delete(account: str, yes: bool, **flags: str | None) -> None:
    """Delete an account with all its users, sessions and PEP keys. Its exported audit stays."""
    if not yes:
        click.confirm(f"Delete {account} and all its users?", abort=True)

    async def job(operator: AdminContext) -> Deleted | NoAccount | ActorChanged:
        found = await account_of(operator, account)
        outcome = await operator.people.accounts.delete(found.id, OPERATOR)
        if isinstance(outcome, Deleted):
            await operator.people.fleet.wait_applied(outcome.position)
        return outcome

    outcome = run_with_store(settings_from(flags), job)
    match outcome:
        case Deleted(users=gone):
            click.echo(f"{account} is deleted, with {len(gone)} users")
        case NoAccount() | ActorChanged():
            raise answer_no(f"the account {account!r} is gone already")
        case _:
            assert_never(outcome)


def account_json(one: Account) -> dict[str, Any]:
    """Return the JSON form of an account, shared by all verbs."""
    return {
        "id": one.id,
        "name": one.name,
        "status": one.status.value,
        "created_at": when(one.created_at),
        "seats": to_seats_with_invitations(one.seats, ""),
        "labels": dict(one.labels),
    }
