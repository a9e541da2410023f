"""Mails and the server that takes them. The one import of aiosmtplib.

``smtp://`` is plain and sends no password beyond loopback; ``smtps://`` is TLS from the first byte; ``smtp+starttls://``
insists on STARTTLS. Certificates are verified. Nothing that is raised here names a recipient, a link or a password.
"""

import ssl
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime, make_msgid, parseaddr
from enum import Enum
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

from sidecar.identity.emails import normalise, parse

TIMEOUT: Final = 10.0


class Tls(Enum):
    """How the connection is protected: not at all, by STARTTLS or not at all used, or from its first byte."""

    NONE = "smtp"
    STARTTLS = "smtp+starttls"
    IMPLICIT = "smtps"

    @property
    def port(self) -> int:
        return {Tls.NONE: 25, Tls.STARTTLS: 587, Tls.IMPLICIT: 465}[self]


@dataclass(frozen=True, slots=True)
class MailServer:
    """SIDECAR_SMTP_URL, taken apart."""

    host: str
    port: int
    tls: Tls
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail to one person. ``text`` holds a link that is nobody else's business."""

    recipient: str
    subject: str
    text: str = field(repr=False)


class NotSent(Exception):
    """The server did not take it. ``for_good``: it said so; else it, or the way to it, may be better later."""

    def __init__(self, what: str, *, for_good: bool) -> None:
        super().__init__(what)
        self.for_good = for_good


def mail_server(url: str) -> MailServer:
    """Raises ValueError: what is wrong and how to write it, without the password."""
    parts = urlsplit(url)
    tls = Tls(parts.scheme)
    try:
        port = parts.port or tls.port
    except ValueError:
        raise ValueError("the port is not a number from 1 to 65535") from None
    if not parts.hostname or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("write scheme, user and password if it wants them, host and port: smtps://user@host:465")
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if (username is None) != (password is None):
        raise ValueError("user and password belong together: write both or neither")
    if password is not None and tls is Tls.NONE and not _is_near(parts.hostname):
        raise ValueError(
            "a password does not go over plain smtp:// beyond loopback: write smtps:// or smtp+starttls://"
        )
    return MailServer(parts.hostname, port, tls, username, password)


class Smtp:
    """``sender`` is SIDECAR_MAIL_FROM: ``no-reply@example.com`` or ``Dashboard <no-reply@example.com>``."""

    def __init__(self, server: MailServer, *, sender: str, trust: ssl.SSLContext | None = None) -> None:
        """Raises ValueError for a sender that is no address."""
        name, address = parseaddr(sender)
        if not sender.isprintable() or not address.isascii() or normalise(address) is None:
            raise ValueError("the sender is no address in ASCII: write no-reply@example.com")
        self._from = Address(name, addr_spec=address)
        self._server = server
        self._trust = trust

    async def send(self, letter: Letter) -> None:
        """Returns when the server has taken it. Raises NotSent."""
        server = self._server
        try:
            await aiosmtplib.send(
                self._message(letter),
                sender=self._from.addr_spec,
                recipients=[letter.recipient],
                hostname=server.host,
                port=server.port,
                username=server.username,
                password=server.password,
                # Otherwise the library looks its own name up, and the loop waits for the name server.
                local_hostname=self._from.domain,
                use_tls=server.tls is Tls.IMPLICIT,
                start_tls=server.tls is Tls.STARTTLS,
                tls_context=self._trust if server.tls is not Tls.NONE else None,
                timeout=TIMEOUT,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refused.code for refused in error.recipients]
            raise _refused(error, max(codes, default=500)) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _refused(error, error.code) from None
        except aiosmtplib.SMTPNotSupported as error:  # an address that this server cannot carry, or no STARTTLS
            raise NotSent(type(error).__name__, for_good=True) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise NotSent(type(error).__name__, for_good=False) from None
        except ValueError as error:  # what the library or a header refuses to carry
            raise NotSent(type(error).__name__, for_good=True) from None

    def _message(self, letter: Letter) -> EmailMessage:
        message = EmailMessage(policy=SMTP.clone(utf8=not letter.recipient.isascii()))
        message["From"] = self._from
        message["To"] = _one(letter.recipient)
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(localtime())
        message["Message-ID"] = make_msgid(domain=self._from.domain)
        message["Auto-Submitted"] = "auto-generated"  # no holiday answers, please (RFC 3834)
        message.set_content(letter.text)
        return message


def _one(recipient: str) -> Address:
    """Exactly one person, whatever was handed in. Raises ValueError."""
    address = parse(recipient)
    if address is None or recipient not in {address.mailbox, address.email}:
        raise ValueError("not an address in a spelling that mail can be delivered to")
    local, _, domain = recipient.rpartition("@")
    return Address(username=local, domain=domain)


def _refused(error: aiosmtplib.SMTPException, code: int) -> NotSent:
    return NotSent(f"{type(error).__name__} {code}", for_good=code >= 500)


def _is_near(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
