"""Which names the API, the console and ops answer to (R8): a page of somebody else's must not reach them by DNS.

An attacker can point a name of his own at any address (DNS rebinding), and a browser then takes us for his site. So we
answer to our public name, to addresses, and to names that nobody can register: those without a dot and those under a
reserved or private suffix. More are the operator's to list. The gateway endpoints do not ask: a gateway sends the
client's Host.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from sidecar.domain.problems import Code, Problem

NOT_OUR_NAME: Final = Problem(
    Code.BAD_REQUEST,
    "this is not a name of the sidecar; use SIDECAR_PUBLIC_URL, or list the name in SIDECAR_ALLOWED_HOSTS",
)

PRIVATE_SUFFIXES: Final = (".localhost", ".local", ".internal", ".svc", ".test", ".example", ".home.arpa")


MAX_HOST: Final = 300
"""A name has 253 characters at most (RFC 1035), and a port behind it."""


def host_names(public_url: str, more: Iterable[str]) -> frozenset[str]:
    """The names to answer to beside those that are always ours."""
    return frozenset(name.lower() for name in (urlsplit(public_url).hostname or "", *more) if name)


def is_ours(host: str | None, names: frozenset[str]) -> bool:
    """``host``: the Host header as it came, or None. Without one there is no page to protect from."""
    if host is None:
        return True
    return _judged(host, names) if len(host) <= MAX_HOST else False


@lru_cache(maxsize=256)
def _judged(host: str, names: frozenset[str]) -> bool:
    name = _name(host)
    if name in names or ("." not in name and ":" not in name):
        return bool(name)
    return _is_address(name) or name.endswith(PRIVATE_SUFFIXES)


def _name(host: str) -> str:
    """Without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
