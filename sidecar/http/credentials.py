"""The token of a request: the Authorization header when there is one, else the one cookie (R4). Believes nothing.

Reads raw header lines, because parsed ones lie: aiohttp's ``request.cookies`` turns ``U+00A0__Host-sidecar`` into the
real name and keeps the last of two, ``headers.get`` the first of two.
"""

from typing import Final

from sidecar.domain.access import NO_CREDENTIAL, Credential, Proof
from sidecar.domain.decision import Reason
from sidecar.http.headers import RawHeaders

HOST_COOKIE: Final = "__Host-sidecar"
LOOPBACK_COOKIE: Final = "sidecar"

MAX_COOKIES: Final = 512
"""Pairs in all Cookie lines: browsers keep some 180 for a site. More are a bad request, and none of them is read."""


def cookie_name(public_url: str) -> str:
    """The one cookie name accepted, by the scheme of the public URL and never by the connection (R4)."""
    return HOST_COOKIE if public_url.startswith("https://") else LOOPBACK_COOKIE


def credential(headers: RawHeaders, cookie: str) -> Credential | Reason:
    """The credential, or BAD_REQUEST when a header or cookie that decides stands twice."""
    header: bytes | None = None
    cookies: list[bytes] = []
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"authorization":
            if header is not None:
                return Reason.BAD_REQUEST
            header = value
        elif lowered == b"cookie":
            cookies.append(value)
    if header is None:
        return from_cookies(cookies, cookie)
    if cookies and sum([line.count(b";") + 1 for line in cookies]) > MAX_COOKIES:  # the back end may get them
        return Reason.BAD_REQUEST
    return from_authorization(header)


def authorization(headers: RawHeaders) -> Credential | Reason:
    """The credential of the Authorization header alone; BAD_REQUEST when there are two."""
    lines = [value for name, value in headers if name.lower() == b"authorization"]
    if len(lines) > 1:
        return Reason.BAD_REQUEST
    return from_authorization(lines[0]) if lines else NO_CREDENTIAL


def from_authorization(value: bytes) -> Credential:
    """A Bearer token (RFC 6750 section 2.1); another scheme is as no token, and the cookie is not read instead."""
    scheme, _, token = value.strip(b" \t").partition(b" ")
    token = token.strip(b" ")
    if scheme.lower() != b"bearer" or not token:
        return NO_CREDENTIAL
    return Credential(Proof.HEADER, token.decode("latin-1"))


def from_cookies(lines: list[bytes], name: str) -> Credential | Reason:
    """The one pair of that name over all Cookie lines; two of them contradict each other: BAD_REQUEST. So are more
    than MAX_COOKIES."""
    wanted = name.encode("ascii")
    found: bytes | None = None
    left = MAX_COOKIES
    for line in lines:
        pairs = line.split(b";", left)
        left -= len(pairs)
        if left < 0:
            return Reason.BAD_REQUEST
        for pair in pairs:
            key, equals, value = pair.partition(b"=")
            if equals and key.strip(b" \t") == wanted:
                if found is not None:
                    return Reason.BAD_REQUEST
                found = value.strip(b" \t")
    if not found:
        return NO_CREDENTIAL
    return Credential(Proof.COOKIE, found.decode("latin-1"))


def cookie_values(headers: RawHeaders, name: str) -> list[str]:
    """Every non-empty value of that name among the first MAX_COOKIES pairs of all Cookie lines, in order."""
    wanted = name.encode("ascii")
    found = []
    left = MAX_COOKIES
    for line in (value for header, value in headers if header.lower() == b"cookie"):
        pairs = line.split(b";", left)[:left]
        left -= len(pairs)
        for pair in pairs:
            key, equals, value = pair.partition(b"=")
            if equals and key.strip(b" \t") == wanted and value.strip(b" \t"):
                found.append(value.strip(b" \t").decode("latin-1"))
    return found
