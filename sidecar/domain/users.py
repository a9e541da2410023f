"""Accounts and their users. Records hold the current state; tokens carry only the ids."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from sidecar.domain.factors import FactorId
from sidecar.domain.labels import NO_LABELS
from sidecar.domain.sessions import LiveSession

AccountId = NewType("AccountId", str)
"""``acc_`` and 12 characters of ``[a-z2-7]``."""

UserId = NewType("UserId", str)
"""``usr_``, the account's 12 characters, ``_`` and 12 own characters. An invited user already has its id."""

SessionId = NewType("SessionId", str)
"""``ses_`` and 26 characters of ``[a-z2-7]``."""

ADMINISTRATOR = "account-administrator"
"""Only role that the product itself requires: each account always has an active user with it."""

DEFAULT_SEATS = 5
"""Default seat cap of an account. Operators can raise it."""


class Status(StrEnum):
    """State of a user or account. Each user holds a seat, except with status EXPIRED.

    An expired invitation is listed for 30 days.
    """

    INVITED = "invited"
    EXPIRED = "expired"
    ACTIVE = "active"
    SUSPENDED = "suspended"


def is_mailbox_of(written: str, email: str) -> bool:
    """Return whether the folded ``email`` names the mailbox ``written``: only the case of ASCII letters may differ.

    ``link.lua`` compares in the same way.
    """
    return written.encode("utf-8", "surrogatepass").lower() == email.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Review:
    """Hold on a user because the store has lost an acknowledged change of the record (R48).

    ``role_before`` and ``status_before`` are the values last acknowledged; the status is ``removed`` for a removed
    user. ``role_now`` and ``status_now`` are the stored values. ``since``: Unix seconds.
    """

    role_before: str
    role_now: str
    status_before: str
    status_now: str
    since: int


@dataclass(frozen=True, slots=True)
class UserRecord:
    """Current record of a user. Each check compares the token with it. Immutable, because the mapping may be shared.

    ``epoch`` is the credential epoch (``tv``). ``revision`` counts all changes of the record. ``sessions`` holds each
    live session with its end and its proofs (R15); tokens of other sessions are invalid. ``status`` is ``SUSPENDED`` in
    all records of a suspended account.

    ``epoch_changed_at`` is the Unix second of the last epoch raise or suspension, or 0. Tokens that an external issuer
    issued up to then are invalid (R10). ``review`` is set while the user is held (R48).

    ``labels`` are those of the account.

    ``email`` is the folded form, for comparison. ``mailbox`` is the form as entered, and the only address for mail
    delivery. ``email_verified``: the user has proven control of ``email`` itself.

    ``factors`` maps each confirmed second factor to the Unix second from which it counts for needs (R37).
    """

    id: UserId
    account: AccountId
    email: str
    name: str
    role: str
    status: Status
    epoch: int
    revision: int
    email_verified: bool = False
    sessions: Mapping[SessionId, LiveSession] = field(default_factory=dict, hash=False)
    epoch_changed_at: int = 0
    mailbox: str = ""
    review: Review | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS, hash=False)
    factors: Mapping[FactorId, int] = field(default_factory=dict, hash=False)

    @property
    def may_sign_in(self) -> bool:
        """Return whether the user is active and not held."""
        return self.status is Status.ACTIVE and self.review is None


@dataclass(frozen=True, slots=True)
class Actor:
    """Author of a change, with role, epoch and session as verified before the change (R11).

    Scripts compare these fields with the current record; a mismatch is ``actor_changed``. ``Actor.operator()`` is an
    operator on the command line: it has no user id, and scripts compare nothing. ``address`` and ``request_id`` are
    written to the audit row.

    ``facts_class``: class of the facts that are known of the actor now, in which its permissions count (R11). None: no
    fact is known.
    """

    user: UserId | None
    role: str
    epoch: int
    session: SessionId | None
    address: str = ""
    request_id: str = ""
    facts_class: int | None = None

    @classmethod
    def operator(cls) -> "Actor":
        return cls(user=None, role="", epoch=0, session=None, address="cli")

    @classmethod
    def bearer(cls, user: UserId, *, address: str = "", request_id: str = "") -> "Actor":
        """Return an actor for a user authenticated by a refresh or reset token. Scripts compare nothing."""
        return cls(user=user, role="", epoch=0, session=None, address=address, request_id=request_id)


@dataclass(frozen=True, slots=True)
class Invitation:
    """Pending invitation for display, without its secret. ``expires_at``: end of the seat's hold, Unix seconds."""

    user: UserId
    email: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Seats:
    """Seats of an account at one instant. ``used`` = members (active, suspended) + unexpired invitations."""

    cap: int
    members: int
    invitations: tuple[Invitation, ...] = ()

    @property
    def used(self) -> int:
        return self.members + len(self.invitations)

    @property
    def available(self) -> int:
        return max(0, self.cap - self.used)


@dataclass(frozen=True, slots=True)
class Account:
    """Tenant. ``created_at``: Unix seconds. ``labels``: set by the operator."""

    id: AccountId
    name: str
    status: Status
    created_at: int
    seats: Seats
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS, hash=False)


@dataclass(frozen=True, slots=True)
class Member:
    """User as shown in lists. Times are Unix seconds, or None if absent.

    ``inviter``: name or e-mail of the inviting user; None for an operator. ``token_only``: the user has signed in, and
    never in a browser.
    """

    record: UserRecord
    created_at: int
    last_login_at: int | None = None
    invite_expires_at: int | None = None
    inviter: str | None = None
    token_only: bool = False
