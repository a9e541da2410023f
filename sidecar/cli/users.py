"""``sidecar user``: management of an account's users by an operator (R11 does not limit an operator)."""

from typing import Any

import click

from sidecar.api.serializers import to_member, to_seats_with_invitations, to_user, when
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
from sidecar.cli.reviews import review
from sidecar.cli.secret_input import read_secret
from sidecar.cli.store_session import OPERATOR, account_of, policy_of, run_with_store
from sidecar.cli.user_factors import confirm_factor, reset_factors
from sidecar.cli.user_options import account_option, on_user, refused
from sidecar.cli.user_status import resume, sessions, suspend
from sidecar.domain.users import Account, UserId, UserRecord
from sidecar.identity import invitations as inviting
from sidecar.identity.display_names import NAME_RULE, clean_person
from sidecar.identity.hashing import Overloaded
from sidecar.identity.password_reset import ResetLink
from sidecar.identity.passwords import WeakPassword
from sidecar.identity.user_creation import CreateUserOutcome
from sidecar.identity.users import Edited, EditOutcome, RemovedUser, RemoveOutcome, UserEdit
from sidecar.server.admin_context import AdminContext
from sidecar.store.invitations import Accepted, AlreadyInvited, AlreadyMember, SeatLimit
from sidecar.store.outcomes import (
    AccountSuspended,
    IdempotencyMismatch,
    NoAccount,
    NoUser,
)
from sidecar.store.users import Roster


@click.group()
def user() -> None:
    """The users of an account. USER is an id, or an e-mail."""


@user.command("list")
@account_option
@settings_options(STORE)
@json_option
def list_(account: str | None, as_json: bool, **flags: str | None) -> None:
    """List an account's users, invited ones too, and its seats."""

    async def job(operator: AdminContext) -> Roster | NoAccount:
        return await operator.people.users.roster((await account_of(operator, account)).id)

    roster = run_with_store(settings_from(flags), job)
    if isinstance(roster, NoAccount):
        raise answer_no(f"the account {account!r} is gone")
    if as_json:
        seats = to_seats_with_invitations(roster.seats, "")
        print_json({"users": [to_member(member) for member in roster.members], "seats": seats})
        return
    rows = (
        (
            one.record.id,
            one.record.email,
            one.record.name,
            one.record.role,
            one.record.status.value,
            when(one.last_login_at),
        )
        for one in roster.members
    )
    print_table(["id", "e-mail", "name", "role", "status", "last sign-in"], rows)
    click.echo(f"{roster.seats.used} of {roster.seats.cap} seats used")


@user.command()
@click.argument("email")
@click.option("--role", required=True, metavar="ROLE", help="Id of the role, as in policy/roles.toml.")
@click.option("--name", default="", metavar="NAME", help="Name of the user.")
@click.option("--password-stdin", is_flag=True, help="Read a first password from standard input; no link is made.")
@account_option
@settings_options((*STORE, "invite_ttl"))
@json_option
def invite(
    email: str, role: str, name: str, password_stdin: bool, account: str | None, as_json: bool, **flags: str | None
) -> None:
    """Invite a user, and print the link to hand over. The invitation holds a seat until it expires.

    With --password-stdin the user is active at once, and the e-mail counts as not verified.
    """
    settings = settings_from(flags)
    password = read_secret("password") if password_stdin else None
    invitee = inviting.Invitee(email, _name(name), role)

    async def job(operator: AdminContext) -> inviting.InviteOutcome | CreateUserOutcome:
        generation = await policy_of(operator)
        found = await account_of(operator, account)
        if password is not None:
            return await operator.people.creation.create(OPERATOR, generation, found.id, invitee, password)
        return await operator.people.inviting.invite(OPERATOR, generation, found.id, invitee)

    outcome = run_with_store(settings, job)
    match outcome:
        case Accepted(record=made):
            _print_created(made, as_json=as_json)
        case inviting.Sent():
            _print_invited(outcome, as_json=as_json)
        case _:
            raise _not_invited(outcome, invitee)


def _name(typed: str) -> str:
    name = clean_person(typed)
    if name is None:
        raise usage_error(f"--name {typed!r} {NAME_RULE}")
    return name


def _print_created(made: UserRecord, *, as_json: bool) -> None:
    if as_json:
        print_json({"user": to_user(made)})
    else:
        print_pairs({"user": made.id, "as": made.email, "role": made.role, "status": made.status.value})


