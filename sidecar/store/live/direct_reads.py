"""Gate that every direct read of the store passes.

The gate is closed for a partition with untrustworthy replies: it rejects writes, or is another or an older store (R46,
R49). While open, the gate compares each reply about an account with the feed. A store has lost changes if it counts
fewer changes of a partition than were applied here when the request was sent.

``Store`` calls the gate before each read, so a new read cannot bypass it. ``transition`` calls it for changes by users.
Changes by operators pass, as epoch repair requires. Reads without user data are exempt: the registration that proves
the store, the meta record and its copies, the fleet's members, and limits.
"""

import re
from collections.abc import Callable
from typing import Final

from sidecar.store.errors import StoreUnavailableError

UNGATED_SCRIPTS: Final = frozenset({"register", "ack_status", "fleet", "meta", "limit_take", "limit_give_back"})
UNGATED_COMMANDS: Final = frozenset({"PING", "INFO", "TIME"})
_META: Final = ":meta"
_TAG: Final = re.compile(r"\{p(\d{2,})\}")


def _open(_partition: int) -> None:
    """Admit every read: a process that follows no feed has nothing to compare replies with."""


class ReadGate:
    """Gate of one Store. ``require`` raises StoreUnavailableError for an unreadable partition
    (PartitionStates.require)."""

    def __init__(self) -> None:
        self.require: Callable[[int], None] = _open
        self._applied: dict[int, int] = {}

    def admit(self, name: str, key: str) -> None:
        """Raise StoreUnavailableError while the gate is closed. ``name``: script or command; ``key``: its first key."""
        if name in UNGATED_SCRIPTS or name in UNGATED_COMMANDS or key.endswith(_META):
            return
        if (tagged := _TAG.search(key)) is not None:
            self.require(int(tagged[1]))

    def applied(self, partition: int) -> int:
        """Return the number of the partition's last change applied here. Call it before a read is sent."""
        return self._applied.get(partition, 0)

    def follow(self, partition: int, n: int) -> None:
        """Record that the feed has applied change ``n``, or restarts from it."""
        self._applied[partition] = n

    def require_current(self, n: int, applied: int) -> None:
        """Raise StoreUnavailableError when ``n``, the feed's count in a reply, is below ``applied``."""
        if n < applied:
            raise StoreUnavailableError("the store is behind the feed")
