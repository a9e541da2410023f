"""Cookie filter: separates the sidecar's own cookies from those that the back end may receive (R6).

``kept_cookies`` is for gateways that copy the Cookie header of an allow, because they cannot remove single cookies.
Removal is broader than acceptance (credentials.py): it covers each name that a lax back end could read as the sidecar's
cookie. Pairs that are not printable ASCII are removed, too, because no header carries them unchanged.
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
    """Return the back end's Cookie header; empty if it should have none."""
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
    """All values of both cookies, as received."""

    access: Sequence[str]
    refresh: Sequence[str]

    @property
    def any(self) -> bool:
        return bool(self.access or self.refresh)


def refresh_name(access_name: str) -> str:
    """Return the name of the refresh cookie that belongs to an access cookie."""
    return REFRESH_COOKIE if access_name == HOST_COOKIE else LOOPBACK_REFRESH_COOKIE


def session_cookies_of(headers: RawHeaders, access_name: str) -> SessionCookies:
    return SessionCookies(cookie_values(headers, access_name), cookie_values(headers, refresh_name(access_name)))
