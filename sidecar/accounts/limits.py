"""What the limits of signing in (R16) and of mails (R12) look like from here. The counting is the store's."""

from dataclasses import dataclass
from typing import Protocol

from sidecar.accounts.emails import Email
from sidecar.vocabulary.people import AccountId


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

    async def may_ask(self, address: str) -> bool:
        """R12: one more mail asked for from there by somebody who has not signed in. False: and nobody is told."""

    async def may_mail(self, recipient: Email) -> bool:
        """One more mail to that person."""

    async def may_mail_for(self, account: AccountId) -> bool:
        """One more mail on behalf of that account."""


class Unlimited:
    """No limits: for tests, and for a command line that is nobody's target."""

    async def reserve(self, subject: Email | str, address: str) -> Admitted | Limited:  # noqa: ARG002
        return Admitted()

    async def refund(self, admitted: Admitted) -> None:
        """There is nothing to take back."""

    async def may_ask(self, address: str) -> bool:  # noqa: ARG002
        return True

    async def may_mail(self, recipient: Email) -> bool:  # noqa: ARG002
        return True

    async def may_mail_for(self, account: AccountId) -> bool:  # noqa: ARG002
        return True
