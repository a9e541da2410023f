"""The forward proxy of the environment: HTTPS_PROXY and NO_PROXY, as other programs read them (lower case wins).

aiohttp's ``trust_env`` is not used: it would send a password of ``~/.netrc`` to the host. Plain HTTP has no proxy: it
is allowed toward this machine alone.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment


class BadProxy(ValueError):
    """HTTPS_PROXY cannot be used. One phrase, without its user and password."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """``url`` has no user and no password: it may be shown. ``headers`` are for the proxy alone."""

    url: str
    headers: Mapping[str, str] = field(repr=False)


def proxy_for(url: str) -> Proxy | None:
    """The proxy for this URL; None when it is asked directly. Raises BadProxy."""
    target = urlsplit(url)
    proxies = getproxies_environment()
    named = proxies.get("https", "")
    if target.scheme != "https" or not named or target.hostname is None:
        return None
    if _is_direct(target.hostname, target.port or 443, proxies.get("no", "")):
        return None
    return _proxy(named)


def _is_direct(host: str, port: int, listed: str) -> bool:
    """NO_PROXY: ``*``, or names, each with its subdomains, addresses and networks; a port narrows an entry."""
    return any(_names(entry.strip().lower(), host, port) for entry in listed.split(","))


def _names(entry: str, host: str, port: int) -> bool:
    before, _, after = entry.rpartition(":")
    if before and after.isdecimal() and (":" not in before or before.endswith("]")):  # else: an address of IPv6
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
        raise BadProxy("HTTPS_PROXY is not a URL: write http://HOST:PORT") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise BadProxy("HTTPS_PROXY must be http://HOST:PORT or https://HOST:PORT")
    place = f"[{host}]" if ":" in host else host
    headers = {}
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(credentials.encode()).decode()}"
    return Proxy(f"{parts.scheme}://{place}{f':{port}' if port else ''}", headers)
