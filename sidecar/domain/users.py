"""Accounts and their users, as every room sees them. Live truth; a token repeats none of it but the ids."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

AccountId = NewType("AccountId", str)
"""``acc_`` and 12 characters of ``[a-z2-7]``."""

UserId = NewType("UserId", str)
"""``usr_``, the account's 12 characters, ``_`` and 12 of its own. An invited user has its id already."""

SessionId = NewType("SessionId", str)
"""``ses_`` and 26 characters of ``[a-z2-7]``."""

ADMINISTRATOR = "account-administrator"
"""The one role the product itself knows: an account is never without an active user who has it."""

DEFAULT_SEATS = 5
"""Users an account may have, unless an operator raises its cap."""


class Status(StrEnum):
    """Where a user stands. Every one of them holds a seat, but an expired invitation, which is in sight for 30 days."""

    INVITED = "invited"
    EXPIRED = "expired"
    ACTIVE = "active"
    SUSPENDED = "suspended"


def is_mailbox_of(written: str, email: str) -> bool:
    """Report whether the folded ``email`` names the mailbox ``written``: only the case of ASCII letters may differ.

    ``link.lua`` compares the same way.
    """
    return written.encode("utf-8", "surrogatepass").lower() == email.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Review:
    """A user is held: the store has lost an acknowledged change of it (R48). ``role_before``, ``status_before``: as
    last acknowledged, the status ``removed`` for one that was removed. ``role_now``, ``status_now``: as stored.
    ``since``: Unix seconds."""

    role_before: str
    role_now: str
    status_before: str
    status_now: str
    since: int


@dataclass(frozen=True, slots=True)
class UserRecord:
    """The live record that every check compares a token with.

    ``epoch`` is the credential epoch (``tv``), ``revision`` counts every change of the record, ``sessions`` maps each
    live session to the Unix second at which it ends (R15): a token of another one is dead. An account that is
    suspended makes every record of it ``SUSPENDED``. ``epoch_changed_at`` is the Unix second of the last raise of the
    epoch or suspension, 0 when there was none: what an outside issuer issued until then is dead (R10). ``review``: the
    user is held (R48). Never changed in place: the mapping may be shared. ``email`` is the folded form that addresses
    are compared by, ``mailbox`` the form that was written, which alone mail is delivered to. ``email_verified`` says
    that ``email`` itself is proven.
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
    sessions: Mapping[SessionId, int] = field(default_factory=dict, hash=False)
    epoch_changed_at: int = 0
    mailbox: str = ""
    review: Review | None = None

    @property
    def may_sign_in(self) -> bool:
        """Active, and not held."""
        return self.status is Status.ACTIVE and self.review is None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change, as judged a moment ago (R11). Scripts compare it with the truth: ``actor_changed``.

    An operator on the command line is ``Actor.operator()``: no user id, nothing to compare.
    ``address`` and ``request_id`` go to the audit row.
    """

    user: UserId | None
    role: str
    epoch: int
    session: SessionId | None
    address: str = ""
    request_id: str = ""

    @classmethod
    def operator(cls) -> "Actor":
        return cls(user=None, role="", epoch=0, session=None, address="cli")

    @classmethod
    def bearer(cls, user: UserId, *, address: str = "", request_id: str = "") -> "Actor":
        """A user who proved itself by a secret of its own (a refresh or reset token): named, nothing to compare."""
        return cls(user=user, role="", epoch=0, session=None, address=address, request_id=request_id)


@dataclass(frozen=True, slots=True)
class Invitation:
    """A pending invitation as people may see it: the seat's expiry, never the secret. ``expires_at``: Unix seconds."""

    user: UserId
    email: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Seats:
    """An account's seats at one instant. ``used`` = members (active, suspended) + unexpired invitations."""

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
    """A tenant. ``created_at``: Unix seconds."""

    id: AccountId
    name: str
    status: Status
    created_at: int
    seats: Seats


@dataclass(frozen=True, slots=True)
class Member:
    """A user as the list shows it. Times are Unix seconds; None where there is none."""

    record: UserRecord
    created_at: int
    last_login_at: int | None = None
    invite_expires_at: int | None = None
