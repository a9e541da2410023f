"""Parser of the audit's sink: a file, standard output or a URL."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sidecar.config.parsers import InvalidValueError, path
from sidecar.config.urls import url

MAX_AUTHORIZATION = 4096
_HOW = "write file, stdout, a path or https://HOST/PATH"


@dataclass(frozen=True, slots=True)
class AuditSink:
    """Destination of the audit export. Neither ``path`` nor ``url`` nor ``stdout``: the file in the state directory."""

    stdout: bool = False
    path: Path | None = None
    url: str | None = None

    def __str__(self) -> str:
        return "stdout" if self.stdout else self.url or str(self.path or "file")


def audit_sink(text: str) -> AuditSink:
    """Parse ``file``, ``stdout``, a path, or a URL without credentials; ``http`` only to this machine."""
    if text == "file":
        return AuditSink()
    if text == "stdout":
        return AuditSink(stdout=True)
    if "://" in text:
        return AuditSink(url=_receiver(text))
    try:
        return AuditSink(path=path(text))
    except InvalidValueError:
        raise InvalidValueError(f"{_HOW} (./none for a file of the name none)") from None


def authorization(text: str) -> str:
    """Parse the value of an Authorization header."""
    if not text.isascii() or not text.isprintable() or len(text) > MAX_AUTHORIZATION or text != text.strip():
        raise InvalidValueError(f"must be one line of ASCII, {MAX_AUTHORIZATION} characters at most: Bearer TOKEN")
    return text


def _receiver(text: str) -> str:
    parts = urlsplit(url("http", "https")(text))
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidValueError("must have no user, query or fragment: put the credential into SIDECAR_AUDIT_SINK_AUTH")
    try:
        parts.port  # noqa: B018 - raises for an invalid port
    except ValueError:
        raise InvalidValueError("the port is not a number from 0 to 65535") from None
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise InvalidValueError("the audit holds names and e-mails: use https, or http to a collector on loopback")
    return text


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
