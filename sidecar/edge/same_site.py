"""May a browser have been tricked into sending this? (R5). Reads two headers that no page can forge.

A cookie travels with any request to its site, so what a cookie authenticates must come from the dashboard itself
unless it only reads.
"""

from urllib.parse import urlsplit

from sidecar.edge.credentials import RawHeaders

SAFE_METHODS = frozenset({"GET", "HEAD"})


def origin_of(url: str) -> str:
    """``scheme://host[:port]`` of an operator's URL, as a browser writes it in Origin."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def same_site(headers: RawHeaders, *, method: str, origins: frozenset[str]) -> bool:
    """True when the request only reads, or says itself that it comes from a page of ours.

    A repeated header proves nothing, so it counts as absent: fails closed. An upgrade (WebSocket) is never a mere
    read: its handshake is a GET that any page may start. Traefik takes Upgrade out of the check (measured), so the
    handshake's other headers tell as well.
    """
    sites: list[bytes] = []
    sources: list[bytes] = []
    upgrade = False
    for name, value in headers:
        match name.lower():
            case b"sec-fetch-site":
                sites.append(value.strip())
            case b"origin":
                sources.append(value.strip())
            case b"upgrade" | b"sec-websocket-key" | b"sec-websocket-version":
                upgrade = True
            case _:
                pass
    if method in SAFE_METHODS and not upgrade:
        return True
    if sites == [b"same-origin"]:
        return True
    return len(sources) == 1 and sources[0].decode("latin-1") in origins
