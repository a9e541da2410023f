"""Users and roles over HTTP, for callers who may manage them. `identity` decides."""

import asyncio
from typing import Literal

import msgspec

from sidecar.api import invitations, user_credentials
from sidecar.api.serializers import revocation_headers, to_edited_user, to_member, to_role, to_seats
from sidecar.domain.problems import Code, Problem
from sidecar.domain.users import Status, UserRecord
from sidecar.http import permission_schemas, schemas
from sidecar.http.endpoint import Endpoint, RequirePermission
from sidecar.http.problems import bad_name, not_found, refusal
from sidecar.http.request import Request, Response
from sidecar.identity.display_names import clean_person
from sidecar.identity.role_assignment import may_assign
from sidecar.identity.users import Edited, RemovedUser, UserEdit
from sidecar.store.live.fleet import Revocation
from sidecar.store.outcomes import LastAdmin, NoAccount, NotHeld, NoUser, StillInvited


class EditBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change of a user, with at least one member. ``status`` suspends or resumes."""

    role: schemas.RoleName | msgspec.UnsetType = msgspec.UNSET
    name: schemas.Text | msgspec.UnsetType = msgspec.UNSET
    status: Literal["active", "suspended"] | msgspec.UnsetType = msgspec.UNSET


class ReviewBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Final state of a held user: the lost change again, or the older state as stored."""

    role: schemas.RoleName
    status: Literal["active", "suspended"]


async def roles(call: Request[None]) -> Response:
    """Return the roles that the caller may assign (``GET /v1/roles``, R11)."""
    shown = []
    for role in may_assign(call.policy, call.caller.record.role, call.facts_class):
        shown.append(msgspec.json.encode(to_role(call.policy, role)))
        await asyncio.sleep(0)  # a large policy has many cells: serve checks between two roles
    return Response(200, b'{"roles":[%s]}' % b",".join(shown), (("Content-Type", "application/json"),))


async def users(call: Request[None]) -> Response | Problem:
    """Return all users and the seats, as of one instant (``GET /v1/users``)."""
    roster = await call.app.people.users.roster(call.caller.record.account)
    if isinstance(roster, NoAccount):
        return not_found("account")
    seats = to_seats(roster.seats, call.app.public_config.seat_contact)
    return Response(200, schemas.Roster([to_member(member) for member in roster.members], seats))


async def edit(call: Request[EditBody]) -> Response | Problem:
    """Change a user (``PATCH /v1/users/{id}``).

    All sidecars apply it from the next decision when the response is sent.
    """
    change = _edit(call.body)
    if isinstance(change, Problem):
        return change
    outcome = await call.app.people.membership.edit(
        call.actor, call.policy, call.caller.record.account, call.names["id"], change
    )
    match outcome:
        case Edited(record, revocation):
            return _edited(record, revocation)
        case NoUser():
            return not_found("user")
        case LastAdmin():
            return _last_admin()
        case StillInvited():
            return Problem(Code.ALREADY_INVITED, "an invited user cannot be suspended; DELETE it to end the invitation")
        case _:
            return refusal(outcome)


async def remove(call: Request[None]) -> Response | Problem:
    """Remove a user or an invitation (``DELETE /v1/users/{id}``). The seat is free, and all tokens are revoked."""
    outcome = await call.app.people.membership.remove(
        call.actor, call.policy, call.caller.record.account, call.names["id"]
    )
    match outcome:
        case RemovedUser(_, revocation):
            return Response(204, None, revocation_headers(revocation))
        case NoUser():
            return not_found("user")
        case LastAdmin():
            return _last_admin()
        case _:
            return refusal(outcome)


async def review(call: Request[ReviewBody]) -> Response | Problem:
    """End the hold of a user whose acknowledged change was lost (``POST /v1/users/{id}/review``, R48)."""
    outcome = await call.app.people.membership.review(
        call.actor,
        call.policy,
        call.caller.record.account,
        call.names["id"],
        call.body.role,
        Status(call.body.status),
    )
    match outcome:
        case Edited(record, revocation):
            return _edited(record, revocation)
        case NoUser():
            return not_found("user")
        case NotHeld():
            return Problem(Code.NOT_HELD, "the user is not held; PATCH changes role and status")
        case LastAdmin():
            return _last_admin()
        case StillInvited():
            return Problem(Code.ALREADY_INVITED, "an invited user cannot be suspended; DELETE it to end the invitation")
        case _:
            return refusal(outcome)


def _edited(record: UserRecord, revocation: Revocation | None) -> Response:
    """Return the edited user. ``revocation`` is None if nothing changed."""
    headers = () if revocation is None else revocation_headers(revocation)
    return Response(200, to_edited_user(record, revocation), headers)


def _edit(body: EditBody) -> UserEdit | Problem:
    name: str | None = None
    if isinstance(body.name, str):
        name = clean_person(body.name)
        if name is None:
            return bad_name()
    change = UserEdit(
        role=body.role if isinstance(body.role, str) else None,
        name=name,
        status=Status(body.status) if isinstance(body.status, str) else None,
    )
    if change == UserEdit():
        return Problem(Code.BAD_REQUEST, "give at least one of role, name and status")
    return change


def _last_admin() -> Problem:
    return Problem(
        Code.LAST_ADMIN, "the account would be left without an active Account Administrator; appoint another one first"
    )


_VIEW = RequirePermission("users", "view")
_MANAGE = RequirePermission("users", "manage")

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/v1/roles", _VIEW, roles, "The roles that I may assign", response_schema=permission_schemas.Roles),
    Endpoint(
        "GET",
        "/v1/users",
        _VIEW,
        users,
        "All users of my account, and its seats",
        statuses=(200, 404),
        response_schema=schemas.Roster,
    ),
    Endpoint(
        "PATCH",
        "/v1/users/{id}",
        _MANAGE,
        edit,
        "Change a user's role or name, suspend or resume it",
        EditBody,
        statuses=(200, 400, 403, 404, 409, 422),
        response_schema=schemas.EditedUser,
    ),
    Endpoint(
        "POST",
        "/v1/users/{id}/review",
        _MANAGE,
        review,
        "End the hold of a user whose acknowledged change was lost",
        ReviewBody,
        statuses=(200, 400, 403, 404, 409, 422),
        response_schema=schemas.EditedUser,
    ),
    Endpoint(
        "DELETE",
        "/v1/users/{id}",
        _MANAGE,
        remove,
        "Remove a user, or end an invitation",
        statuses=(204, 403, 404, 409),
    ),
    *invitations.ENDPOINTS,
    *user_credentials.ENDPOINTS,
)
