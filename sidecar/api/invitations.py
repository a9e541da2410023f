"""Invitations over HTTP: create, resend, accept. An invitation reserves a seat. `identity` decides."""

from hashlib import sha256
from typing import Any, assert_never

import msgspec

from sidecar.api.serializers import (
    rfc3339,
    to_grant,
    to_password_set,
    to_seats_with_invitations,
    to_shown_invitation,
    to_user,
)
from sidecar.domain.decision import Reason
from sidecar.domain.problems import Code, Problem
from sidecar.domain.users import Seats, Status
from sidecar.http import schemas
from sidecar.http.endpoint import Endpoint, Require, RequirePermission
from sidecar.http.headers import header_values
from sidecar.http.problems import bad_name, not_found, of_reason, overloaded, rate_limited, refusal, weak_password
from sidecar.http.request import Request, Response
from sidecar.identity.display_names import clean_person
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Overloaded
from sidecar.identity.invitations import InvalidEmail, Invitee, Sent
from sidecar.identity.passwords import WeakPassword
from sidecar.identity.sessions import Grant, PasswordSet
from sidecar.store.invitations import (
    AlreadyInvited,
    AlreadyMember,
    IdempotencyKey,
    InvitationGone,
    LiveInvitation,
    NotInvited,
    SeatLimit,
)
from sidecar.store.outcomes import NoAccount, NoUser

MAX_IDEMPOTENCY_KEY = 255


class InviteBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The user to invite, and their role."""

    email: schemas.Text
    role: schemas.RoleName
    name: schemas.Text = ""


class AcceptBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Acceptance of an invitation. ``token``: the fragment of the link, after the #.

    ``tokens``: false opens no session and returns no token (200 instead of 201).
    """

    token: schemas.Secret
    password: schemas.Secret
    name: schemas.Text | msgspec.UnsetType = msgspec.UNSET
    tokens: bool = True

    def __repr__(self) -> str:
        return "AcceptBody(…)"


class ShowBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Invitation to show. ``token``: the fragment of the link, after the #."""

    token: schemas.Secret

    def __repr__(self) -> str:
        return "ShowBody(…)"


async def invite(call: Request[InviteBody]) -> Response | Problem:
    """Invite a user (``POST /v1/users``)."""
    name = clean_person(call.body.name)
    if name is None:
        return bad_name()
    key = _idempotency(call, "POST /v1/users")
    if isinstance(key, Problem):
        return key
    invitee = Invitee(call.body.email, name, call.body.role)
    outcome = await call.app.people.inviting.invite(call.actor, call.policy, call.caller.record.account, invitee, key)
    match outcome:
        case Sent():
            return Response(201, _sent(outcome))
        case InvalidEmail():
            return Problem(Code.INVALID_EMAIL, "email is not an e-mail address; give one like ada@example.com")
        case SeatLimit(seats):
            return _seat_limit(call, seats)
        case AlreadyMember(user):
            return Problem(Code.ALREADY_MEMBER, "a user of this account has that e-mail already", {"id": user})
        case AlreadyInvited(user, expires_at):
            return Problem(
                Code.ALREADY_INVITED,
                f"that e-mail is invited already; for a new link POST /v1/users/{user}/invitation",
                {"id": user, "expires_at": rfc3339(expires_at), "user": {"id": user, "status": Status.INVITED.value}},
            )
        case NoAccount():
            return not_found("account")
        case _:
            return refusal(outcome)


async def invite_again(call: Request[None]) -> Response | Problem:
    """Create a new link for the same seat (``POST /v1/users/{id}/invitation``).

    The old link becomes invalid. Renews an expired invitation.
    """
    user = call.names["id"]
    key = _idempotency(call, f"POST /v1/users/{user}/invitation")
    if isinstance(key, Problem):
        return key
    outcome = await call.app.people.inviting.resend(call.actor, call.policy, call.caller.record.account, user, key)
    match outcome:
        case Sent():
            return Response(200, _sent(outcome))
        case SeatLimit(seats):
            return _seat_limit(call, seats)
        case NotInvited():
            return Problem(Code.NOT_INVITED, "the user has accepted the invitation already")
        case NoUser():
            return not_found("user")
        case _:
            return refusal(outcome)


