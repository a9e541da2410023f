"""Structs of the API that several modules share. Handlers return them, and the OpenAPI document derives from them."""

from typing import Annotated, Literal

import msgspec

from sidecar.domain.decision import Reason
from sidecar.domain.problems import Code
from sidecar.domain.users import Status

When = Annotated[str, msgspec.Meta(description="RFC 3339, UTC.", extra_json_schema={"format": "date-time"})]
Count = Annotated[int, msgspec.Meta(ge=0)]
Text = Annotated[str, msgspec.Meta(max_length=320)]
"""An e-mail, name or id as typed. `identity` validates it."""

RoleName = Annotated[str, msgspec.Meta(max_length=128)]

Secret = Annotated[str, msgspec.Meta(max_length=8192)]
"""A password or a token as typed."""

ReasonName = Annotated[Reason, msgspec.Meta(description="The closed list of reasons.")]


class ProblemBody(msgspec.Struct, frozen=True):
    """Problem (RFC 9457). ``code`` determines the further members."""

    type: str
    title: str
    status: int
    code: Code
    detail: str


class OAuthError(msgspec.Struct, frozen=True, omit_defaults=True):
    """OAuth error (RFC 6749 section 5.2). With ``mfa_required``: the challenge and the methods that answer it."""

    error: str
    error_description: str
    mfa_token: str | msgspec.UnsetType = msgspec.UNSET
    methods: list[str] | msgspec.UnsetType = msgspec.UNSET


class Message(msgspec.Struct, frozen=True):
    message: str


# -- users -------------------------------------------------------------------------------------------------------------


class User(msgspec.Struct, frozen=True):
    id: str
    email: str
    name: str
    role: str
    status: Status
    account: str


class Me(User, frozen=True):
    """The caller. ``email_verified``: its owner has proven the e-mail (R9)."""

    role_title: str
    email_verified: bool


class Review(msgspec.Struct, frozen=True):
    """Lost change: the store lost an acknowledged change of the user.

    ``before``: as acknowledged, ``now``: as stored (R48).
    """

    role_before: str
    role_now: str
    status_before: str
    status_now: str
    since: When


class Member(msgspec.Struct, frozen=True):
    """User in the list. ``invite_expires_at`` is set for an invited user, ``review`` for a held one.

    ``sessions``: number of live ones. ``factors``: number of second factors. ``inviter``: name or e-mail; null for an
    operator.
    """

    id: str
    email: str
    name: str
    role: str
    status: Status
    created_at: When
    last_login_at: When | None
    invite_expires_at: When | None
    review: Review | None
    email_verified: bool
    sessions: Count
    inviter: str | None
    factors: Count = 0


class Seats(msgspec.Struct, frozen=True):
    """Seats of an account. ``contact``: address for ordering more."""

    cap: Count
    used: Count
    members: Count
    invited: Count
    available: Count
    contact: str | None


class PendingInvitation(msgspec.Struct, frozen=True):
    id: str
    email: str
    expires_at: When


class SeatsWithInvitations(Seats, frozen=True):
    """Seats with the invitations that hold one."""

    invitations: list[PendingInvitation]


class Roster(msgspec.Struct, frozen=True):
    users: list[Member]
    seats: Seats


class Account(msgspec.Struct, frozen=True):
    """Account of the caller. ``labels``: set by the operator."""

    id: str
    name: str
    seats: Seats
    labels: dict[str, str]


class InvitedRole(msgspec.Struct, frozen=True):
    """Role of an invitation. ``opens``: titles of the sections in which it has at least one allowed action."""

    id: str
    title: str
    opens: list[str]


class ShownInvitation(msgspec.Struct, frozen=True):
    """Invitation as its link shows it. ``account``: the account's name.

    ``inviter``: name or e-mail of the user who invited; null for an operator and for a removed user.
    """

    account: str
    inviter: str | None
    role: InvitedRole
    email: str
    name: str
    expires_at: When


class Link(msgspec.Struct, frozen=True):
    """Link of an invitation.

    ``mailed``: a mail is queued; if false, hand the link over. Null in a replay, as is ``url``.
    """

    url: str | None
    expires_at: When
    mailed: bool | None


class Invited(msgspec.Struct, frozen=True):
    user: User
    invitation: Link


# -- signing in --------------------------------------------------------------------------------------------------------


class Grant(msgspec.Struct, frozen=True):
    """Token response (RFC 6749 section 5.1), with the user."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: Count
    refresh_token: str
    scope: str
    account: str
    user: User


class PasswordSetResponse(msgspec.Struct, frozen=True):
    """Response with ``tokens: false``: the user of the link, without a session. ``account``: its id."""

    user: User
    account: str


# -- the caller --------------------------------------------------------------------------------------------------------


class Revocation(msgspec.Struct, frozen=True):
    """Progress of a revocation. ``complete``: all sidecars reject the older tokens."""

    complete: bool
    sidecars: Count
    waited_ms: Count


class EditedUser(User, frozen=True):
    """User after an edit. ``revocation`` is null if nothing changed."""

    revocation: Revocation | None


class PasswordChanged(msgspec.Struct, frozen=True):
    """Tokens that replace all others. A browser receives them in cookies instead."""

    message: str
    expires_in: Count
    revocation: Revocation
    access_token: str | msgspec.UnsetType = msgspec.UNSET
    refresh_token: str | msgspec.UnsetType = msgspec.UNSET
    token_type: Literal["Bearer"] | msgspec.UnsetType = msgspec.UNSET


class Session(msgspec.Struct, frozen=True):
    id: str
    current: bool
    created_at: When
    refreshed_at: When
    expires_at: When
    address: str
    agent: str


class Sessions(msgspec.Struct, frozen=True):
    sessions: list[Session]
