"""Invite, invite again, accept. The secret is made here, goes into one link, and only its keyed digest is kept (R19).

A link is bound to one user, which is bound to one e-mail: whoever accepts becomes that user and no other. Accepting
asks for the secret before it hashes anything (R17), and a weak password leaves the link unspent.
"""

import asyncio
from dataclasses import dataclass, field

from sidecar.accounts.emails import normalise as normalise_email
from sidecar.accounts.hashing import Hashing, Lane, Overloaded
from sidecar.accounts.links import invitation_link
from sidecar.accounts.password_change import WeakPassword
from sidecar.accounts.passwords import normalise, weaknesses
from sidecar.accounts.roles import RoleAboveYours, UnknownRole, judge
from sidecar.accounts.sessions import Client, Entropy, Grant, Issuer
from sidecar.policy.generation import Generation
from sidecar.store import invitations as store
from sidecar.store.outcomes import AccountSuspended, ActorChanged, IdempotencyMismatch, NoAccount, NoUser
from sidecar.store.users import Users
from sidecar.tokens.ids import ENTROPY_BYTES, account_of, new_user_id
from sidecar.tokens.opaque import SECRET_ENTROPY_BYTES, Kind, Pepper, Secret, digest, new_secret, read_secret
from sidecar.vocabulary.people import AccountId, Actor, Invitation, Member, Status, UserId


@dataclass(frozen=True, slots=True)
class Invitee:
    """Who is to be invited, as typed."""

    email: str
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Sent:
    """The user that holds a seat now, and its link. ``url`` is None for a replay: the secret is not kept (R13)."""

    member: Member
    url: str | None = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class InvalidEmail:
    """What was typed is not an e-mail address."""


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
    | store.NotInvited
    | NoUser
    | ActorChanged
    | AccountSuspended
    | IdempotencyMismatch
)
AcceptOutcome = Grant | WeakPassword | Overloaded | store.InvitationGone


class Inviting:
    """``public_url`` is SIDECAR_PUBLIC_URL, ``ttl`` the seconds that a link lives."""

    def __init__(
        self,
        *,
        invitations: store.Invitations,
        users: Users,
        hashing: Hashing,
        issuer: Issuer,
        pepper: Pepper,
        entropy: Entropy,
        public_url: str,
        ttl: int,
    ) -> None:
        self._invitations = invitations
        self._users = users
        self._hashing = hashing
        self._issuer = issuer
        self._pepper = pepper
        self._entropy = entropy
        self._public_url = public_url
        self._ttl = ttl

    async def invite(
        self,
        actor: Actor,
        generation: Generation,
        account: AccountId,
        invitee: Invitee,
        idempotency: store.IdempotencyKey | None = None,
    ) -> InviteOutcome:
        """Hold a seat for ``invitee`` and make its link."""
        email = normalise_email(invitee.email)
        if email is None:
            return InvalidEmail()
        refused = judge(generation, actor, held=None, wanted=invitee.role)
        if refused is not None:
            return refused
        secret = self._secret(new_user_id(account, self._entropy(ENTROPY_BYTES)))
        outcome = await self._invitations.invite(
            actor,
            account=account,
            uid=secret.user,
            email=email,
            name=invitee.name,
            role=invitee.role,
            digest=digest(self._pepper, secret),
            ttl=self._ttl,
            idempotency=idempotency,
        )
        return self._sent(outcome, secret) if isinstance(outcome, store.Invited) else outcome

    async def resend(
        self,
        actor: Actor,
        generation: Generation,
        account: AccountId,
        user: str,
        idempotency: store.IdempotencyKey | None = None,
    ) -> ResendOutcome:
        """A new link on the same seat; the old one is dead."""
        target = await self._users.record(UserId(user)) if account_of(user) == account else None
        if target is None:
            return NoUser()
        if target.status is not Status.INVITED:
            return store.NotInvited()
        refused = judge(generation, actor, held=target.role, wanted=None)
        if refused is not None:
            return refused
        secret = self._secret(target.id)
        outcome = await self._invitations.resend(
            actor,
            target.id,
            digest=digest(self._pepper, secret),
            ttl=self._ttl,
            judged_role=target.role,
            idempotency=idempotency,
        )
        return self._sent(outcome, secret) if isinstance(outcome, store.Invited) else outcome

    async def accept(self, token: str, password: str, name: str | None, client: Client) -> AcceptOutcome:
        """Become the invited user, and be signed in."""
        secret = read_secret(Kind.INVITATION, token)
        if secret is None:
            return store.InvitationGone()
        kept = digest(self._pepper, secret)
        pending = await self._invitations.peek(secret.user, kept)
        if not isinstance(pending, Invitation):
            return pending
        weak = await asyncio.to_thread(weaknesses, password, email=pending.email)
        normal = normalise(password)
        if weak or normal is None:
            return WeakPassword(weak)
        hashed = await self._hashing.hash(Lane.PROVEN, secret.user, normal)
        if isinstance(hashed, Overloaded):
            return hashed
        session = self._issuer.new_session(client)
        outcome = await self._invitations.accept(
            secret.user, digest=kept, password_hash=hashed, name=name, session=session
        )
        return self._issuer.grant(outcome.record, session.id) if isinstance(outcome, store.Accepted) else outcome

    def _secret(self, user: UserId) -> Secret:
        return new_secret(Kind.INVITATION, user, self._entropy(SECRET_ENTROPY_BYTES))

    def _sent(self, invited: store.Invited, secret: Secret) -> Sent:
        url = None if invited.replayed else invitation_link(self._public_url, secret)
        return Sent(invited.member, url, invited.expires_at)
