"""Login redirect (SIDECAR_LOGIN_URL): the conditions under which a 401 becomes a redirect.

Only a GET navigation for HTML is redirected. A script, form, frame or WebSocket cannot distinguish a login page from a
response. The original request is a parameter of the redirect: a path without host. So the login page needs no Host
header to return, and cannot be made to redirect elsewhere.
"""

from typing import Final

from sidecar.http.headers import RawHeaders

MAX_ACCEPT: Final = 1024
"""Bytes of Accept that are read. A browser lists HTML first for a navigation."""


def is_navigation(headers: RawHeaders) -> bool:
    """Return True for a browser navigation. False if a header contradicts that or is repeated."""
    accept = b""
    for name, value in headers:
        match name.lower():
            case b"accept" if len(accept) < MAX_ACCEPT:
                accept += b"," + value[:MAX_ACCEPT]
            case b"sec-fetch-mode" if value.strip() != b"navigate":
                return False
            case b"sec-fetch-dest" if value.strip() != b"document":
                return False
            case b"authorization" | b"x-requested-with" | b"upgrade" | b"sec-websocket-key":
                return False
            case _:
                pass
    kinds = accept[:MAX_ACCEPT].split(b",")
    return any(kind.partition(b";")[0].strip().lower() == b"text/html" for kind in kinds)
