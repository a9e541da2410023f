"""Client address (R7): the peer, or the address that a trusted proxy reports. A header alone never decides.

X-Forwarded-For is read from its right end, one entry at a time, up to the entry that counts.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from sidecar.http.headers import RawHeaders, header_values

UNIX: Final = "unix"
"""Peer of a Unix socket. The permissions of the socket's directory decide which processes can connect."""

MAX_PROXIES: Final = 32
"""Entries of trusted proxies that are read before the peer's address counts. Real proxy chains are shorter."""

MAX_ENTRY: Final = 80
"""Characters of an entry. An IPv6 address with brackets and a port takes 53."""

Network = IPv4Network | IPv6Network | str
"""A network, or ``UNIX``."""

Address = IPv4Address | IPv6Address


def client_address(peer: str | None, headers: RawHeaders, trusted: tuple[Network, ...]) -> str:
    """Return the rightmost address that is not a trusted proxy's, else the peer. ``peer`` is None on a Unix socket."""
    found = proven_address(peer, headers, trusted)
    if found is not None:
        return str(found)
    return UNIX if peer is None else _unmapped(peer)


def proven_address(peer: str | None, headers: RawHeaders, trusted: tuple[Network, ...]) -> Address | None:
    """Return the address that a trusted proxy reports, for needs. None: the user's own address is not known.

    The address of a peer is never the user's: it is a gateway's, a service's or a proxy's.
    """
    return reported_address(headers, trusted) if is_trusted_peer(peer, trusted) else None


def reported_address(headers: RawHeaders, trusted: tuple[Network, ...]) -> Address | None:
    """Return the rightmost address that is not a trusted proxy's, in the headers of a trusted proxy."""
    for number, entry in enumerate(_from_the_right(headers)):
        address = forwarded_address(entry)
        if address is None or number >= MAX_PROXIES:
            break
        if not any(address in network for network in trusted if not isinstance(network, str)):
            return address
    return None


def caller_address(
    peer: str | None, headers: RawHeaders, trusted: tuple[Network, ...], *, cookie: bool
) -> Address | None:
    """Return the user's own address in a call to the API, for needs. None: it is not known.

    A cookie belongs to a browser: without a proxy, the peer is the user's.
    """
    if cookie and not is_trusted_peer(peer, trusted):
        return None if peer is None else forwarded_address(peer)
    return proven_address(peer, headers, trusted)


def is_trusted_peer(peer: str | None, trusted: tuple[Network, ...]) -> bool:
    """Return whether a peer is a trusted proxy. ``peer`` is None on a Unix socket."""
    return _is_trusted(UNIX if peer is None else _unmapped(peer), trusted)


def forwarded_address(entry: str) -> Address | None:
    """Return the address of one entry, or None if it contains none.

    Azure and Amazon append the port: ``192.0.2.1:4711``, ``[2001:db8::1]:4711``. The IPv6 zone is dropped, because the
    client chooses it.
    """
    with_port = _WITH_PORT.fullmatch(entry)
    text = entry if with_port is None else with_port[1] or with_port[2]
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        return parsed.ipv4_mapped or IPv6Address(int(parsed))
    return parsed


_WITH_PORT: Final = re.compile(r"(?:\[([^\[\]]*)\]|([0-9.]+)(?=:))(?::[0-9]{1,5})?")


def limiter_address(address: str) -> str:
    """Return the key for rate limits: the /64 network of an IPv6 address, because one customer holds a whole /64."""
    try:
        parsed = ip_address(_unmapped(address))
    except ValueError:
        return address
    address = str(parsed)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address


def _from_the_right(headers: RawHeaders) -> Iterator[str]:
    """Yield the entries of all X-Forwarded-For lines from right to left. An entry that is too long is empty."""
    for line in reversed(header_values(headers, b"x-forwarded-for")):
        end = len(line)
        while end >= 0:
            comma = line.rfind(b",", 0, end)
            entry = line[comma + 1 : end] if end - comma <= MAX_ENTRY else b""
            yield entry.strip().decode("latin-1")
            end = comma


def _unmapped(text: str) -> str:
    """Return an IPv4-mapped address (``::ffff:…``, as a dual-stack listener shows it) in IPv4 form."""
    try:
        parsed = ip_address(text)
    except ValueError:
        return text
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return text if mapped is None else str(mapped)


def _is_trusted(text: str, trusted: tuple[Network, ...]) -> bool:
    if not trusted:
        return False
    if text == UNIX:
        return UNIX in trusted
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return any(address in network for network in trusted if not isinstance(network, str))
