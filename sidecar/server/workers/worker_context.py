"""Where a serving process stands: alone, or as one of several workers under a supervisor."""

from dataclasses import dataclass, field
from pathlib import Path

from sidecar.config.parsers import Address, UnixAddress


@dataclass(frozen=True, slots=True)
class Place:
    """``number`` is the worker's, from 0. ``ops`` is where it reports to its supervisor instead of to an operator.

    ``inherited`` maps an address of a Unix socket to the descriptor that all workers accept on; TCP addresses are
    bound once a worker (SO_REUSEPORT), so that the kernel spreads connections.
    """

    number: int = 0
    workers: int = 1
    ops: Address | None = None
    inherited: dict[str, int] = field(default_factory=dict)

    @property
    def shared(self) -> bool:
        return self.workers > 1

    @property
    def folder(self) -> Path | None:
        """The supervisor's, for what its workers count together; None when there is none."""
        return self.ops.path.parent if isinstance(self.ops, UnixAddress) else None


ALONE = Place()


def words_of(ops: UnixAddress) -> Path:
    """Where the worker that reports on this socket leaves why it could not serve."""
    return ops.path.with_suffix(".words")
