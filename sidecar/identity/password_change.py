"""Change of one's own password. The old password is the proof, and the returned session is the only one left.

One script raises the epoch, ends every session and opens the new one. The change then waits until no sidecar accepts an
older token. A failed change modifies nothing.
"""

from dataclasses import dataclass, field
from typing import Final

from sidecar.domain.sessions import Method, NewProof
from sidecar.domain.users import Actor, UserId
from sidecar.identity.hash_limits import Limited, LoginLimits
from sidecar.identity.hashing import Hashing, Overloaded, Priority, VerifyResult
from sidecar.identity.passwords import MAX_TYPED, WeakPassword, check_password, normalise
from sidecar.identity.revocation_wait import wait_until_applied
from sidecar.identity.sessions import Client, Grant, Issuer
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
class WrongPassword:
    """Old password is wrong."""


@dataclass(frozen=True, slots=True)
class SamePassword:
    """New password equals the old one."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """New password and confirmation differ."""


ChangeOutcome = Replaced | WrongPassword | WeakPassword | SamePassword | Mismatch | ActorChanged | Limited | Overloaded

_WRONG: Final = WrongPassword()


class PasswordChange:
    """Service for ``POST /v1/me/password``."""

    def __init__(self, *, users: Users, hashing: Hashing, issuer: Issuer, limits: LoginLimits, fleet: Fleet) -> None:
        self._users = users
        self._hashing = hashing
        self._issuer = issuer
        self._limits = limits
        self._fleet = fleet

    async def change(self, user: UserId, typed: NewPassword, actor: Actor, client: Client) -> ChangeOutcome:
        """Change the actor's own password. The script compares ``actor`` with the record of ``user`` (R11).

        Raises StoreUnavailableError.
        """
        if typed.confirmation is not None and typed.confirmation != typed.new:
            return Mismatch()
        held = await self._users.credentials_of(user)
        if held is None or not held.record.may_sign_in:
            return ActorChanged()
        # Check the new password first: its weaknesses reveal nothing about the old one.
        new = await check_password(typed.new, email=held.record.email)
        if isinstance(new, WeakPassword):
            return new
        proof = await self._prove(held, typed.old, client)
        if proof is not None:
            return proof
        if new == normalise(typed.old):
            return SamePassword()
        return await self._replace(held, new, actor, client)

    async def _prove(self, held: Credentials, old: str, client: Client) -> WrongPassword | Limited | Overloaded | None:
        """Verify the old password. Failures count as sign-in failures, so that a stolen token allows no guessing."""
        if len(old) > MAX_TYPED:
            return _WRONG
        admitted = await self._limits.reserve(held.record.id, client.address)
        if isinstance(admitted, Limited):
            return admitted
        failed = True  # also if it ends without an outcome
        try:
            password = normalise(old)
            if password is None:
                return _WRONG
            compared = await self._hashing.compare(Priority.PROVEN, held.record.id, password, held.password_hash)
            failed = isinstance(compared, VerifyResult) and not compared.matches
        finally:
            await self._limits.settle(admitted, failed=failed)
        if isinstance(compared, Overloaded):
            return compared
        return None if compared.matches else _WRONG

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
                grant = self._issuer.grant(record, session.id)
                return Replaced(grant, await wait_until_applied(self._fleet, position))
            case Stale() | NoUser() | ActorChanged():
                return ActorChanged()
