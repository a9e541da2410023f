"""Invitations: create, resend, accept. The secret is generated here. The store has only its keyed digest (R19).

A link is bound to one user, and a user to one e-mail. Accepting a link activates exactly that user. The secret is
verified before hashing (R17), and a weak password leaves the link unused. With mail configured, a secret has two links.
The inviter gets one; the other is only in the mail and also proves the e-mail (R9).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from sidecar.domain.sessions import Method, NewProof
from sidecar.domain.users import AccountId, Actor, Member, Status, UserId
from sidecar.identity.emails import parse
from sidecar.identity.hash_limits import Limited, LoginLimits, MailSource
from sidecar.identity.hashing import Hashing, Overloaded, Priority
from sidecar.identity.mail import MailMessage
from sidecar.identity.mail_templates import invitation_mail
from sidecar.identity.outbox import MailOutcome, Outbox, mail_refusal
from sidecar.identity.passwords import WeakPassword, check_password
from sidecar.identity.role_assignment import RoleAboveYours, UnknownRole, check_assignment
from sidecar.identity.secret_links import invitation_link, mailed_invitation_link, read_invitation
from sidecar.identity.sessions import Client, Entropy, Grant, Issuer, PasswordSet
from sidecar.policy.generation import Generation
from sidecar.store import invitations as store
from sidecar.store.accounts import Accounts
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.outcomes import AccountSuspended, ActorChanged, IdempotencyMismatch, NoAccount, NoUser
from sidecar.store.users import Users
from sidecar.tokens.ids import ENTROPY_BYTES, account_of, new_account_id, new_user_id
from sidecar.tokens.opaque import SECRET_ENTROPY_BYTES, Pepper, Secret, SecretKind, digest, new_secret


@dataclass(frozen=True, slots=True)
class Invitee:
    """User to invite, as typed."""

    email: str
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Sent:
    """Invited user with a seat, and the link. ``mailed``: a mail with its own link is queued. ``expires_at``: Unix
    seconds.

    ``url`` and ``mailed`` are None for a replay, because neither secret nor first response is stored (R13)."""

    member: Member
    url: str | None = field(repr=False)
    expires_at: int
    mailed: bool | None = False


@dataclass(frozen=True, slots=True)
class InvalidEmail:
    """Input that is not an e-mail address."""


InviteOutcome = (
    Sent
    | InvalidEmail
    | UnknownRole
    | RoleAboveYours
    | store.SeatLimit
    | store.AlreadyMember
    | store.AlreadyInvited
    | ActorChanged
    | AccountSuspended
    | NoAccount
    | IdempotencyMismatch
)
ResendOutcome = (
    Sent
    | UnknownRole
    | RoleAboveYours
    | store.SeatLimit
    | store.NotInvited
    | NoUser
    | ActorChanged
    | AccountSuspended
    | IdempotencyMismatch
)
ShowOutcome = store.LiveInvitation | store.InvitationGone | Limited
AcceptOutcome = Grant | PasswordSet | WeakPassword | Overloaded | store.InvitationGone


class InvitationService:
    """Service for invitations. ``public_url``: SIDECAR_PUBLIC_URL. ``ttl``: lifetime of a link in seconds. ``outbox``:
    None disables mail."""

    def __init__(  # noqa: PLR0913 (the parts, each from its own place)
        self,
        *,
        invitations: store.Invitations,
        accounts: Accounts,
        users: Users,
        hashing: Hashing,
        issuer: Issuer,
        pepper: Pepper,
        entropy: Entropy,
        public_url: str,
        ttl: int,
        outbox: Outbox | None,
        limits: LoginLimits,
    ) -> None:
        self._invitations = invitations
        self._accounts = accounts
        self._users = users
        self._hashing = hashing
        self._issuer = issuer
        self._pepper = pepper
        self._entropy = entropy
        self._public_url = public_url
        self._ttl = ttl
        self._outbox = outbox
        self._limits = limits

    async def invite(
        self,
        actor: Actor,
        generation: Generation,
        account: AccountId,
        invitee: Invitee,
        idempotency: store.IdempotencyKey | None = None,
    ) -> InviteOutcome:
        """Reserve a seat for ``invitee`` and create the link. Raises StoreUnavailableError."""
        address = parse(invitee.email)
        if address is None:
            return InvalidEmail()
        refused = check_assignment(generation, actor, current=None, new=invitee.role)
        if refused is not None:
            return refused
        secret = self._secret(new_user_id(account, self._entropy(ENTROPY_BYTES)))
        outcome = await self._invitations.invite(
            actor,
            account=account,
            uid=secret.user,
            email=address.email,
            mailbox=address.mailbox,
            name=invitee.name,
            role=invitee.role,
            digest=digest(self._pepper, secret),
            ttl=self._ttl,
            mailed=self._outbox is not None,
            idempotency=idempotency,
        )
        return await self._sent(outcome, secret) if isinstance(outcome, store.Invited) else outcome

    async def resend(
        self,
        actor: Actor,
        generation: Generation,
        account: AccountId,
        user: str,
        idempotency: store.IdempotencyKey | None = None,
    ) -> ResendOutcome:
        """Create a new link for the same seat; the old link becomes invalid. An expired invitation takes a seat again.

        Raises StoreUnavailableError.
        """
        target = await self._users.record(UserId(user)) if account_of(user) == account else None
        if target is None:
            return NoUser()
        if target.status not in {Status.INVITED, Status.EXPIRED}:
            return store.NotInvited()
        # The policy may have dropped the role of an expired invitation (R26), so the role is assigned anew.
        wanted = target.role if target.status is Status.EXPIRED else None
        refused = check_assignment(generation, actor, current=target.role, new=wanted)
        if refused is not None:
            return refused
        secret = self._secret(target.id)
        outcome = await self._invitations.resend(
            actor,
            target.id,
            digest=digest(self._pepper, secret),
            ttl=self._ttl,
            mailed=self._outbox is not None,
            expected_role=target.role,
            idempotency=idempotency,
        )
        return await self._sent(outcome, secret) if isinstance(outcome, store.Invited) else outcome

    async def show(self, token: str, address: str) -> ShowOutcome:
        """Return the invitation of a live link, without consuming it. Raises StoreUnavailableError.

        Malformed, unknown, used, replaced and expired secrets cost the same work. ``address``: of the client, limited.
        """
        limited = await self._limits.admit_link(address)
        if limited is not None:
            return limited
        read = read_invitation(token, self._pepper)
        secret = self._secret(self._unknown_user()) if read is None else read[0]
        return await self._invitations.peek(secret.user, digest(self._pepper, secret))

    async def accept(
        self, token: str, password: str, name: str | None, client: Client, *, sign_in: bool = True
    ) -> AcceptOutcome:
        """Activate the invited user with a password. Raises StoreUnavailableError.

        ``sign_in``: open a session as well.
        """
        read = read_invitation(token, self._pepper)
        if read is None:
            return store.InvitationGone()
        secret, mailed = read
        kept = digest(self._pepper, secret)
        pending = await self._invitations.peek(secret.user, kept)
        if not isinstance(pending, store.LiveInvitation):
            return pending
        normal = await check_password(password, email=pending.member.record.email)
        if isinstance(normal, WeakPassword):
            return normal
        hashed = await self._hashing.hash(Priority.PROVEN, secret.user, normal)
        if isinstance(hashed, Overloaded):
            return hashed
        proof = NewProof(Method.PASSWORD)
        session = self._issuer.new_session(client, proof, mailed_link=mailed) if sign_in else None
        outcome = await self._invitations.accept(
            secret.user,
            digest=kept,
            password_hash=hashed,
            name=name,
            session=session,
            mailed=mailed,
            address=client.address,
            request_id=client.request_id,
        )
        if not isinstance(outcome, store.Accepted):
            return outcome
        return PasswordSet(outcome.record) if session is None else self._issuer.grant(outcome.record, session.id)

    def _unknown_user(self) -> UserId:
        """Return the id of no user, in a random account."""
        return new_user_id(new_account_id(self._entropy(ENTROPY_BYTES)), self._entropy(ENTROPY_BYTES))

    def _secret(self, user: UserId) -> Secret:
        return new_secret(SecretKind.INVITATION, user, self._entropy(SECRET_ENTROPY_BYTES))

    async def _sent(self, invited: store.Invited, secret: Secret) -> Sent:
        if invited.replayed:
            return Sent(invited.member, None, invited.expires_at, mailed=None)
        mailed = await self._mail(invited, secret)
        return Sent(invited.member, invitation_link(self._public_url, secret), invited.expires_at, mailed)

    async def _mail(self, invited: store.Invited, secret: Secret) -> bool:
        """Queue the mail. False: nothing is queued, and the inviter delivers the link."""
        if self._outbox is None:
            return False
        try:
            refused = await mail_refusal(self._limits, invited.member.record)
        except StoreUnavailableError:  # the invitation is already stored
            refused = MailOutcome.STORE_UNAVAILABLE
        if refused is not None:
            self._outbox.reject(MailSource.USER, refused)
            return False
        return self._outbox.post(partial(self._messages, invited.member, secret, invited.expires_at), MailSource.USER)

    async def _messages(self, member: Member, secret: Secret, expires_at: int) -> Sequence[MailMessage]:
        record = member.record
        account = await self._accounts.find(record.account)
        if account is None:
            return ()
        link = mailed_invitation_link(self._public_url, secret, self._pepper)
        return (invitation_mail(record.mailbox, account.name, link, expires_at),)
