"""What differs between two generations: every cell and every route, exactly and without exception.

Both are finite: the cells are compared as sets, the routes over one path of each kind that either table can tell from
the others. What opens stands first (R3): a cell that becomes allowed, a request that more people can make than before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sidecar.policy.generation import Generation
from sidecar.policy.routes import METHODS, Node, Outcome, Public, outcome_text
from sidecar.vocabulary.access import Target

MAX_STATES = 200_000
"""Kinds of paths that are compared; only a table made for it has more."""


@dataclass(frozen=True, slots=True)
class CellChange:
    """One cell whose decision differs. A cell that is not declared is denied."""

    role: str
    section: str
    action: str
    opens: bool

    @property
    def before(self) -> str:
        return "deny" if self.opens else "allow"

    @property
    def after(self) -> str:
        return "allow" if self.opens else "deny"

    @property
    def name(self) -> str:
        """As `--accept` names it."""
        return f"{self.role}/{self.section}/{self.action}"


@dataclass(frozen=True, slots=True)
class RouteChange:
    """Requests that resolve otherwise: ``public``, ``SECTION/ACTION`` or ``unmatched``, before and after.

    ``opens``: somebody can make the request who could not before, by the rules of each side. In ``path``, ``*`` is one
    segment that no pattern names, a last ``**`` everything further down that none claims.
    """

    method: str
    path: str
    before: str
    after: str
    opens: bool

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes, what opens first."""

    cells: tuple[CellChange, ...]
    routes: tuple[RouteChange, ...]

    @property
    def openings(self) -> tuple[CellChange | RouteChange, ...]:
        cells = tuple(change for change in self.cells if change.opens)
        return cells + tuple(change for change in self.routes if change.opens)


class TooManyRoutes(Exception):
    """The two tables tell more kinds of paths apart than can be compared."""


def compare(old: Generation, new: Generation) -> Difference:
    """From ``old`` to ``new``."""
    order = _Order(old, new)
    cells = sorted(_cells(old, new), key=order.of_cell)
    routes = sorted(_routes(old, new), key=order.of_route)
    return Difference(tuple(cells), tuple(routes))


class _Order:
    """What opens first, then as the files say."""

    def __init__(self, old: Generation, new: Generation) -> None:
        names = dict.fromkeys((*new.roles, *old.roles))
        self._roles = {role: index for index, role in enumerate(names)}
        self._places: dict[tuple[str, str], int] = {}
        for generation in (new, old):
            for section in generation.sections.values():
                for action in section.actions:
                    self._places.setdefault((section.id, action), len(self._places))

    def of_cell(self, change: CellChange) -> tuple[bool, int, int]:
        return (not change.opens, self._roles[change.role], self._places[change.section, change.action])

    def of_route(self, change: RouteChange) -> tuple[bool, str, int]:
        return (not change.opens, change.path, METHODS.index(change.method))


def _cells(old: Generation, new: Generation) -> Iterator[CellChange]:
    for role in dict.fromkeys((*old.roles, *new.roles)):
        before, after = old.allowed.get(role, frozenset()), new.allowed.get(role, frozenset())
        for section, action in after - before:
            yield CellChange(role, section, action, opens=True)
        for section, action in before - after:
            yield CellChange(role, section, action, opens=False)


# -- routes ------------------------------------------------------------------------------------------------------------

_FRESH = "|"
"""A segment that no pattern can name: it stands for all that none does."""
_METHODS = tuple(method for method in METHODS if method != "HEAD")  # HEAD is authorised as GET


@dataclass(frozen=True, slots=True)
class _State:
    """The end of a path, and the places in both trees that a longer path could lead on from."""

    path: str
    shown: str
    nodes: tuple[Node, ...]


def _routes(old: Generation, new: Generation) -> Iterator[RouteChange]:
    audience = _Audience(old, new)
    for state, beyond in _states(old, new):
        for method in _METHODS:
            here = _change(old, new, audience, method, state.path, state.shown)
            rest = _change(old, new, audience, method, *beyond) if beyond is not None else None
            if here is not None and rest is not None and (here.before, here.after) == (rest.before, rest.after):
                here = None  # `/a/**` is `/a` as well
            yield from (change for change in (here, rest) if change is not None)


def _change(
    old: Generation, new: Generation, audience: "_Audience", method: str, path: str, shown: str
) -> RouteChange | None:
    before, after = old.routes.resolve(method, path), new.routes.resolve(method, path)
    if before == after:
        return None
    return RouteChange(method, shown, outcome_text(before), outcome_text(after), audience.grows(before, after))


def _states(old: Generation, new: Generation) -> Iterator[tuple[_State, tuple[str, str] | None]]:
    """Every path that the two trees can tell apart, with the one that stands for all below it that they cannot."""
    pending = [_State("/", "/", (old.routes.root, new.routes.root))]
    for _ in range(MAX_STATES):
        if not pending:
            return
        state = pending.pop()
        prefix, shown = state.path.rstrip("/"), state.shown.rstrip("/")
        stars = tuple(node.star for node in state.nodes if node.star is not None)
        for literal in dict.fromkeys(literal for node in state.nodes for literal in node.literals):
            named = tuple(node.literals[literal] for node in state.nodes if literal in node.literals)
            pending.append(_State(f"{prefix}/{literal}", f"{shown}/{literal}", (*named, *stars)))
        if stars:
            pending.append(_State(f"{prefix}/{_FRESH}", f"{shown}/*", stars))
        yield state, None if stars else (f"{prefix}/{_FRESH}", f"{shown}/**")
    raise TooManyRoutes(f"the two tables tell more than {MAX_STATES:,} kinds of paths apart")


class _Audience:
    """Who can make a request, by the rules of each side."""

    def __init__(self, old: Generation, new: Generation) -> None:
        self._old = old
        self._new = new

    def grows(self, before: Outcome, after: Outcome) -> bool:
        """Somebody can now who could not before. Nobody can make an unmatched request, everybody a public one."""
        if not isinstance(after, Target):
            return isinstance(after, Public) and not isinstance(before, Public)
        if isinstance(before, Public):
            return False
        could = _roles_of(self._old, before) if isinstance(before, Target) else frozenset()
        return not _roles_of(self._new, after) <= could


def _roles_of(generation: Generation, target: Target) -> frozenset[str]:
    cell = (target.section, target.action)
    return frozenset(role for role, allowed in generation.allowed.items() if cell in allowed)
