"""What good answers look like, for the OpenAPI document. Shapes only; the tests hold every answer against its shape."""

from typing import Annotated, Literal

import msgspec

from sidecar.domain.decision import Reason
from sidecar.domain.problems import Code
from sidecar.domain.users import Status

When = Annotated[str, msgspec.Meta(description="RFC 3339, UTC.", extra_json_schema={"format": "date-time"})]
Count = Annotated[int, msgspec.Meta(ge=0)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
ReasonName = Annotated[Reason, msgspec.Meta(description="The closed list of reasons.")]


class ProblemBody(msgspec.Struct, frozen=True):
    """RFC 9457. Further members tell more of the problem ``code`` names."""

    type: str
    title: str
    status: int
    code: Code
    detail: str


class OAuthError(msgspec.Struct, frozen=True):
    """RFC 6749 section 5.2."""

    error: str
    error_description: str


class Message(msgspec.Struct, frozen=True):
    message: str


# -- people ------------------------------------------------------------------------------------------------------------


class User(msgspec.Struct, frozen=True):
    id: str
    email: str
    name: str
    role: str
    status: Status
    account: str


class Review(msgspec.Struct, frozen=True):
    """The store has lost an acknowledged change of the user: ``before`` as acknowledged, ``now`` as stored (R48)."""

    role_before: str
    role_now: str
    status_before: str
    status_now: str
    since: When


class Member(msgspec.Struct, frozen=True):
    """A user as the list shows it. An invited one has an ``invite_expires_at``, a held one a ``review``."""

    id: str
    email: str
    name: str
    role: str
    status: Status
    created_at: When
    last_login_at: When | None
    invite_expires_at: When | None
    review: Review | None


class Seats(msgspec.Struct, frozen=True):
    """``contact``: whom to reach for more."""

    cap: Count
    used: Count
    members: Count
    invited: Count
    available: Count
    contact: str | None


class Roster(msgspec.Struct, frozen=True):
    users: list[Member]
    seats: Seats


class Account(msgspec.Struct, frozen=True):
    id: str
    name: str
    seats: Seats


class Role(msgspec.Struct, frozen=True):
    """``opens``: the sections in which it may do anything at all."""

    id: str
    title: str
    description: str
    opens: list[str]


class Roles(msgspec.Struct, frozen=True):
    roles: list[Role]


class Link(msgspec.Struct, frozen=True):
    """``mailed``: a mail is queued; if not, hand the link over. ``url`` and ``mailed`` are null in a replay."""

    url: str | None
    expires_at: When
    mailed: bool | None


class Invited(msgspec.Struct, frozen=True):
    user: User
    invitation: Link


# -- signing in --------------------------------------------------------------------------------------------------------


class Grant(msgspec.Struct, frozen=True):
    """RFC 6749 section 5.1, and whose it is."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: Count
    refresh_token: str
    scope: str
    account: str
    user: User


class PasswordGrant(msgspec.Struct, frozen=True):
    """``username`` is the e-mail; ``account``, a name or an id: where several accounts know it."""

    grant_type: Literal["password"]
    username: str
    password: str
    account: str | msgspec.UnsetType = msgspec.UNSET


class RefreshGrant(msgspec.Struct, frozen=True):
    grant_type: Literal["refresh_token"]
    refresh_token: str


class TokenQuery(msgspec.Struct, frozen=True):
    """``token_type_hint`` is not needed: a token shows what it is."""

    token: str
    token_type_hint: str | msgspec.UnsetType = msgspec.UNSET


class Introspection(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 7662. Nothing but ``active: false`` of whatever is not a live access token of the key's own account."""

    active: bool
    token_type: str | msgspec.UnsetType = msgspec.UNSET
    iss: str | msgspec.UnsetType = msgspec.UNSET
    sub: str | msgspec.UnsetType = msgspec.UNSET
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    aud: str | msgspec.UnsetType = msgspec.UNSET
    exp: int | msgspec.UnsetType = msgspec.UNSET
    iat: int | msgspec.UnsetType = msgspec.UNSET
    nbf: int | msgspec.UnsetType = msgspec.UNSET
    jti: str | msgspec.UnsetType = msgspec.UNSET
    username: str | msgspec.UnsetType = msgspec.UNSET
    acct: str | msgspec.UnsetType = msgspec.UNSET
    user: str | msgspec.UnsetType = msgspec.UNSET
    sid: str | msgspec.UnsetType = msgspec.UNSET


class KeyShown(msgspec.Struct, frozen=True):
    """RFC 8037: an Ed25519 public key."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    alg: str
    use: str


class KeySetShown(msgspec.Struct, frozen=True):
    keys: list[KeyShown]


class ServerMetadata(msgspec.Struct, frozen=True):
    """RFC 8414."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    revocation_endpoint: str
    introspection_endpoint: str
    grant_types_supported: list[str]
    response_types_supported: list[str]


# -- oneself -----------------------------------------------------------------------------------------------------------


class Permission(msgspec.Struct, frozen=True):
    section: str
    action: str
    decision: bool
    reason: ReasonName


class Permissions(msgspec.Struct, frozen=True):
    role: str
    generation: str
    permissions: list[Permission]


class Revocation(msgspec.Struct, frozen=True):
    """``complete``: no sidecar takes an older token any more."""

    complete: bool
    sidecars: Count
    waited_ms: Count


class EditedUser(User, frozen=True):
    """``revocation`` is null when nothing was changed."""

    revocation: Revocation | None


class PasswordChanged(msgspec.Struct, frozen=True):
    """The tokens that replace all others; a browser's stand in its cookies instead."""

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


# -- checks ------------------------------------------------------------------------------------------------------------


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One section and action."""

    section: Name
    action: Name


class Checks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """1 to 100 of them."""

    checks: Annotated[list[Check], msgspec.Meta(min_length=1, max_length=100)]


class Decided(msgspec.Struct, frozen=True):
    """``rule``: ``policy/policy.csv:LINE`` of the rule that decided, or null."""

    decision: bool
    reason: ReasonName
    rule: str | None


class Checked(msgspec.Struct, frozen=True):
    """To one pair: ``decision``, ``reason`` and ``rule``; to ``checks``: ``decisions`` in the same order."""

    generation: str
    decision: bool | msgspec.UnsetType = msgspec.UNSET
    reason: ReasonName | msgspec.UnsetType = msgspec.UNSET
    rule: str | msgspec.UnsetType | None = msgspec.UNSET
    decisions: list[Decided] | msgspec.UnsetType = msgspec.UNSET
