"""Which sidecars live, which policy they serve, and which change each of them has applied."""

from dataclasses import dataclass
from typing import Protocol

from sidecar.store.outcomes import Position


@dataclass(frozen=True, slots=True)
class Revocation:
    """R31: ``complete`` when every live sidecar has applied the change or its lease has run out; never from absence."""

    complete: bool
    sidecars: int
    waited_ms: int


class Fleet(Protocol):
    async def wait_applied(self, position: Position) -> Revocation:
        """Wait until the change cannot be unseen anywhere. Bounded: the longest lease + 200 ms."""
