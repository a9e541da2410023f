"""Proof of a signed-in user by the current password: for a change of it, and for a step-up."""

from dataclasses import dataclass
from typing import Final

from sidecar.identity.hash_limits import Limited, LoginLimits
from sidecar.identity.hashing import Hashing, Overloaded, Priority, VerifyResult
from sidecar.identity.passwords import MAX_TYPED, normalise
from sidecar.identity.sessions import Client
from sidecar.store.users import Credentials


@dataclass(frozen=True, slots=True)
class WrongPassword:
    """The password is wrong."""


_WRONG: Final = WrongPassword()


class PasswordProofs:
    """Comparison of a user's password, with the limits of the sign-in."""

    def __init__(self, *, hashing: Hashing, limits: LoginLimits) -> None:
        self._hashing = hashing
        self._limits = limits

    async def prove(self, held: Credentials, typed: str, client: Client) -> WrongPassword | Limited | Overloaded | None:
        """Return None for the right password. Failures count as sign-in failures, so that a stolen token allows no
        guessing. Raises StoreUnavailableError.
        """
        if len(typed) > MAX_TYPED:
            return _WRONG
        admitted = await self._limits.reserve(held.record.id, client.address)
        if isinstance(admitted, Limited):
            return admitted
        failed = True  # also if it ends without an outcome
        try:
            password = normalise(typed)
            if password is None or not held.password_hash:
                return _WRONG
            compared = await self._hashing.compare(Priority.PROVEN, held.record.id, password, held.password_hash)
            failed = isinstance(compared, VerifyResult) and not compared.matches
        finally:
            await self._limits.settle(admitted, failed=failed)
        if isinstance(compared, Overloaded):
            return compared
        return None if compared.matches else _WRONG
