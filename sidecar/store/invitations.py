"""Invitations: seats held for users without a password yet. The store holds only a keyed digest of the secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.domain.users import AccountId, Actor, Member, Seats, UserId, UserRecord
from sidecar.store.codec import member_of, position_of, record_of, seats_of, seconds
from sidecar.store.connection import Store
from sidecar.store.email_index import add_email, remove_email
from sidecar.store.outcomes import (
    AccountSuspended,
    ActorChanged,
    IdempotencyMismatch,
    NoAccount,
    NoUser,
    Position,
)
from sidecar.store.scripting import milliseconds, run_read, run_write
from sidecar.store.sessions import NewSession, session_argument
from sidecar.tokens.ids import account_of


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Idempotency (R13). ``key``: SHA-256 hex of (actor uid, endpoint, key). ``body``: SHA-256 hex of the body."""

    key: str
    body: str


@dataclass(frozen=True, slots=True)
class Invited:
    """Pending invitation. ``replayed``: the outcome of an earlier call with the same Idempotency-Key (R13)."""

    member: Member
    expires_at: int
    position: Position
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class SeatLimit:
    """No free seat."""

    seats: Seats


@dataclass(frozen=True, slots=True)
class AlreadyMember:
    """A member of the account has the e-mail."""

    user: UserId


@dataclass(frozen=True, slots=True)
class AlreadyInvited:
    """A pending invitation has the e-mail. ``expires_at``: Unix seconds."""

    user: UserId
    expires_at: int


@dataclass(frozen=True, slots=True)
class NotInvited:
    """The user is a member, without a pending invitation."""


@dataclass(frozen=True, slots=True)
class LiveInvitation:
    """Pending invitation whose secret was verified. ``account_name``: the account's name.

    ``inviter``: name or e-mail of the user who invited; None for an operator and for a removed user.
    """

    member: Member
    expires_at: int
    account_name: str
    inviter: str | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """New member."""

    record: UserRecord
    position: Position


@dataclass(frozen=True, slots=True)
class InvitationGone:
    """Unknown, expired, revoked or used invitation, or wrong secret. The response does not distinguish them."""


InviteOutcome = (
    Invited
    | SeatLimit
    | AlreadyMember
    | AlreadyInvited
    | ActorChanged
    | AccountSuspended
    | NoAccount
    | IdempotencyMismatch
)


