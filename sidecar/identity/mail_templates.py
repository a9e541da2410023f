"""Texts of the mails. Plain text, without input of the requester except the names of account and factor."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sidecar.identity.mail import MailMessage


def invitation_mail(recipient: str, account: str, link: str, expires_at: int) -> MailMessage:
    text = f"""You are invited to {account}.

To accept, open this link and choose a password before {_when(expires_at)}:

{link}

The link is for you only and works once. If you did not expect this invitation, ignore this mail.
"""
    return MailMessage(recipient, f"Your invitation to {account}", text)


def reset_mail(recipient: str, links: Sequence[tuple[str, str]], expires_at: int) -> MailMessage:
    """Build one mail for all accounts of a mailbox. ``links``: pairs of account name and link."""
    listed = "\n\n".join(f"{account}:\n{link}" for account, link in links)
    text = f"""A new password was requested for this e-mail address.

To choose a new password, open the link before {_when(expires_at)}:

{listed}

A link works once. A new password signs you out everywhere. If you did not request this, ignore this mail: your password
is unchanged.
"""
    return MailMessage(recipient, "Choose a new password", text)


def security_mail(recipient: str, account: str, change: str, detail: str) -> MailMessage:
    """Build the report of a change. ``change``: a sentence. ``detail``: name of the factor, chosen by the user."""
    named = f"\n{detail}\n" if detail else ""
    text = f"""{change}
{named}
Account: {account}

If this was you, there is nothing to do. Otherwise choose a new password, and ask an administrator of the account to
reset your second factors.
"""
    return MailMessage(recipient, f"A change of your sign-in to {account}", text)


def _when(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%d %B %Y, %H:%M} UTC"
