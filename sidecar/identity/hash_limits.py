"""Interface and values of the limits for sign-in, links, profiles and mail. store/rate_limiter.py does the counting."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sidecar.domain.users import AccountId, UserId
from sidecar.identity.emails import Email


class MailSource(StrEnum):
    """Origin of a mail. Each source has its own buckets and queue, so that strangers exhaust only their own (R16)."""

    ANONYMOUS = "stranger"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Reservation:
    """Admitted attempt. ``suspect``: the e-mail's or the global bucket is empty, so the attempt gets only a small share
    of the hashing pool. ``receipt`` is for ``settle``."""

    suspect: bool = False
    receipt: object = None


@dataclass(frozen=True, slots=True)
class Limited:
    """Attempt rejected without work: too many failures of this e-mail from this address, or of this address.

    ``retry_after``: seconds.
    """

    retry_after: int


class LoginLimits(Protocol):
    """Rate limits for sign-in and mail. Units are reserved before the work, so that concurrent attempts all count."""

    @property
    def memory_low(self) -> bool:
        """Return True while the store is low on memory. Sign-ins are then rejected; checks continue (R16)."""

    def refused(self, address: str) -> Limited | None:
        """Return the recent rejection of an address if it still applies. The request then need not be read."""

    async def reserve(self, subject: Email | str, address: str) -> Reservation | Limited:
        """Count a failure in advance. ``subject``: an e-mail, or a user id if known. Raises StoreUnavailableError."""

    async def settle(self, admitted: Reservation, *, failed: bool) -> None:
        """Settle a reservation, once per admitted ``reserve``. Without a failure, the units are returned."""

    async def admit_profile_change(self, user: UserId) -> Limited | None:
        """Count a change that a user makes to their own profile. Raises StoreUnavailableError."""

    async def admit_credential_change(self, actor: UserId) -> Limited | None:
        """Count a reset link or a sign-out that ``actor`` makes for another user. Raises StoreUnavailableError."""

    async def admit_link(self, address: str) -> Limited | None:
        """Count a link that an address opens without sign-in. Raises StoreUnavailableError."""

    async def may_ask(self, address: str) -> bool:
        """Count a mail requested from an address without sign-in (R12). False: the mail is dropped silently."""

    async def may_mail(self, recipient: Email, source: MailSource) -> bool:
        """Count a mail to a recipient. Call this before ``may_mail_for``, so a rejection costs the account nothing."""

    async def may_mail_for(self, account: AccountId, source: MailSource) -> bool:
        """Count a mail on behalf of an account."""


class Unlimited:
    """No limits, for tests and the command line."""

    memory_low = False

    def refused(self, address: str) -> Limited | None:  # noqa: ARG002
        return None

    async def reserve(self, subject: Email | str, address: str) -> Reservation | Limited:  # noqa: ARG002
        return Reservation()

    async def settle(self, admitted: Reservation, *, failed: bool) -> None:
        """No-op."""

    async def admit_profile_change(self, user: UserId) -> Limited | None:  # noqa: ARG002
        return None

    async def admit_credential_change(self, actor: UserId) -> Limited | None:  # noqa: ARG002
        return None

    async def admit_link(self, address: str) -> Limited | None:  # noqa: ARG002
        return None

    async def may_ask(self, address: str) -> bool:  # noqa: ARG002
        return True

    async def may_mail(self, recipient: Email, source: MailSource) -> bool:  # noqa: ARG002
        return True

    async def may_mail_for(self, account: AccountId, source: MailSource) -> bool:  # noqa: ARG002
        return True
