"""Forward proxy of the environment: HTTPS_PROXY and NO_PROXY, read as other programs do (lower case wins).

aiohttp's ``trust_env`` is not used, because it would send a password of ``~/.netrc`` to the host. Plain HTTP uses no
proxy: it is allowed to loopback only.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment


class InvalidProxyError(ValueError):
    """Raised for an invalid HTTPS_PROXY. The message is one phrase, without user and password."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Proxy address. ``url`` has no user and no password, so it may be shown. ``headers`` are for the proxy only."""

    url: str
    headers: Mapping[str, str] = field(repr=False)


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for this URL, or None for a direct connection. Raises InvalidProxyError."""
    target = urlsplit(url)
    proxies = getproxies_environment()
    named = proxies.get("https", "")
    if target.scheme != "https" or not named or target.hostname is None:
        return None
    if _is_direct(target.hostname, target.port or 443, proxies.get("no", "")):
        return None
    return _proxy(named)


def _is_direct(host: str, port: int, listed: str) -> bool:
    """Return True if NO_PROXY matches the host and port.

    Entries: ``*``, or names (with their subdomains), addresses and networks. A port narrows an entry.
    """
    return any(_names(entry.strip().lower(), host, port) for entry in listed.split(","))


def _names(entry: str, host: str, port: int) -> bool:
    before, _, after = entry.rpartition(":")
    if before and after.isdecimal() and (":" not in before or before.endswith("]")):  # else: an IPv6 address
        if int(after) != port:
            return False
        entry = before
    domain = entry.strip("[]").removeprefix("*").removeprefix(".")
    if not domain:
        return entry == "*"
    return host == domain or host.endswith(f".{domain}") or _is_within(host, domain)


def _is_within(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def _proxy(named: str) -> Proxy:
    try:
        parts = urlsplit(named if "://" in named else f"http://{named}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidProxyError("HTTPS_PROXY is not a URL: write http://HOST:PORT") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise InvalidProxyError("HTTPS_PROXY must be http://HOST:PORT or https://HOST:PORT")
    place = f"[{host}]" if ":" in host else host
    headers = {}
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(credentials.encode()).decode()}"
    return Proxy(f"{parts.scheme}://{place}{f':{port}' if port else ''}", headers)
