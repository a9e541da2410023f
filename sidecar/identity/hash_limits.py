"""Limits of sign-in and of mails, as values. The counting is in store/rate_limiter.py."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sidecar.domain.users import AccountId
from sidecar.identity.emails import Email


class MailSource(StrEnum):
    """Origin of a mail. Each has buckets and a queue of its own, so that strangers exhaust only their own (R16)."""

    STRANGER = "stranger"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Admitted:
    """Go on. ``suspect``: a bucket of the e-mail or of everybody is empty, so only a small share of the pool is left.
    ``receipt`` is for ``settle``."""

    suspect: bool = False
    receipt: object = None


@dataclass(frozen=True, slots=True)
class Limited:
    """Too many failures of this e-mail from this address, or of this address. Nothing was tried."""

    retry_after: int


class Limits(Protocol):
    """Reserved before the work, so that a hundred tries at once are not all the first one."""

    @property
    def short(self) -> bool:
        """The store is short of memory: sign-ins wait, checks do not (R16)."""

    def refused(self, address: str) -> Limited | None:
        """Return the refusal that an address got a moment ago and would get again: nothing of it need be read."""

    async def reserve(self, subject: Email | str, address: str) -> Admitted | Limited:
        """Count a failure in advance. ``subject`` is an e-mail, or a user's id when it is known."""

    async def settle(self, admitted: Admitted, *, failed: bool) -> None:
        """Once after each ``reserve`` that admitted: it was a failure, or was none and is not counted."""

    async def may_ask(self, address: str) -> bool:
        """R12: one more mail asked for from there by somebody who has not signed in. False: and nobody is told."""

    async def may_mail(self, recipient: Email, source: MailSource) -> bool:
        """One more mail to that person. Ask before ``may_mail_for``: a refusal must cost the account nothing."""

    async def may_mail_for(self, account: AccountId, source: MailSource) -> bool:
        """One more mail on behalf of that account."""


class Unlimited:
    """No limits: for tests, and for a command line that is nobody's target."""

    short = False

    def refused(self, address: str) -> Limited | None:  # noqa: ARG002
        return None

    async def reserve(self, subject: Email | str, address: str) -> Admitted | Limited:  # noqa: ARG002
        return Admitted()

    async def settle(self, admitted: Admitted, *, failed: bool) -> None:
        """There is nothing to take back."""

    async def may_ask(self, address: str) -> bool:  # noqa: ARG002
        return True

    async def may_mail(self, recipient: Email, source: MailSource) -> bool:  # noqa: ARG002
        return True

    async def may_mail_for(self, account: AccountId, source: MailSource) -> bool:  # noqa: ARG002
        return True
