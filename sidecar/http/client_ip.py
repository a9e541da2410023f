"""The client's address (R7): the peer, or what a trusted proxy in front of us says it saw. Never a header by itself.

X-Forwarded-For is read from its right end, one entry at a time, and no further than the entry that counts.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from sidecar.http.headers import RawHeaders

UNIX: Final = "unix"
"""Whoever is at the other end of a Unix socket: its folder decides who that can be."""

MAX_PROXIES: Final = 32
"""Entries of trusted proxies that are read before the peer's own address counts. No chain is as long."""

MAX_ENTRY: Final = 80
"""Characters of an entry: an IPv6 address, brackets and a port take 53."""

Network = IPv4Network | IPv6Network | str
"""A network, or ``UNIX``."""


def client_address(peer: str | None, headers: RawHeaders, trusted: tuple[Network, ...]) -> str:
    """``peer`` is None on a Unix socket. The rightmost entry that no trusted proxy could have written counts."""
    peer = UNIX if peer is None else _unmapped(peer)
    if not _is_trusted(peer, trusted):
        return peer
    for number, entry in enumerate(_from_the_right(headers)):
        address = forwarded_address(entry)
        if address is None or number >= MAX_PROXIES:
            break
        if not any(address in network for network in trusted if not isinstance(network, str)):
            return str(address)
    return peer


def forwarded_address(entry: str) -> IPv4Address | IPv6Address | None:
    """The address of one entry, also where a proxy adds the port, as Azure's and Amazon's do: ``192.0.2.1:4711``,
    ``[2001:db8::1]:4711``. Without its zone, which is the client's own to name. None: there is no address in it."""
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
    """What limits count by: an IPv6 customer holds a whole /64, so that is one address."""
    try:
        parsed = ip_address(_unmapped(address))
    except ValueError:
        return address
    address = str(parsed)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address


def _from_the_right(headers: RawHeaders) -> Iterator[str]:
    """Yield the entries of all X-Forwarded-For lines, the last one first; an entry that is too long as nothing."""
    lines = [value for name, value in headers if name.lower() == b"x-forwarded-for"]
    for line in reversed(lines):
        end = len(line)
        while end >= 0:
            comma = line.rfind(b",", 0, end)
            entry = line[comma + 1 : end] if end - comma <= MAX_ENTRY else b""
            yield entry.strip().decode("latin-1")
            end = comma


def _unmapped(text: str) -> str:
    """An IPv4 address as such, also where a listener for both families shows it as ``::ffff:…``."""
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
