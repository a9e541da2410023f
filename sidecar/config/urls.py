"""Parsers for settings that are URLs.

As in parsers.py, they return the value or raise ``InvalidValueError`` with a remedy.
"""

from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from sidecar.config.parsers import InvalidValueError
from sidecar.http.login_page import PARAMETER
from sidecar.store.servers.address import StoreAddressError, parse_address


def base_url(text: str) -> str:
    """Parse ``http(s)://host[:port]``, without the last slash: the base of links, cookies and Origin checks."""
    found = url("http", "https")(text)
    parts = urlsplit(found)
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc or "?" in text:
        raise InvalidValueError("must be scheme, host and port alone: write https://login.example.com")
    return f"{parts.scheme}://{_host(parts.hostname or '')}{_port(parts)}"


def _host(name: str) -> str:
    """Return the host as a browser writes it in Origin: lower case, IDNA, brackets around IPv6."""
    if ":" in name:
        return f"[{name}]"
    if name.isascii():
        return name.lower()
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        raise InvalidValueError("the host is not a valid DNS name: write https://login.example.com") from None


def _port(parts: SplitResult) -> str:
    """Return the port, or an empty text for the default port of the scheme, as browsers do."""
    try:
        port = parts.port
    except ValueError:
        raise InvalidValueError(
            "the port is not a number from 0 to 65535: write https://login.example.com:8443"
        ) from None
    return "" if port is None or port == {"http": 80, "https": 443}[parts.scheme] else f":{port}"


def url(*schemes: str) -> Callable[[str], str]:
    """Return a parser of URLs with one of the schemes and a host. (The store's: ``store_url``.)"""

    def parse(text: str) -> str:
        how = f"write a URL that starts with {', '.join(f'{scheme}://' for scheme in schemes)}"
        try:
            parts = urlsplit(text)
        except ValueError:
            raise InvalidValueError(f"not a URL: {how}") from None
        if parts.scheme not in schemes or not text.isprintable() or " " in text or "://" not in text:
            raise InvalidValueError(f"invalid URL: {how}")
        if not parts.netloc.rpartition("@")[2]:
            raise InvalidValueError("the URL has no host")
        return text

    return parse


def login_url(text: str) -> str:
    """Parse the URL of the login page. The sidecar appends the parameter ``rd``, so the URL must not contain it."""
    found = url("http", "https")(text)
    parts = urlsplit(found)
    _port(parts)
    if PARAMETER in {part.partition("=")[0] for part in parts.query.split("&")}:
        raise InvalidValueError(f"the URL has a parameter {PARAMETER}, which the sidecar adds: remove it")
    return found


def store_url(text: str) -> str:
    """Parse the store's URL, fully validated (address.py)."""
    try:
        parse_address(text)
    except StoreAddressError as error:
        raise InvalidValueError(str(error)) from None
    return text
