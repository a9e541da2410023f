"""The client's address (R7): the peer, or what a trusted proxy in front of us says it saw. Never a header by itself."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from sidecar.edge.credentials import RawHeaders

UNIX: Final = "unix"
"""Whoever is at the other end of a Unix socket: its folder decides who that can be."""

Network = IPv4Network | IPv6Network | str
"""A network, or ``UNIX``."""


def client_address(peer: str | None, headers: RawHeaders, trusted: tuple[Network, ...]) -> str:
    """``peer`` is None on a Unix socket. The rightmost entry that no trusted proxy could have written counts."""
    peer = UNIX if peer is None else _unmapped(peer)
    if not _is_trusted(peer, trusted):
        return peer
    forwarded = [
        _unmapped(entry.strip())
        for name, value in headers
        if name.lower() == b"x-forwarded-for"
        for entry in value.decode("latin-1").split(",")
    ]
    for entry in reversed(forwarded):
        if not _is_trusted(entry, trusted):
            return entry if _is_address(entry) else peer
    return peer


def limiter_address(address: str) -> str:
    """What limits count by: an IPv6 customer holds a whole /64, so that is one address."""
    try:
        parsed = ip_address(_unmapped(address))
    except ValueError:
        return address
    address = str(parsed)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address


def _unmapped(text: str) -> str:
    """An IPv4 address as such, also where a listener for both families shows it as ``::ffff:…``."""
    try:
        parsed = ip_address(text)
    except ValueError:
        return text
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return text if mapped is None else str(mapped)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


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
