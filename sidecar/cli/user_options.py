"""Shared parts of the verbs on users: the account option, the lookup of USER, and error messages."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, assert_never

import click

from sidecar.cli.output import CliError, answer_no, usage_error
from sidecar.cli.store_session import account_of
from sidecar.domain.users import Account, UserId
from sidecar.identity.emails import normalise
from sidecar.identity.role_assignment import RoleAboveYours, UnknownRole
from sidecar.server.admin_context import AdminContext
from sidecar.store.outcomes import ActorChanged, LastAdmin, NotHeld, NoUser, StillInvited

F = TypeVar("F", bound=Callable[..., Any])


def account_option(verb: F) -> F:
    about = "Name or id of the account; not needed when there is only one."
    return click.option("--account", metavar="ACCOUNT", help=about)(verb)


T = TypeVar("T")


def on_user(
    account: str | None, user: str, job: Callable[[AdminContext, Account, UserId], Awaitable[T]]
) -> Callable[[AdminContext], Awaitable[T]]:
    """Return a job on the selected user. An id implies its account; an e-mail needs one."""

    async def run(operator: AdminContext) -> T:
        found = await account_of(operator, account)
        email = normalise(user)
        uid = UserId(user) if email is None else await operator.people.users.find(found.id, email, expired=True)
        if uid is None:
            raise answer_no(f"{found.name} has no user {user!r}: sidecar user list names them")
        return await job(operator, found, uid)

    return run


def refused(
    outcome: NoUser | NotHeld | LastAdmin | ActorChanged | UnknownRole | RoleAboveYours | StillInvited, user: str
) -> CliError:
    match outcome:
        case UnknownRole(role, roles, nearest):
            hint = f"did you mean {nearest}?" if nearest else f"roles are {', '.join(roles)}"
            return usage_error(f"there is no assignable role {role!r}: {hint}")
        case LastAdmin():
            return answer_no(f"{user} is the account's last active Account Administrator: make another one first")
        case NoUser():
            return answer_no(f"there is no user {user!r} in this account: sidecar user list names them")
        case ActorChanged():
            return answer_no(f"conflict: {user} was changed meanwhile; check the user and try again")
        case RoleAboveYours(role):
            return answer_no(f"the role {role} has permissions that its assigner lacks")
        case NotHeld():
            return answer_no(f"{user} is not held: there is nothing to review")
        case StillInvited():
            return answer_no(f"{user} has not accepted the invitation yet")
        case _:
            assert_never(outcome)