class Invitations:
    """Invitation operations. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(
        self,
        actor: Actor,
        *,
        uid: UserId,
        email: str,
        mailbox: str,
        name: str,
        role: str,
        password_hash: str,
    ) -> Accepted | InviteOutcome:
        """Make an active user with a first password, on a seat, without a link. The e-mail is not verified (R9)."""
        if (account := account_of(uid)) is None:
            return NoAccount()
        return await self._add(actor, account, email, uid=uid, mailbox=mailbox, name=name, role=role, pw=password_hash)

    async def invite(  # noqa: PLR0913 (each is a field of one invitation, all by name)
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
        mailbox: str | None = None,
        mailed: bool = False,
        idempotency: IdempotencyKey | None = None,
    ) -> InviteOutcome:
        """Invite the normalised ``email`` and hold a seat for it. Raises ValueError when ``uid`` is of another account.

        ``ttl``: seconds. ``mailbox``: the e-mail as typed. ``mailed``: only the mail contains the link (R9).
        """
        if account_of(uid) != account:
            raise ValueError("the invited user's id does not name the account")
        outcome = await self._add(
            actor,
            account,
            email,
            uid=uid,
            mailbox=mailbox or email,
            name=name,
            role=role,
            digest=digest,
            ttl=milliseconds(ttl),
            mailed="1" if mailed else "0",
            idem=_idem(idempotency),
        )
        if isinstance(outcome, Accepted):
            raise TypeError("an invitation made an active user")
        return outcome

    async def _add(self, actor: Actor, account: AccountId, email: str, **words: object) -> Accepted | InviteOutcome:
        await add_email(self._store, email, account)
        reply = await run_write(self._store, "invite", account, actor, email=email, **words)
        made = reply["o"] == "created"
        outcome = (
            Accepted(record_of(account, reply["r"]), position_of(reply)) if made else _invite_outcome(account, reply)
        )
        if isinstance(outcome, Invited | Accepted):
            await add_email(self._store, email, account)  # again: a concurrent removal may have removed it
        if isinstance(outcome, SeatLimit | AccountSuspended | NoAccount | ActorChanged | IdempotencyMismatch):
            await remove_email(self._store, email, account)
        return outcome

    async def resend(
        self,
        actor: Actor,
        uid: UserId,
        *,
        digest: str,
        ttl: float,
        mailed: bool = False,
        expected_role: str | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> Invited | SeatLimit | NotInvited | NoUser | ActorChanged | AccountSuspended | IdempotencyMismatch:
        """Set a new secret and expiry for the same seat, also when the account is full. Invalidates the old link.

        An expired invitation holds no seat and needs a free one: else the outcome is SeatLimit. ``ttl``: seconds.
        """
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await run_write(
            self._store,
            "invitation_resend",
            account,
            actor,
            uid=uid,
            digest=digest,
            ttl=milliseconds(ttl),
            mailed="1" if mailed else "0",
            expected_role=expected_role or "",
            idem=_idem(idempotency),
        )
        if reply["o"] == "not_invited":
            return NotInvited()
        return _link_outcome(account, reply) or NoUser()

    async def peek(self, uid: UserId, digest: str) -> LiveInvitation | InvitationGone:
        """Verify the secret, before a password is hashed (R17) or the invitation is shown. Does not consume it."""
        if (account := account_of(uid)) is None:
            return InvitationGone()
        reply = await run_read(self._store, "invitation_peek", account, uid=uid, digest=digest)
        if reply["o"] != "invitation":
            return InvitationGone()
        member = member_of(account, reply["r"])
        return LiveInvitation(member, seconds(reply["r"]["exp"]), reply["account"], reply["inviter"] or None)

    async def accept(
        self,
        uid: UserId,
        *,
        digest: str,
        password_hash: str,
        name: str | None,
        session: NewSession | None,
        mailed: bool = False,
        address: str = "",
        request_id: str = "",
    ) -> Accepted | InvitationGone:
        """Activate the invited user on its seat, and open ``session``, if there is one.

        ``mailed``: the secret is of the link that only the mail contained, which verifies the e-mail (R9). ``address``
        and ``request_id`` are for the audit; a session brings its own.
        """
        if (account := account_of(uid)) is None:
            return InvitationGone()
        if session is not None:
            address, request_id = session.address, session.request_id
        reply = await run_write(
            self._store,
            "invitation_accept",
            account,
            Actor.bearer(uid, address=address, request_id=request_id),
            uid=uid,
            digest=digest,
            pw=password_hash,
            name=name,
            mailed="1" if mailed else "0",
            session=session_argument(session),
        )
        if reply["o"] != "accepted":
            return InvitationGone()
        return Accepted(record_of(account, reply["r"]), position_of(reply))


def _idem(idempotency: IdempotencyKey | None) -> dict[str, str] | None:
    return None if idempotency is None else {"key": idempotency.key, "body": idempotency.body}


def _invited(account: AccountId, reply: Mapping[str, Any]) -> Invited:
    member = member_of(account, reply["r"])
    if member.invite_expires_at is None:
        raise TypeError("an invitation without an expiry")
    return Invited(member, member.invite_expires_at, position_of(reply), replayed=bool(reply.get("replayed")))


def _invite_outcome(account: AccountId, reply: Mapping[str, Any]) -> InviteOutcome:
    match reply["o"]:
        case "already_member":
            return AlreadyMember(UserId(reply["u"]))
        case "already_invited":
            return AlreadyInvited(UserId(reply["u"]), seconds(reply["exp"]))
        case _:
            return _link_outcome(account, reply) or NoAccount()


def _link_outcome(
    account: AccountId, reply: Mapping[str, Any]
) -> Invited | SeatLimit | ActorChanged | AccountSuspended | IdempotencyMismatch | None:
    """Return the outcome of a new link; None for the outcomes that depend on the script."""
    match reply["o"]:
        case "invited":
            return _invited(account, reply)
        case "seat_limit":
            return SeatLimit(seats_of(reply["seats"]))
        case "actor_changed":
            return ActorChanged()
        case "account_suspended":
            return AccountSuspended()
        case "idempotency_mismatch":
            return IdempotencyMismatch()
        case _:
            return None
