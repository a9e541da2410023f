"""Settings that are URLs. As in values.py: the text's value, or ``BadValueError`` with how to write it."""

from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from sidecar.config.parsers import BadValueError
from sidecar.store.servers.address import AddressError, parse_address


def base_url(text: str) -> str:
    """``http(s)://host[:port]``, without the last slash: what links, cookies and Origin checks start from."""
    found = url("http", "https")(text)
    parts = urlsplit(found)
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc or "?" in text:
        raise BadValueError("must be scheme, host and port alone: write https://login.example.com")
    return f"{parts.scheme}://{_host(parts.hostname or '')}{_port(parts)}"


def _host(name: str) -> str:
    """As a browser writes it in Origin: lower case, IDNA, brackets around IPv6."""
    if ":" in name:
        return f"[{name}]"
    if name.isascii():
        return name.lower()
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        raise BadValueError("the host is no name that DNS could have: write https://login.example.com") from None


def _port(parts: SplitResult) -> str:
    """Left out where the scheme says it already, as browsers do."""
    try:
        port = parts.port
    except ValueError:
        raise BadValueError("the port is not a number from 0 to 65535: write https://login.example.com:8443") from None
    return "" if port is None or port == {"http": 80, "https": 443}[parts.scheme] else f":{port}"


def url(*schemes: str) -> Callable[[str], str]:
    """A URL of one of the schemes, with a host. (The store's: ``store_url``.)"""

    def parse(text: str) -> str:
        how = f"write a URL that starts with {', '.join(f'{scheme}://' for scheme in schemes)}"
        try:
            parts = urlsplit(text)
        except ValueError:
            raise BadValueError(f"not a URL: {how}") from None
        if parts.scheme not in schemes or not text.isprintable() or " " in text or "://" not in text:
            raise BadValueError(f"not such a URL: {how}")
        if not parts.netloc.rpartition("@")[2]:
            raise BadValueError("the URL names no host")
        return text

    return parse


def store_url(text: str) -> str:
    """The store's URL, judged whole (address.py)."""
    try:
        parse_address(text)
    except AddressError as error:
        raise BadValueError(str(error)) from None
    return text
