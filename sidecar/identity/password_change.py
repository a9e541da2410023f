"""Change of one's own password. The old password is the proof, and the returned session is the only one left.

One script raises the epoch, ends every session and opens the new one. The change then waits until no sidecar accepts an
older token. A failed change modifies nothing.
"""

from dataclasses import dataclass, field

from sidecar.domain.sessions import Method, NewProof
from sidecar.domain.users import Actor, UserId
from sidecar.identity.hash_limits import Limited, LoginLimits
from sidecar.identity.hashing import Hashing, Overloaded, Priority
from sidecar.identity.password_proof import PasswordProofs, WrongPassword
from sidecar.identity.passwords import WeakPassword, check_password, normalise
from sidecar.identity.revocation_wait import wait_until_applied
from sidecar.identity.security_mails import SecurityChange, SecurityMails
from sidecar.identity.sessions import Client, Grant, Issuer
from sidecar.store.factor_proofs import FactorRequired
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import ActorChanged, NoUser, Stale
from sidecar.store.users import Credentials, PasswordChanged, Users


@dataclass(frozen=True, slots=True)
class NewPassword:
    """Passwords as typed. ``confirmation`` is None if the client requests no second input."""

    old: str = field(repr=False)
    new: str = field(repr=False)
    confirmation: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Replaced:
    """Successful change: the new tokens, and the extent of the old tokens' revocation in the live sidecars."""

    grant: Grant
    revocation: Revocation


@dataclass(frozen=True, slots=True)
class SamePassword:
    """New password equals the old one."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """New password and confirmation differ."""


Rejected = WrongPassword | WeakPassword | SamePassword | Mismatch | FactorRequired
ChangeOutcome = Replaced | Rejected | ActorChanged | Limited | Overloaded


class PasswordChange:
    """Service for ``POST /v1/me/password``."""

    def __init__(
        self,
        users: Users,
        hashing: Hashing,
        issuer: Issuer,
        limits: LoginLimits,
        fleet: Fleet,
        mails: SecurityMails,
    ) -> None:
        self._users = users
        self._hashing = hashing
        self._issuer = issuer
        self._proofs = PasswordProofs(hashing=hashing, limits=limits)
        self._fleet = fleet
        self._mails = mails

    async def change(self, user: UserId, typed: NewPassword, actor: Actor, client: Client) -> ChangeOutcome:
        """Change the actor's own password. The script compares ``actor`` with the record of ``user`` (R11).

        FactorRequired: the user has a second factor, and the actor no session that could have shown it, because an
        external issuer signed its token (R36). Raises StoreUnavailableError.
        """
        if typed.confirmation is not None and typed.confirmation != typed.new:
            return Mismatch()
        held = await self._users.credentials_of(user)
        if held is None or not held.record.may_sign_in:
            return ActorChanged()
        if held.record.factors and not actor.session:
            return FactorRequired()
        # Check the new password first: its weaknesses reveal nothing about the old one.
        new = await check_password(typed.new, email=held.record.email)
        if isinstance(new, WeakPassword):
            return new
        refused = await self._proofs.prove(held, typed.old, client)
        if refused is not None:
            return refused
        if new == normalise(typed.old):
            return SamePassword()
        return await self._replace(held, new, actor, client)

    async def _replace(self, held: Credentials, new: str, actor: Actor, client: Client) -> ChangeOutcome:
        hashed = await self._hashing.hash(Priority.PROVEN, held.record.id, new)
        if isinstance(hashed, Overloaded):
            return hashed
        session = self._issuer.new_session(client, NewProof(Method.PASSWORD))
        outcome = await self._users.change_password(
            held.record.id, expected_epoch=held.record.epoch, password_hash=hashed, session=session, actor=actor
        )
        match outcome:
            case PasswordChanged(record, position):
                self._mails.report(record, SecurityChange.PASSWORD_CHANGED)
                grant = self._issuer.grant(record, session.id)
                return Replaced(grant, await wait_until_applied(self._fleet, position))
            case Stale() | NoUser() | ActorChanged():
                return ActorChanged()
