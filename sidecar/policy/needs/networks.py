"""Network classes: addresses that are in the same networks of all conditions are one class."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

import msgspec

from sidecar.policy.needs.conditions import Condition
from sidecar.policy.needs.facts import Address

_SIZES: Final = {4: 2**32, 6: 2**128}
_SAMPLES: Final = tuple(map(ip_address, ("10.0.0.4", "203.0.113.9", "198.51.100.9", "2001:db8:ffff::9")))
"""Addresses that stand for a class if they are in it."""


class NetworkClasses(msgspec.Struct, frozen=True):
    """Ranges of addresses with their class. ``masks``: per class, the numbers of its conditions as bits.

    Class 0 is outside all networks, and is the class of an unknown address. A start of 128 bits is text.
    """

    masks: tuple[int, ...] = (0,)
    v4: tuple[tuple[int, int], ...] = ()
    v6: tuple[tuple[str, int], ...] = ()


class NetworkIndex:
    """Look-up in `NetworkClasses`."""

    def __init__(self, classes: NetworkClasses) -> None:
        self._starts4 = [start for start, _ in classes.v4]
        self._classes4 = [found for _, found in classes.v4]
        self._starts6 = [int(start, 16) for start, _ in classes.v6]
        self._classes6 = [found for _, found in classes.v6]
        self._count = len(classes.masks)

    def find(self, client: Address | None) -> int:
        """Return the class of an address. An IPv4 address in IPv6 form is that IPv4 address."""
        if client is None:
            return 0
        if client.version == 6:
            plain = client.ipv4_mapped
            if plain is None:
                return self._classes6[bisect_right(self._starts6, int(client)) - 1] if self._starts6 else 0
            client = plain
        return self._classes4[bisect_right(self._starts4, int(client)) - 1] if self._starts4 else 0

    def samples(self) -> list[Address | None]:
        """Return an address per class. None if no address is outside all networks."""
        found: list[Address | None] = [None] * self._count
        for address in _SAMPLES:
            number = self.find(address)
            found[number] = found[number] or address
        for starts, classes, make in (
            (self._starts4, self._classes4, IPv4Address),
            (self._starts6, self._classes6, IPv6Address),
        ):
            for index, (start, number) in enumerate(zip(starts, classes, strict=True)):
                if found[number] is not None:
                    continue
                wide = index + 1 == len(starts) or starts[index + 1] - start > 1
                candidate: Address = make(start + 1 if wide else start)
                if self.find(candidate) == number:  # not for a range of IPv4 addresses in IPv6 form
                    found[number] = candidate
        return found


def network_classes(conditions: Sequence[Condition]) -> NetworkClasses:
    """Return the classes of all networks. The number of a condition is its index."""
    networks = [
        (number, ip_network(text)) for number, condition in enumerate(conditions) for text in condition.networks
    ]
    masks: dict[int, int] = {0: 0}
    ranges = {}
    for version, size in _SIZES.items():
        spans = [
            (number, int(net.network_address), int(net.broadcast_address) + 1)
            for number, net in networks
            if net.version == version
        ]
        ranges[version] = [(start, masks.setdefault(mask, len(masks))) for start, mask in _sweep(spans, size)]
    v6 = tuple((f"{start:x}", number) for start, number in ranges[6])
    return NetworkClasses(tuple(masks), tuple(ranges[4]), v6)


def _sweep(spans: Iterable[tuple[int, int, int]], size: int) -> list[tuple[int, int]]:
    """Return the start of each range with other conditions than the range before, with the conditions as bits."""
    steps: dict[int, list[tuple[int, int]]] = {0: []}
    for number, start, end in spans:
        steps.setdefault(start, []).append((number, 1))
        if end < size:
            steps.setdefault(end, []).append((number, -1))
    if len(steps) == 1 and not steps[0]:
        return []
    depth: dict[int, int] = {}
    found: list[tuple[int, int]] = []
    mask = 0
    for start in sorted(steps):
        for number, step in steps[start]:
            depth[number] = depth.get(number, 0) + step
            mask = mask | (1 << number) if depth[number] else mask & ~(1 << number)
        if not found or found[-1][1] != mask:
            found.append((start, mask))
    return found
