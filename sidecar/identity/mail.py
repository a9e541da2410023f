"""Mail messages and their delivery by SMTP. Only this module imports aiosmtplib.

``smtp://`` is plain and sends no password beyond loopback. ``smtps://`` uses TLS from the first byte.
``smtp+starttls://`` requires STARTTLS. Certificates are verified. Exceptions contain no recipient, link or password.
"""

import ssl
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime, make_msgid, parseaddr
from enum import Enum
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

from sidecar.domain.hosts import is_loopback
from sidecar.identity.emails import normalise, parse

TIMEOUT: Final = 10.0


class Tls(Enum):
    """Protection of the connection: none, mandatory STARTTLS, or TLS from the first byte."""

    NONE = "smtp"
    STARTTLS = "smtp+starttls"
    IMPLICIT = "smtps"

    @property
    def port(self) -> int:
        return {Tls.NONE: 25, Tls.STARTTLS: 587, Tls.IMPLICIT: 465}[self]


@dataclass(frozen=True, slots=True)
class MailServer:
    """Parsed SIDECAR_SMTP_URL."""

    host: str
    port: int
    tls: Tls
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class MailMessage:
    """Mail to one recipient. ``text`` contains a confidential link."""

    recipient: str
    subject: str
    text: str = field(repr=False)


class SendError(Exception):
    """Failed delivery. ``permanent``: the failure is permanent; otherwise a retry may succeed."""

    def __init__(self, what: str, *, permanent: bool) -> None:
        super().__init__(what)
        self.permanent = permanent


def mail_server(url: str) -> MailServer:
    """Parse SIDECAR_SMTP_URL. Raises ValueError with problem and remedy, without the password."""
    parts = urlsplit(url)
    tls = Tls(parts.scheme)
    try:
        port = parts.port or tls.port
    except ValueError:
        raise ValueError("the port is not a number from 1 to 65535") from None
    if not parts.hostname or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("write scheme, optional user and password, host and port: smtps://user:password@host:465")
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if (username is None) != (password is None):
        raise ValueError("user and password belong together: write both or neither")
    if password is not None and tls is Tls.NONE and not is_loopback(parts.hostname):
        raise ValueError(
            "a password over plain smtp:// is allowed on loopback only: write smtps:// or smtp+starttls://"
        )
    return MailServer(parts.hostname, port, tls, username, password)


class Smtp:
    """SMTP client. ``sender``: SIDECAR_MAIL_FROM, as ``no-reply@example.com`` or
    ``Dashboard <no-reply@example.com>``."""

    def __init__(self, server: MailServer, *, sender: str, trust: ssl.SSLContext | None = None) -> None:
        """Raise ValueError if ``sender`` is not an ASCII address."""
        name, address = parseaddr(sender)
        if not sender.isprintable() or not address.isascii() or normalise(address) is None:
            raise ValueError("the sender is not an ASCII address: write no-reply@example.com")
        self._from = Address(name, addr_spec=address)
        self._server = server
        self._trust = trust

    async def send(self, mail: MailMessage) -> None:
        """Send a mail. Returns when the server has accepted it. Raises SendError."""
        server = self._server
        try:
            await aiosmtplib.send(
                self._message(mail),
                sender=self._from.addr_spec,
                recipients=[mail.recipient],
                hostname=server.host,
                port=server.port,
                username=server.username,
                password=server.password,
                # By default the library resolves the local host name, and the loop waits for DNS.
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
        except aiosmtplib.SMTPNotSupported as error:  # the server does not support the address or STARTTLS
            raise SendError(type(error).__name__, permanent=True) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise SendError(type(error).__name__, permanent=False) from None
        except ValueError as error:  # rejected by the library or by a header
            raise SendError(type(error).__name__, permanent=True) from None

    def _message(self, mail: MailMessage) -> EmailMessage:
        message = EmailMessage(policy=SMTP.clone(utf8=not mail.recipient.isascii()))
        message["From"] = self._from
        message["To"] = _one(mail.recipient)
        message["Subject"] = mail.subject
        message["Date"] = format_datetime(localtime())
        message["Message-ID"] = make_msgid(domain=self._from.domain)
        message["Auto-Submitted"] = "auto-generated"  # suppress automatic replies (RFC 3834)
        message.set_content(mail.text)
        return message


def _one(recipient: str) -> Address:
    """Return exactly one recipient. Raises ValueError if ``recipient`` is not one deliverable address."""
    address = parse(recipient)
    if address is None or recipient not in {address.mailbox, address.email}:
        raise ValueError("not a deliverable address")
    local, _, domain = recipient.rpartition("@")
    return Address(username=local, domain=domain)


def _refused(error: aiosmtplib.SMTPException, code: int) -> SendError:
    return SendError(f"{type(error).__name__} {code}", permanent=code >= 500)
