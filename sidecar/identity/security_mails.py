"""Mails that report changes of a user's credentials to the user (R37). They contain no link and no secret.

A mail is queued after the change and never delays or fails it.
"""

from collections.abc import Sequence
from enum import StrEnum
from functools import partial

from sidecar.domain.users import UserRecord
from sidecar.identity.hash_limits import LoginLimits, MailSource
from sidecar.identity.mail import MailMessage
from sidecar.identity.mail_templates import security_mail
from sidecar.identity.outbox import Outbox, mail_refusal
from sidecar.store.accounts import Accounts


class SecurityChange(StrEnum):
    """Reported change, as the first sentence of the mail names it."""

    PASSWORD_CHANGED = "Your password was changed."  # noqa: S105 (a sentence)
    FACTOR_ADDED = "A second factor was added to your user."
    FACTOR_REMOVED = "A second factor was removed from your user."
    FACTORS_RESET = "All second factors of your user were removed, and you were signed out everywhere."
    FACTORS_CONFIRMED = "Your second factor was confirmed by an administrator."
    RECOVERY_CODES = "Your recovery codes were replaced."
    RECOVERY_CODE_USED = "One of your recovery codes was used."
    WRONG_CODES = "Ten wrong codes were entered for your second factor, each after your correct password."


class SecurityMails:
    """Queue of these mails. ``outbox``: None disables mail."""

    def __init__(self, *, accounts: Accounts, outbox: Outbox | None, limits: LoginLimits) -> None:
        self._accounts = accounts
        self._outbox = outbox
        self._limits = limits

    def report(self, record: UserRecord, change: SecurityChange, detail: str = "") -> None:
        """Queue a mail to the user. ``detail``: name of the factor."""
        if self._outbox is not None:
            self._outbox.post(partial(self._messages, self._outbox, record, change, detail), MailSource.USER)

    async def _messages(
        self, outbox: Outbox, record: UserRecord, change: SecurityChange, detail: str
    ) -> Sequence[MailMessage]:
        refused = await mail_refusal(self._limits, record)
        if refused is not None:
            outbox.reject(MailSource.USER, refused)
            return ()
        account = await self._accounts.find(record.account)
        if account is None:
            return ()
        return (security_mail(record.mailbox, account.name, change.value, detail),)
