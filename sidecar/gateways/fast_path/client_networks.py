"""Network classes of clients, for the keys of cached responses (R40): classes are cached, not addresses.

Only connections of trusted proxies need them, and only if the policy has conditions of networks.
"""

from typing import Final

from sidecar.domain.caching import FifoCache
from sidecar.gateways.ext_authz import cuts_networks
from sidecar.http.client_ip import Address, reported_address
from sidecar.http.context import AppContext

FORWARDED_FOR: Final = b"x-forwarded-for"
LINES: Final = (b"\r\nX-Forwarded-For: ", b"\r\nx-forwarded-for: ")
"""Spellings that gateways use. A head with another spelling is its own key."""

NO_LINE: Final = -1
"""In place of a class: the key contains the whole head, and its addresses."""

MAX_KNOWN: Final = 4096
MAX_VALUE: Final = 128
"""At most 1 MB of remembered header values."""


class ClientNetworks:
    """Network classes by value of X-Forwarded-For. One per listener."""

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self._trusted = app.public_config.trusted_proxies
        self._generation = ""
        self._known: FifoCache[bytes, int] = FifoCache(MAX_KNOWN)

    def matter(self) -> bool:
        """Return whether the policy in force has needs with conditions of networks."""
        return cuts_networks(self._app)

    def split(self, head: bytes) -> tuple[bytes, int]:
        """Return a head without its line of addresses, and the class of the client. Without such a line: `NO_LINE`.

        A head with several lines of addresses has no class. Its response must not be cached.
        """
        for line in LINES:
            at = head.find(line)
            if at >= 0:
                end = head.find(b"\r\n", at + len(line))
                value = head[at + len(line) : end]
                return (head[:at] + head[end:], self._class_of(value)) if len(value) <= MAX_VALUE else (head, NO_LINE)
        return head, NO_LINE

    def address_in(self, head: bytes) -> tuple[Address | None, int]:
        """Return the client's address in a head of a trusted proxy, and the number of its lines of addresses."""
        values = []
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == FORWARDED_FOR:
                values.append((FORWARDED_FOR, value.strip(b" \t")))
        return reported_address(values, self._trusted), len(values)

    def _class_of(self, value: bytes) -> int:
        generation = self._app.policy.generation
        if generation is None:
            return NO_LINE
        if generation.id is not self._generation:
            self._generation = generation.id
            self._known.clear()
        found = self._known.get(value)
        if found is None:
            address = reported_address([(FORWARDED_FOR, value.strip(b" \t"))], self._trusted)
            found = generation.needs.network_class(address)
            self._known.set(value, found)
        return found
