"""Network classes of clients, for the keys of cached responses (R40): classes are cached, not addresses.

Only connections of trusted proxies need them, and only if the policy has conditions of networks.
"""

import re
from typing import Final

from sidecar.domain.caching import FifoCache
from sidecar.http.client_ip import Address, reported_address
from sidecar.http.context import AppContext
from sidecar.policy.generation import Generation

FORWARDED_FOR: Final = b"x-forwarded-for"
USUAL: Final = b"\r\nX-Forwarded-For: "
LOWER: Final = b"\r\nx-forwarded-for: "
"""Spellings that gateways use. A head with another spelling is its own key."""

NO_LINE: Final = -1
"""In place of a class: the key contains the whole head, and its addresses."""

MAX_KNOWN: Final = 4096
MAX_VALUE: Final = 128
"""At most 1 MB of remembered header values."""

_VALUE: Final = re.compile(rb"[ -~]*")
"""Characters of addresses and their separators. A cached response is sent without a parser, which refuses others."""


class ClientNetworks:
    """Network classes by value of X-Forwarded-For. One per listener."""

    def __init__(self, app: AppContext) -> None:
        self._policy = app.policy
        self._trusted = app.public_config.trusted_proxies
        self._generation: Generation | None = None
        self._matter = False
        self._known: FifoCache[bytes, int] = FifoCache(MAX_KNOWN)
        self._get = self._known.get

    def matter(self) -> bool:
        """Return True if the policy in force has needs with conditions of networks."""
        generation = self._policy.generation
        if generation is not self._generation:
            self._follow(generation)
        return self._matter

    def split(self, head: bytes) -> tuple[bytes, int] | None:
        """Return a head without its line of addresses, and the class of the client. Without such a line: `NO_LINE`.

        Return None if the policy in force has no needs with conditions of networks. A head with several lines of
        addresses has no class. Its response must not be cached.
        """
        if not self.matter():
            return None
        at = head.rfind(USUAL)
        if at < 0:
            at = head.rfind(LOWER)
            if at < 0:
                return head, NO_LINE
        begin = at + len(USUAL)
        end = head.find(b"\r", begin)  # a carriage return alone stays in the key
        value = head[begin:end]
        network = self._get(value)
        if network is None:
            network = self._class_of(value)
            if network == NO_LINE:
                return head, NO_LINE
        return head[:at] + head[end:], network

    def address_in(self, head: bytes) -> tuple[Address | None, int]:
        """Return the client's address in a head of a trusted proxy, and the number of its lines of addresses."""
        values = []
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == FORWARDED_FOR:
                values.append((FORWARDED_FOR, value.strip(b" \t")))
        return reported_address(values, self._trusted), len(values)

    def _follow(self, generation: Generation | None) -> None:
        self._generation = generation
        self._matter = generation is not None and generation.needs.cuts_networks
        self._known.clear()

    def _class_of(self, value: bytes) -> int:
        """Return the class of the client. `NO_LINE`: the value is too long, or malformed, so that a parser decides."""
        if self._generation is None or len(value) > MAX_VALUE or not _VALUE.fullmatch(value):
            return NO_LINE
        address = reported_address([(FORWARDED_FOR, value.strip(b" \t"))], self._trusted)
        found = self._generation.needs.network_class(address)
        self._known.set(value, found)
        return found
