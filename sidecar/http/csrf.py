"""May a browser have been tricked into sending this? (R5). Reads two headers that no page can forge.

A cookie travels with any request to its site, so what a cookie authenticates must come from the dashboard itself
unless it only reads.
"""

from urllib.parse import urlsplit

from sidecar.http.headers import RawHeaders

SAFE_METHODS = frozenset({"GET", "HEAD"})
OUR_SITES = frozenset({b"same-origin", b"none"})
"""Sec-Fetch-Site of our own pages, and of a user who types the address or has it as a bookmark."""


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


def same_site_section(headers: RawHeaders, *, reads: bool, origins: frozenset[str]) -> bool:
    """As `same_site`, for an endpoint that knows the action (``reads``: it changes nothing) and not the method.

    A POST of another page could stand behind any such check, so what a browser says of a foreign page counts, also for
    reading. A navigation passes: a link in a mail has to find its reader signed in.
    """
    found: dict[bytes, list[bytes]] = {b"origin": [], b"sec-fetch-site": [], b"sec-fetch-mode": []}
    for name, value in headers:
        values = found.get(name.lower())
        if values is not None:
            values.append(value.strip())
    sources, sites, modes = found.values()
    if any(source.decode("latin-1") not in origins for source in sources):
        return False
    if any(site not in OUR_SITES for site in sites) and (not reads or sources or modes != [b"navigate"]):
        return False
    return same_site(headers, method="GET" if reads else "POST", origins=origins)
