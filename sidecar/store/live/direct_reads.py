"""The gate that every direct read of the store passes.

Closed for a partition whose state says that its answers are not the truth: it refuses to write, or is another or an
older store (R46, R49). Open, it holds each answer about an account to the feed: a store that counts fewer changes of a
partition than were applied here when the question was sent went back in time.

``Store`` asks it before each read, so a new one cannot go around it; ``transition`` asks it for what people change.
Operators' changes pass, as healing has to. Exempt is what says nothing of people: the registration that proves the
store, the meta record and its copies, the fleet's members, and limits.
"""

import re
from collections.abc import Callable
from typing import Final

from sidecar.store.errors import StoreUnavailable

UNGATED_SCRIPTS: Final = frozenset({"register", "ack_status", "fleet", "meta", "limit_take", "limit_give_back"})
UNGATED_COMMANDS: Final = frozenset({"PING", "INFO", "TIME"})
_META: Final = ":meta"
_TAG: Final = re.compile(r"\{p(\d{2,})\}")


def _open(_partition: int) -> None:
    """For a process that follows no feed: nothing is known there that an answer could contradict."""


class Gate:
    """One per Store. ``require`` raises StoreUnavailable for a partition that must not be read: PartitionStates'."""

    def __init__(self) -> None:
        self.require: Callable[[int], None] = _open
        self._applied: dict[int, int] = {}

    def admit(self, name: str, key: str) -> None:
        """``name``: a script's or a command's; ``key``: its first. Raises StoreUnavailable while the gate is closed."""
        if name in UNGATED_SCRIPTS or name in UNGATED_COMMANDS or key.endswith(_META):
            return
        if (tagged := _TAG.search(key)) is not None:
            self.require(int(tagged[1]))

    def applied(self, partition: int) -> int:
        """The last change of the partition that was applied here; to be asked before a read is sent."""
        return self._applied.get(partition, 0)

    def follow(self, partition: int, n: int) -> None:
        """The feed has applied change ``n``, or starts anew from it."""
        self._applied[partition] = n

    def judge(self, n: int, applied: int) -> None:
        """``n``: the feed's count beside an answer. Raises StoreUnavailable when it is below ``applied``."""
        if n < applied:
            raise StoreUnavailable("the store that answered is behind the feed")
