"""Users, invitations and seats for those whom the policy lets manage them. Translates; judging is accounts'."""

from hashlib import sha256
from typing import Annotated, Any, Literal, assert_never

import msgspec

from sidecar.accounts.hashing import Overloaded
from sidecar.accounts.invitations import InvalidEmail, Invitee, Sent
from sidecar.accounts.names import clean
from sidecar.accounts.password_change import WeakPassword
from sidecar.accounts.roles import RoleAboveYours, UnknownRole, may_assign
from sidecar.accounts.sessions import Grant
from sidecar.accounts.users import Edit
from sidecar.edge.call import Call, Endpoint, Gate, May, Reply
from sidecar.edge.people import (
    Secret,
    Text,
    actor_changed,
    client_of,
    full_json,
    grant_json,
    listed,
    member_json,
    not_found,
    overloaded,
    seats_json,
    user_json,
    weak_password,
    when,
)
from sidecar.policy.decide import opens
from sidecar.store.invitations import (
    AlreadyInvited,
    AlreadyMember,
    IdempotencyKey,
    InvitationGone,
    NotInvited,
    SeatLimit,
)
from sidecar.store.outcomes import (
    AccountSuspended,
    ActorChanged,
    IdempotencyMismatch,
    LastAdmin,
    NoAccount,
    NoUser,
    Removed,
    StillInvited,
)
from sidecar.vocabulary.people import Status, UserRecord
from sidecar.vocabulary.problems import Code, Problem

UNSET = msgspec.UNSET
Unset = msgspec.UnsetType
MAX_IDEMPOTENCY_KEY = 255

RoleName = Annotated[str, msgspec.Meta(max_length=128)]


class InviteBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to invite, and as what."""

    email: Text
    role: RoleName
    name: Text = ""


class EditBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At least one of them. ``status`` suspends and resumes."""

    role: RoleName | Unset = UNSET
    name: Text | Unset = UNSET
    status: Literal["active", "suspended"] | Unset = UNSET


class AcceptBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``token``: what stands behind the # of the link."""

    token: Secret
    password: Secret
    name: Text | Unset = UNSET

    def __repr__(self) -> str:
        return "AcceptBody(…)"


async def roles(call: Call[None]) -> Reply:
    """``GET /v1/roles``: those that the caller may assign (R11)."""
    shown = [
        {"id": role.id, "title": role.title, "description": role.description, "opens": opens(call.policy, role.id)}
        for role in may_assign(call.policy, call.caller.record.role)
    ]
    return Reply(200, {"roles": shown})


async def users(call: Call[None]) -> Reply | Problem:
    """``GET /v1/users``: everybody and the seats, of one instant."""
    roster = await call.parts.people.users.roster(call.caller.record.account)
    if isinstance(roster, NoAccount):
        return not_found("account")
    return Reply(
        200,
        {
            "users": [member_json(member) for member in roster.members],
            "seats": seats_json(roster.seats, call.parts.surface.seat_contact),
        },
    )


async def invite(call: Call[InviteBody]) -> Reply | Problem:
    """``POST /v1/users``."""
    name = clean(call.body.name)
    if name is None:
        return _bad_name()
    key = _idempotency(call, "POST /v1/users")
    if isinstance(key, Problem):
        return key
    invitee = Invitee(call.body.email, name, call.body.role)
    outcome = await call.parts.people.inviting.invite(call.actor, call.policy, call.caller.record.account, invitee, key)
    match outcome:
        case Sent():
            return Reply(201, _sent(outcome))
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
                {"id": user, "expires_at": when(expires_at)},
            )
        case NoAccount():
            return not_found("account")
        case _:
            return _refusal(outcome)


async def invite_again(call: Call[None]) -> Reply | Problem:
    """``POST /v1/users/{id}/invitation``: a new link on the same seat, the old one dead."""
    user = call.names["id"]
    key = _idempotency(call, f"POST /v1/users/{user}/invitation")
    if isinstance(key, Problem):
        return key
    outcome = await call.parts.people.inviting.resend(call.actor, call.policy, call.caller.record.account, user, key)
    match outcome:
        case Sent():
            return Reply(200, _sent(outcome))
        case NotInvited():
            return Problem(Code.NOT_INVITED, "the user has accepted already; there is nothing to invite to")
        case NoUser():
            return not_found("user")
        case _:
            return _refusal(outcome)


async def edit(call: Call[EditBody]) -> Reply | Problem:
    """``PATCH /v1/users/{id}``: in force at the next decision, everywhere, when this answers."""
    change = _edit(call.body)
    if isinstance(change, Problem):
        return change
    outcome = await call.parts.people.membership.edit(
        call.actor, call.policy, call.caller.record.account, call.names["id"], change
    )
    match outcome:
        case UserRecord():
            return Reply(200, user_json(outcome))
        case NoUser():
            return not_found("user")
        case LastAdmin():
            return _last_admin()
        case StillInvited():
            return Problem(Code.ALREADY_INVITED, "an invited user cannot be suspended; DELETE it to end the invitation")
        case _:
            return _refusal(outcome)


async def remove(call: Call[None]) -> Reply | Problem:
    """``DELETE /v1/users/{id}``: the seat is free, every token dead, an invitation too."""
    outcome = await call.parts.people.membership.remove(
        call.actor, call.policy, call.caller.record.account, call.names["id"]
    )
    match outcome:
        case Removed():
            return Reply(204)
        case NoUser():
            return not_found("user")
        case LastAdmin():
            return _last_admin()
        case _:
            return _refusal(outcome)


