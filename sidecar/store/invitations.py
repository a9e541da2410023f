"""Invitations: a seat held for somebody who has yet to choose a password. Only a keyed digest of the secret is kept."""

from dataclasses import dataclass

from sidecar.store.connection import Store
from sidecar.store.outcomes import (
    AccountSuspended,
    ActorChanged,
    IdempotencyMismatch,
    NoAccount,
    NoUser,
    Position,
)
from sidecar.store.sessions import NewSession
from sidecar.vocabulary.people import AccountId, Actor, Invitation, Member, Seats, UserId, UserRecord


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """R13: ``key`` = SHA-256 hex of (actor uid, endpoint, key), ``body`` = SHA-256 hex of the body."""

    key: str
    body: str


@dataclass(frozen=True, slots=True)
class Invited:
    """``replayed``: the same Idempotency-Key was answered before; the secret of that answer is not known (R13)."""

    member: Member
    expires_at: int
    position: Position
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class SeatLimit:
    seats: Seats


@dataclass(frozen=True, slots=True)
class AlreadyMember:
    user: UserId


@dataclass(frozen=True, slots=True)
class AlreadyInvited:
    user: UserId
    expires_at: int


@dataclass(frozen=True, slots=True)
class NotInvited:
    """The user is a member: there is nothing to accept."""


@dataclass(frozen=True, slots=True)
class Accepted:
    record: UserRecord
    position: Position


@dataclass(frozen=True, slots=True)
class InvitationGone:
    """Unknown, expired, revoked, used, or another secret: nobody is told which."""


class Invitations:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def invite(
        self,
        actor: Actor,
        *,
        account: AccountId,
        uid: UserId,
        email: str,
        name: str,
        role: str,
        digest: str,
        ttl: float,
        mailed: bool = False,
        idempotency: IdempotencyKey | None = None,
    ) -> (
        Invited
        | SeatLimit
        | AlreadyMember
        | AlreadyInvited
        | ActorChanged
        | AccountSuspended
        | NoAccount
        | IdempotencyMismatch
    ):
        """Hold a seat. ``mailed``: the link goes to the e-mail and is shown to nobody else (R9)."""
        raise NotImplementedError

    async def resend(
        self,
        actor: Actor,
        uid: UserId,
        *,
        digest: str,
        ttl: float,
        mailed: bool = False,
        judged_role: str | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> Invited | NotInvited | NoUser | ActorChanged | AccountSuspended | IdempotencyMismatch:
        """A new secret and a new expiry for the same seat, also when the account is full; the old link is dead."""
        raise NotImplementedError

    async def peek(self, uid: UserId, digest: str) -> Invitation | InvitationGone:
        """Is this secret good? Asked before hashing (R17); spends nothing."""
        raise NotImplementedError

    async def accept(
        self, uid: UserId, *, digest: str, password_hash: str, name: str | None, session: NewSession | None
    ) -> Accepted | InvitationGone:
        """The invited user becomes active on the seat it holds already, and is signed in with ``session``."""
        raise NotImplementedError
