"""Context of a serving process: single, or one of several workers under a supervisor."""

from dataclasses import dataclass, field
from pathlib import Path

from sidecar.config.parsers import Address, UnixAddress


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """``number``: the worker's, from 0. ``ops``: address for the supervisor's requests, in place of the ops listener.

    ``inherited`` maps the address of a Unix socket to the descriptor on which all workers accept. TCP addresses are
    bound once per worker (SO_REUSEPORT), so that the kernel spreads connections.
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
        """Return the supervisor's directory, for limits that its workers share; None without a supervisor."""
        return self.ops.path.parent if isinstance(self.ops, UnixAddress) else None


ALONE = WorkerContext()


def words_of(ops: UnixAddress) -> Path:
    """Return the path of the file to which a worker writes its startup error."""
    return ops.path.with_suffix(".words")
