"""What the limits of signing in look like from here (R16). The counting is the store's: one script, one outcome."""

from dataclasses import dataclass
from typing import Protocol

from sidecar.accounts.emails import Email


@dataclass(frozen=True, slots=True)
class Admitted:
    """Go on. ``suspect``: a bucket of the e-mail or of everybody is empty, so only a small share of the pool is left.
    ``receipt`` takes the reservation back after a success."""

    suspect: bool = False
    receipt: object = None


@dataclass(frozen=True, slots=True)
class Limited:
    """Too many failures of this e-mail from this address, or of this address. Nothing was tried."""

    retry_after: int


class Limits(Protocol):
    """Reserved before the work, so that a hundred tries at once are not all the first one."""

    async def reserve(self, subject: Email | str, address: str) -> Admitted | Limited:
        """Count a failure in advance. ``subject`` is an e-mail, or a user's id when it is known."""

    async def refund(self, admitted: Admitted) -> None:
        """It was no failure."""


class Unlimited:
    """No limits: for tests, and for a command line that is nobody's target."""

    async def reserve(self, subject: Email | str, address: str) -> Admitted | Limited:  # noqa: ARG002
        return Admitted()

    async def refund(self, admitted: Admitted) -> None:
        """There is nothing to take back."""