def _print_invited(outcome: inviting.Sent, *, as_json: bool) -> None:
    expires = when(outcome.expires_at)
    if as_json:
        invitation = {"url": outcome.url, "expires_at": expires, "mailed": outcome.mailed}
        print_json({"user": to_member(outcome.member), "invitation": invitation})
    else:
        record = outcome.member.record
        print_pairs({"user": record.id, "as": record.email, "role": record.role, "link": outcome.url, "until": expires})


@user.command()
@click.argument("user")
@click.argument("role")
@account_option
@settings_options(STORE)
@json_option
def set_role(user: str, role: str, account: str | None, as_json: bool, **flags: str | None) -> None:
    """Change a user's role. It takes effect at the next request, with the same token."""
    settings = settings_from(flags)

    async def job(operator: AdminContext, found: Account, uid: UserId) -> EditOutcome:
        generation = await policy_of(operator)
        return await operator.people.membership.edit(OPERATOR, generation, found.id, uid, UserEdit(role=role))

    outcome = run_with_store(settings, on_user(account, user, job))
    if not isinstance(outcome, Edited):
        raise refused(outcome, user)
    if as_json:
        print_json(to_user(outcome.record))
    else:
        click.echo(f"{outcome.record.email} is {outcome.record.role}")


@user.command()
@click.argument("user")
@account_option
@settings_options(STORE)
@json_option
def remove(user: str, account: str | None, as_json: bool, **flags: str | None) -> None:
    """Remove a user, or withdraw an invitation: the seat becomes free, every token and the link become invalid."""
    settings = settings_from(flags)

    async def job(operator: AdminContext, found: Account, uid: UserId) -> RemoveOutcome:
        generation = await policy_of(operator)
        return await operator.people.membership.remove(OPERATOR, generation, found.id, uid)

    outcome = run_with_store(settings, on_user(account, user, job))
    if not isinstance(outcome, RemovedUser):
        raise refused(outcome, user)
    if as_json:
        print_json({"removed": to_user(outcome.record)})
    else:
        click.echo(f"{outcome.record.email} is removed")


@user.command()
@click.argument("user")
@account_option
@settings_options(STORE)
@json_option
def reset_password(user: str, account: str | None, as_json: bool, **flags: str | None) -> None:
    """Print a link for choosing a new password, valid once and for one hour. Its use ends every session.

    From then on the e-mail counts as not verified until a mailed link is opened, because others have seen this one.
    """

    async def job(operator: AdminContext, found: Account, uid: UserId) -> UserRecord | ResetLink | None:
        record = await operator.people.membership.find(found.id, uid)
        if record is None or not record.may_sign_in:
            return record
        # The link gives access to the account, so its creation is audited before the link is shown.
        audited = await operator.people.users.reset_link(uid, OPERATOR, shown=True)
        return operator.people.password_reset.link(audited, shown=True) if isinstance(audited, UserRecord) else record

    outcome = run_with_store(settings_from(flags), on_user(account, user, job))
    match outcome:
        case ResetLink(url, expires_at):
            made = {"link": url, "until": when(expires_at)}
            say = print_json if as_json else print_pairs
            say(made)
        case UserRecord():
            state = "held for review" if outcome.review else outcome.status.value
            raise answer_no(f"{outcome.email} is {state} and has no password to reset")
        case None:
            raise refused(NoUser(), user)


for verb in (review, sessions, suspend, resume, reset_factors, confirm_factor):
    user.add_command(verb)


def _not_invited(outcome: Any, invitee: inviting.Invitee) -> CliError:
    match outcome:
        case inviting.InvalidEmail():
            return usage_error(f"{invitee.email!r} is not an e-mail address")
        case SeatLimit(seats):
            free = f"{seats.members} members, {len(seats.invitations)} invited"
            return answer_no(
                f"no seat is free: {seats.used} of {seats.cap} used ({free}): sidecar account set-seats adds some"
            )
        case AlreadyMember(user):
            return answer_no(f"{invitee.email} is a member already: {user}")
        case AlreadyInvited(user, expires_at):
            return answer_no(f"{invitee.email} is invited already, until {when(expires_at)}: {user}")
        case WeakPassword(weaknesses):
            return usage_error(f"weak password: {'; '.join(weakness.advice for weakness in weaknesses)}")
        case Overloaded():
            return unavailable("this machine is too busy to hash a password: try again")
        case AccountSuspended():
            return answer_no("the account is suspended: no user can be added")
        case NoAccount() | IdempotencyMismatch():
            return answer_no("the account is gone")
        case _:
            return refused(outcome, invitee.email)
