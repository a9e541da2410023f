"""Where a browser goes to sign in (SIDECAR_LOGIN_URL), and when a 401 is answered with the way there.

Only for somebody who is looking at a page: a GET navigation for HTML. A script, a form, a frame or a WebSocket that is
sent to an HTML page cannot tell that from an answer. The original request goes along as a path without a host, so that
the page need not trust a Host header to lead back, and cannot be made to lead elsewhere.
"""

from typing import Final

from sidecar.http.headers import RawHeaders

MAX_ACCEPT: Final = 1024
"""Bytes of Accept that are read: a browser that opens a page names HTML first."""


def is_navigation(headers: RawHeaders) -> bool:
    """Somebody opens a page. A header that contradicts it, or stands twice, makes it something else."""
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
