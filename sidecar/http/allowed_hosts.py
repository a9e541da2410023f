"""Allowed Host names of the API, the console and the ops listener (R8).

With DNS rebinding, an attacker points a name at any address, and a browser treats the sidecar as the attacker's site.
Accepted hosts: the public name, addresses, and names that cannot be registered (without a dot, or under a reserved or
private suffix). SIDECAR_ALLOWED_HOSTS adds more.
Gateway endpoints skip this check, because a gateway sends the client's Host.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from sidecar.domain.problems import Code, Problem

NOT_OUR_NAME: Final = Problem(
    Code.BAD_REQUEST,
    "this Host is not allowed; use the host of SIDECAR_PUBLIC_URL, or add it to SIDECAR_ALLOWED_HOSTS",
)

PRIVATE_SUFFIXES: Final = (".localhost", ".local", ".internal", ".svc", ".test", ".example", ".home.arpa")


MAX_HOST: Final = 300
"""Characters of a Host header. A name has at most 253 (RFC 1035); a port follows."""


def host_names(public_url: str, more: Iterable[str]) -> frozenset[str]:
    """Return the configured host names in lower case: that of ``public_url``, and ``more``."""
    return frozenset(name.lower() for name in (urlsplit(public_url).hostname or "", *more) if name)


def is_ours(host: str | None, names: frozenset[str]) -> bool:
    """Return True for an allowed or absent Host header. ``host`` is unparsed; without it, no page needs protection."""
    if host is None:
        return True
    return _is_allowed(host, names) if len(host) <= MAX_HOST else False


@lru_cache(maxsize=256)
def _is_allowed(host: str, names: frozenset[str]) -> bool:
    name = _name(host)
    if name in names or ("." not in name and ":" not in name):
        return bool(name)
    return _is_address(name) or name.endswith(PRIVATE_SUFFIXES)


def _name(host: str) -> str:
    """Return the host without port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
