"""The sidecar's own cookies of a request, and the others, which alone the back end may see (R6).

``kept_cookies`` is for gateways that cannot take one cookie out of a header themselves: they copy the Cookie header of
an allow. Removing is more liberal than believing (credentials.py): whatever a lax back end could take for our cookie
goes, and so does a pair that is not printable ASCII, which no header could carry unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.http.credentials import HOST_COOKIE, LOOPBACK_COOKIE, cookie_values
from sidecar.http.headers import RawHeaders

REFRESH_COOKIE: Final = "__Secure-sidecar-refresh"
LOOPBACK_REFRESH_COOKIE: Final = "sidecar-refresh"

_OURS: Final = frozenset(
    name.lower().encode("ascii") for name in (HOST_COOKIE, LOOPBACK_COOKIE, REFRESH_COOKIE, LOOPBACK_REFRESH_COOKIE)
)


def kept_cookies(headers: RawHeaders) -> str:
    """The value of the back end's Cookie header; empty when it should have none."""
    kept: list[str] = []
    for name, value in headers:
        if name.lower() != b"cookie":
            continue
        for raw in value.split(b";"):
            pair = raw.strip(b" \t")
            if pair and _is_plain(pair) and pair.partition(b"=")[0].strip().strip(b'"').lower() not in _OURS:
                kept.append(pair.decode("ascii"))
    return "; ".join(kept)


def _is_plain(pair: bytes) -> bool:
    return pair.isascii() and pair.decode("ascii").isprintable()


@dataclass(frozen=True, slots=True)
class SessionCookies:
    """Every value of both names, as they came."""

    access: Sequence[str]
    refresh: Sequence[str]

    @property
    def any(self) -> bool:
        return bool(self.access or self.refresh)


def refresh_name(access_name: str) -> str:
    """The refresh cookie that goes with this access cookie."""
    return REFRESH_COOKIE if access_name == HOST_COOKIE else LOOPBACK_REFRESH_COOKIE


def session_cookies_of(headers: RawHeaders, access_name: str) -> SessionCookies:
    return SessionCookies(cookie_values(headers, access_name), cookie_values(headers, refresh_name(access_name)))
