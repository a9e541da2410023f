"""Protection against cross-site request forgery (R5), by two headers that no page can forge.

A browser sends a cookie with any request to its site. Therefore a request that a cookie authenticates must come from
the dashboard itself, unless it only reads.
"""

from urllib.parse import urlsplit

from sidecar.http.headers import RawHeaders

SAFE_METHODS = frozenset({"GET", "HEAD"})
OUR_SITES = frozenset({b"same-origin", b"none"})
"""Sec-Fetch-Site values of the sidecar's own pages, and of an address that the user typed or bookmarked."""


def origin_of(url: str) -> str:
    """Return ``scheme://host[:port]`` of a configured URL, as a browser writes it in Origin."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def same_site(headers: RawHeaders, *, method: str, origins: frozenset[str]) -> bool:
    """Return True if the request only reads, or its headers prove that it comes from one of the sidecar's own pages.

    A repeated header counts as absent, so the check fails closed.
    An upgrade (WebSocket) is not a mere read: its handshake is a GET that any page may start. Traefik removes Upgrade
    from the check (measured), so the other headers of the handshake count as well.
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
    """Return the result of `same_site` for an endpoint that knows the action and not the method.

    ``reads``: the action changes nothing. The check may be for a POST from another site's page, so Origin and
    Sec-Fetch-Site count even for reads. A navigation passes, because a link in a mail must find its reader signed in.
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
