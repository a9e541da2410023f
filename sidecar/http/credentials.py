"""Credential of a request: the Authorization header if there is one, else the session cookie (R4). Nothing is verified.

Reads raw header lines, because aiohttp's parsed ones are lossy: ``request.cookies`` turns ``U+00A0__Host-sidecar`` into
the real name and keeps the last of two, and ``headers.get`` returns the first of two.
"""

from typing import Final

from sidecar.domain.access import NO_CREDENTIAL, Credential, CredentialSource
from sidecar.domain.decision import Reason
from sidecar.http.headers import RawHeaders, header_values

HOST_COOKIE: Final = "__Host-sidecar"
LOOPBACK_COOKIE: Final = "sidecar"

MAX_COOKIES: Final = 512
"""Pairs in all Cookie lines; browsers keep about 180 per site. More are a bad request, and none is read."""


def cookie_name(public_url: str) -> str:
    """Return the accepted cookie name. The scheme of the public URL decides, never the connection (R4)."""
    return HOST_COOKIE if public_url.startswith("https://") else LOOPBACK_COOKIE


def credential(headers: RawHeaders, cookie: str) -> Credential | Reason:
    """Return the credential, or BAD_REQUEST if the Authorization header or the session cookie is repeated."""
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
    if cookies and sum([line.count(b";") + 1 for line in cookies]) > MAX_COOKIES:  # the back end may receive them
        return Reason.BAD_REQUEST
    return from_authorization(header)


def authorization(headers: RawHeaders) -> Credential | Reason:
    """Return the credential of the Authorization header alone, or BAD_REQUEST if the header is repeated."""
    lines = header_values(headers, b"authorization")
    if len(lines) > 1:
        return Reason.BAD_REQUEST
    return from_authorization(lines[0]) if lines else NO_CREDENTIAL


def from_authorization(value: bytes) -> Credential:
    """Return a Bearer token (RFC 6750 section 2.1). Another scheme counts as no token; the cookie is not a fallback."""
    scheme, _, token = value.strip(b" \t").partition(b" ")
    token = token.strip(b" ")
    if scheme.lower() != b"bearer" or not token:
        return NO_CREDENTIAL
    return Credential(CredentialSource.HEADER, token.decode("latin-1"))


def from_cookies(lines: list[bytes], name: str) -> Credential | Reason:
    """Return the credential in the cookie ``name``, searched in all Cookie lines.

    Return BAD_REQUEST if the cookie is repeated, or if there are more than MAX_COOKIES pairs.
    """
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
    return Credential(CredentialSource.COOKIE, found.decode("latin-1"))


def cookie_values(headers: RawHeaders, name: str) -> list[str]:
    """Return the non-empty values of the cookie ``name`` among the first MAX_COOKIES pairs, in order."""
    wanted = name.encode("ascii")
    found = []
    left = MAX_COOKIES
    for line in header_values(headers, b"cookie"):
        pairs = line.split(b";", left)[:left]
        left -= len(pairs)
        for pair in pairs:
            key, equals, value = pair.partition(b"=")
            if equals and key.strip(b" \t") == wanted and value.strip(b" \t"):
                found.append(value.strip(b" \t").decode("latin-1"))
    return found
