"""What changes between two generations: every cell, every route. Exact and exhaustive, what opens first."""

from dataclasses import dataclass

from sidecar.policy.generation import Generation


@dataclass(frozen=True, slots=True)
class CellChange:
    """``before`` and ``after``: ``allow`` or ``deny``. A cell that is not declared on one side is a deny there."""

    role: str
    section: str
    action: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RouteChange:
    """A request that leads elsewhere. ``opens``: newly public or weaker, which counts as deny→allow (R3)."""

    method: str
    path: str
    before: str
    after: str
    opens: bool


@dataclass(frozen=True, slots=True)
class Difference:
    cells: tuple[CellChange, ...]
    routes: tuple[RouteChange, ...]


def diff(old: Generation, new: Generation) -> Difference:
    """Every change, deny→allow first."""
    raise NotImplementedError