async def show(call: Request[ShowBody]) -> Response | Problem:
    """Show the invitation of a live link (``POST /v1/invitations/show``). Neither consumes nor audits it."""
    generation = call.generation
    if generation is None:
        return of_reason(Reason.POLICY_UNAVAILABLE, "")
    outcome = await call.app.people.inviting.show(call.body.token, call.address)
    match outcome:
        case LiveInvitation():
            return Response(200, to_shown_invitation(outcome, generation))
        case InvitationGone():
            return _gone()
        case Limited(retry_after):
            return rate_limited(retry_after)
        case _:
            assert_never(outcome)


async def accept(call: Request[AcceptBody]) -> Response | Problem:
    """Accept an invitation (``POST /v1/invitations/accept``). Sets no cookie (R5)."""
    name: str | None = None
    if isinstance(call.body.name, str):
        name = clean_person(call.body.name)
        if name is None:
            return bad_name()
    outcome = await call.app.people.inviting.accept(
        call.body.token, call.body.password, name or None, call.client, sign_in=call.body.tokens
    )
    match outcome:
        case Grant():
            return Response(201, to_grant(outcome))
        case PasswordSet(record):
            return Response(200, to_password_set(record))
        case InvitationGone():
            return _gone()
        case WeakPassword(weaknesses):
            return weak_password(weaknesses)
        case Overloaded(retry_after):
            return overloaded(retry_after)
        case _:
            assert_never(outcome)


def _gone() -> Problem:
    return Problem(Code.INVITATION_GONE, "this invitation is invalid or has expired; request a new link")


def _sent(sent: Sent) -> schemas.Invited:
    link = schemas.Link(sent.url, rfc3339(sent.expires_at), sent.mailed)
    return schemas.Invited(to_user(sent.member.record), link)


def _seat_limit(call: Request[Any], seats: Seats) -> Problem:
    contact = call.app.public_config.seat_contact
    more = f"ask {contact} for more seats" if contact else "ask your operator for more seats"
    return Problem(
        Code.SEAT_LIMIT,
        f"all {seats.cap} seats are taken; remove a user, end an invitation, or {more}",
        {"seats": to_seats_with_invitations(seats, contact)},
    )


def _idempotency(call: Request[Any], endpoint: str) -> IdempotencyKey | Problem | None:
    """Return the idempotency key (R13). It is bound to the actor, the endpoint and the first body sent with it."""
    values = header_values(call.headers, b"idempotency-key")
    if not values:
        return None
    if len(values) > 1 or not 0 < len(values[0]) <= MAX_IDEMPOTENCY_KEY:
        return Problem(
            Code.BAD_REQUEST, f"Idempotency-Key must occur once and have 1 to {MAX_IDEMPOTENCY_KEY} characters"
        )
    owner = f"{call.caller.record.id}\n{endpoint}\n".encode()
    body = b"" if call.body is None else msgspec.json.encode(call.body)
    return IdempotencyKey(sha256(owner + values[0]).hexdigest(), sha256(body).hexdigest())


_MANAGE = RequirePermission("users", "manage")

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        "/v1/users",
        _MANAGE,
        invite,
        "Invite a user",
        InviteBody,
        statuses=(201, 400, 403, 404, 409, 422),
        response_schema=schemas.Invited,
    ),
    Endpoint(
        "POST",
        "/v1/users/{id}/invitation",
        _MANAGE,
        invite_again,
        "A new link for an invited user, or for one whose invitation expired",
        statuses=(200, 400, 403, 404, 409, 422),
        response_schema=schemas.Invited,
    ),
    Endpoint(
        "POST",
        "/v1/invitations/show",
        Require.OPEN,
        show,
        "Show the invitation of a link",
        ShowBody,
        statuses=(200, 410, 429),
        response_schema=schemas.ShownInvitation,
    ),
    Endpoint(
        "POST",
        "/v1/invitations/accept",
        Require.OPEN,
        accept,
        "Accept an invitation",
        AcceptBody,
        statuses=(201, 200, 400, 410, 422, 503),
        response_schema=schemas.Grant,
        other_responses={200: schemas.PasswordSetResponse},
    ),
)