async def accept(call: Call[AcceptBody]) -> Reply | Problem:
    """``POST /v1/invitations/accept``: become the invited user. Sets no cookie (R5)."""
    name: str | None = None
    if isinstance(call.body.name, str):
        name = clean(call.body.name)
        if name is None:
            return _bad_name()
    outcome = await call.parts.people.inviting.accept(
        call.body.token, call.body.password, name or None, client_of(call)
    )
    match outcome:
        case Grant():
            return Reply(201, grant_json(outcome))
        case InvitationGone():
            return Problem(
                Code.INVITATION_GONE,
                "this invitation cannot be used (any more); ask whoever invited you for a new link",
            )
        case WeakPassword(weaknesses):
            return weak_password(weaknesses)
        case Overloaded(retry_after):
            return overloaded(retry_after)
        case _:
            assert_never(outcome)


_Refusal = UnknownRole | RoleAboveYours | ActorChanged | AccountSuspended | IdempotencyMismatch


def _refusal(outcome: _Refusal) -> Problem:
    """The refusals that several calls share."""
    match outcome:
        case UnknownRole(role, known, nearest):
            hint = f' (did you mean "{nearest}"?)' if nearest else ""
            return Problem(
                Code.UNKNOWN_ROLE,
                f'"{role}" is not a role that a user can have{hint}; give one of {listed(known)}',
                {"roles": list(known), "nearest": nearest},
            )
        case RoleAboveYours(role):
            return Problem(Code.ROLE_ABOVE_YOURS, f'"{role}" may do more than your own role; ask somebody who has it')
        case ActorChanged():
            return actor_changed()
        case AccountSuspended():
            return Problem(Code.ACCOUNT_SUSPENDED, "the account is suspended; nobody can be added to it")
        case IdempotencyMismatch():
            return Problem(Code.IDEMPOTENCY_MISMATCH, "this Idempotency-Key came with another body; use a new key")
        case _:
            assert_never(outcome)


def _sent(sent: Sent) -> dict[str, Any]:
    return {
        "user": user_json(sent.member.record),
        "invitation": {"url": sent.url, "expires_at": when(sent.expires_at)},
    }


def _seat_limit(call: Call[InviteBody], seats: Any) -> Problem:
    contact = call.parts.surface.seat_contact
    more = f"ask {contact} for more seats" if contact else "ask your operator for more seats"
    return Problem(
        Code.SEAT_LIMIT,
        f"all {seats.cap} seats are taken; remove a user, end an invitation, or {more}",
        {"seats": full_json(seats, contact)},
    )


def _last_admin() -> Problem:
    return Problem(
        Code.LAST_ADMIN, "the account would be left without an active Account Administrator; appoint another one first"
    )


def _bad_name() -> Problem:
    return Problem(Code.BAD_REQUEST, "name must be one line of at most 100 visible characters - at `$.name`")


def _edit(body: EditBody) -> Edit | Problem:
    name: str | None = None
    if isinstance(body.name, str):
        name = clean(body.name)
        if name is None:
            return _bad_name()
    change = Edit(
        role=body.role if isinstance(body.role, str) else None,
        name=name,
        status=Status(body.status) if isinstance(body.status, str) else None,
    )
    if change == Edit():
        return Problem(Code.BAD_REQUEST, "give at least one of role, name and status")
    return change


def _idempotency(call: Call[Any], endpoint: str) -> IdempotencyKey | Problem | None:
    """R13: the key's record is the actor's own, of one endpoint; it is compared with the body that first came with it."""
    given = [value for name, value in call.headers if name.lower() == b"idempotency-key"]
    if not given:
        return None
    if len(given) > 1 or not 0 < len(given[0]) <= MAX_IDEMPOTENCY_KEY:
        return Problem(
            Code.BAD_REQUEST, f"Idempotency-Key must stand once and have 1 to {MAX_IDEMPOTENCY_KEY} characters"
        )
    owner = f"{call.caller.record.id}\n{endpoint}\n".encode()
    body = b"" if call.body is None else msgspec.json.encode(call.body)
    return IdempotencyKey(sha256(owner + given[0]).hexdigest(), sha256(body).hexdigest())


_VIEW = May("users", "view")
_MANAGE = May("users", "manage")

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/v1/roles", _VIEW, roles, "The roles that I may assign"),
    Endpoint("GET", "/v1/users", _VIEW, users, "Everybody of my account, and its seats"),
    Endpoint("POST", "/v1/users", _MANAGE, invite, "Invite somebody", InviteBody, statuses=(201, 400, 403, 409, 422)),
    Endpoint(
        "POST",
        "/v1/users/{id}/invitation",
        _MANAGE,
        invite_again,
        "A new link for an invited user",
        statuses=(200, 403, 404, 409),
    ),
    Endpoint(
        "PATCH",
        "/v1/users/{id}",
        _MANAGE,
        edit,
        "Change a user's role or name, suspend or resume it",
        EditBody,
        statuses=(200, 400, 403, 404, 409, 422),
    ),
    Endpoint(
        "DELETE",
        "/v1/users/{id}",
        _MANAGE,
        remove,
        "Remove a user, or end an invitation",
        statuses=(204, 403, 404, 409),
    ),
    Endpoint(
        "POST",
        "/v1/invitations/accept",
        Gate.OPEN,
        accept,
        "Accept an invitation",
        AcceptBody,
        statuses=(201, 400, 410, 422, 503),
    ),
)
