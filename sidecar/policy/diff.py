"""Complete difference of two generations: renames, cells, routes, and assignable roles. Opening changes come first.

Renames are taken out first, and all other changes are listed under the new names. Cells are finite and compared as
sets, and their needs as sets of classes. Routes are compared exactly, by regions.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from sidecar.domain.access import Target
from sidecar.policy.generation import Generation
from sidecar.policy.needs.compare import Direction, NeedComparer, NeedWitness
from sidecar.policy.rename.detect import detect_renames
from sidecar.policy.rename.names import RenameKind, Renames
from sidecar.policy.route_regions import RouteResult, regions
from sidecar.policy.routes import Public, outcome_text

ALLOW: Final = "allow"
DENY: Final = "deny"
UNMATCHED = "unmatched"
PUBLIC = "public"


_RENAMED = {"before": "from", "after": "to"}
"""Members of the changes in JSON."""


class CellChange(msgspec.Struct, frozen=True, rename=_RENAMED, omit_defaults=True):
    """Changed cell. A cell undeclared on one side is a deny there. Encoded as it is, as are the other changes.

    ``requirement``: of a cell that is allowed on both sides, if its needs accept other classes of sessions. ``wider``
    counts as an opening. ``witnesses``: facts for which the decision changes.
    """

    role: str
    section: str
    action: str
    before: Literal["allow", "deny"]
    after: Literal["allow", "deny"]
    requirement: Direction | None = None
    witnesses: tuple[NeedWitness, ...] = ()

    @property
    def opens(self) -> bool:
        return self.after == ALLOW and self.requirement != "narrower"


class RouteChange(msgspec.Struct, frozen=True, rename=_RENAMED):
    """Changed result of requests. ``before`` and ``after``: ``public``, ``unmatched`` or ``[own ]SECTION/ACTION``.

    ``path`` is the pattern of the affected paths, except paths that a narrower pattern of either table decides.
    ``opens``: the change allows requests that were denied, which counts as deny→allow (R3).
    """

    method: str
    path: str
    before: str
    after: str
    opens: bool


class RoleChange(msgspec.Struct, frozen=True, rename=_RENAMED):
    """Role that becomes assignable, or is no longer assignable. ``before`` and ``after`` are these words.

    The change alone opens no access: a user manager must assign the role, and may not assign more permissions than they
    have (R11).
    """

    role: str
    before: str
    after: str


class RenameChange(msgspec.Struct, frozen=True, rename=_RENAMED):
    """Renamed role, section or action (``SECTION/ACTION``).

    ``cells``: those of the new name, over all roles, sections and actions. ``routes``: its routes by method.
    ``changes``: listed cells and routes of the new name that differ, beyond the rename.
    """

    kind: RenameKind
    before: str
    after: str
    cells: int
    routes: int
    changes: int


_ASSIGNABLE = {True: "assignable", False: "not assignable"}


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes. Those that open access come first, then by role, section and action, or by path and method.

    ``roles``: roles declared on both sides and assignable on one. ``renames`` open no access by themselves.
    """

    cells: tuple[CellChange, ...]
    routes: tuple[RouteChange, ...]
    roles: tuple[RoleChange, ...] = ()
    renames: tuple[RenameChange, ...] = ()

    @property
    def opens(self) -> bool:
        return any(change.opens for change in self.cells) or any(change.opens for change in self.routes)


def diff(old: Generation, new: Generation, renames: Renames | None = None) -> Difference:
    """Return all changes from ``old`` to ``new``. Equal generations have none. ``renames``: None: they are detected."""
    comparison = _Comparison(old, new, NeedComparer(old.needs, new.needs), renames)
    cells = sorted(
        (*comparison.cells(), *comparison.needed()), key=lambda c: (not c.opens, c.role, c.section, c.action)
    )
    routes = sorted(comparison.routes(), key=lambda r: (not r.opens, r.path, r.method))
    roles = (
        RoleChange(role.id, _ASSIGNABLE[not role.assignable], _ASSIGNABLE[role.assignable])
        for role in new.roles.values()
        if role.id in comparison.before and old.roles[comparison.before[role.id]].assignable is not role.assignable
    )
    return Difference(tuple(cells), tuple(routes), tuple(roles), tuple(_renamed(comparison, cells, routes)))


class _Comparison:
    """Comparison of two generations under renames. ``before``: new name → old name of each role of ``old``."""

    def __init__(self, old: Generation, new: Generation, needs: NeedComparer, renames: Renames | None) -> None:
        self.old, self.new, self._needs = old, new, needs
        self.renames = detect_renames(old, new, needs) if renames is None else renames
        self.before: Mapping[str, str] = {self.renames.role(name): name for name in old.roles}

    def cells(self) -> Iterator[CellChange]:
        nothing: frozenset[tuple[str, str]] = frozenset()
        for role in self.before.keys() | self.new.roles.keys():
            was = self.renames.cells(self.old.allowed.get(self.before.get(role, ""), nothing))
            now = self.new.allowed.get(role, nothing)
            for section, action in now - was:
                yield CellChange(role, section, action, DENY, ALLOW)
            for section, action in was - now:
                yield CellChange(role, section, action, ALLOW, DENY)

    def needed(self) -> Iterator[CellChange]:
        """Yield the cells that are allowed on both sides for other classes of sessions."""
        for role in self.before.keys() & self.new.roles.keys() if self._needs.active else ():
            for cell in self.old.allowed[self.before[role]]:
                section, action = self.renames.cell(*cell)
                if (section, action) not in self.new.allowed[role]:
                    continue
                found = self._needs.compare((self.before[role], *cell), (role, section, action))
                if found is not None:
                    yield CellChange(role, section, action, ALLOW, ALLOW, found.direction, found.witnesses)

    # -- routes --------------------------------------------------------------------------------------------------------

    def routes(self) -> Iterator[RouteChange]:
        for segments, before, after in regions(self.old.routes, self.new.routes):
            for method in (before.keys() | after.keys()) - {"HEAD"}:  # HEAD follows GET in both
                was, now = self._renamed(before.get(method)), after.get(method)
                if was != now:
                    opens = self._opens(before.get(method), now)
                    texts = _name(was), _name(now)
                    if texts[0] == texts[1]:
                        texts = _name(was, with_places=True), _name(now, with_places=True)
                    yield RouteChange(method, "/" + "/".join(segments), *texts, opens)

    def _renamed(self, result: RouteResult | None) -> RouteResult | None:
        if result is None or not isinstance(result.target, Target):
            return result
        return result._replace(target=Target(*self.renames.cell(*_pair(result.target))))

    def _opens(self, before: RouteResult | None, after: RouteResult | None) -> bool:
        """Return whether more roles are allowed, a role on others' paths, or a role with fewer needs."""
        roles = _allowed_roles(self.new, after)
        if not roles <= {self.renames.role(role) for role in _allowed_roles(self.old, before)}:
            return True
        if before is None or after is None:
            return False
        if roles and before.own is not None and not before.own.is_kept_by(after.own):
            return True
        was, now = before.target, after.target
        if not (self._needs.active and isinstance(was, Target) and isinstance(now, Target)):
            return False
        found = (self._needs.compare((self.before[role], *_pair(was)), (role, *_pair(now))) for role in roles)
        return any(one is not None and one.direction != "narrower" for one in found)


def _renamed(comparison: _Comparison, cells: list[CellChange], routes: list[RouteChange]) -> Iterator[RenameChange]:
    """Yield the renames, with the number of further changes of each."""
    new, renames = comparison.new, comparison.renames
    rest: Counter[str] = Counter()
    for cell in cells if renames else ():
        rest.update((f"role {cell.role}", cell.section, f"{cell.section}/{cell.action}"))
    for route in routes if renames else ():
        targets = {text.removeprefix("own ").partition(",")[0] for text in (route.before, route.after)}
        rest.update(targets | {target.partition("/")[0] for target in targets})
    moved = _route_counts(new) if renames else Counter[str]()
    for before, after in renames.sections.items():
        count = len(new.roles) * len(new.sections[after].actions)
        yield RenameChange(RenameKind.SECTION, before, after, count, moved[after], rest[after])
    for (section, before), after in renames.actions.items():
        name = f"{renames.sections.get(section, section)}/{after}"
        yield RenameChange(RenameKind.ACTION, f"{section}/{before}", name, len(new.roles), moved[name], rest[name])
    every = sum(len(section.actions) for section in new.sections.values())
    for before, after in renames.roles.items():
        yield RenameChange(RenameKind.ROLE, before, after, every, 0, rest[f"role {after}"])


def _route_counts(generation: Generation) -> Counter[str]:
    """Return the number of routes by method, per section and per action."""
    counts: Counter[str] = Counter()
    for route in generation.routes.routes:
        if isinstance(route.target, Target):
            number = len([method for method in route.methods if method != "HEAD"])
            counts[route.target.section] += number
            counts[f"{route.target.section}/{route.target.action}"] += number
    return counts


# -- targets -----------------------------------------------------------------------------------------------------------


def _pair(target: Target) -> tuple[str, str]:
    return target.section, target.action


def _name(result: RouteResult | None, *, with_places: bool = False) -> str:
    if result is None:
        return UNMATCHED
    if result.own is None:
        return outcome_text(result.target)
    return f"own {outcome_text(result.target)}{f', {result.own.text}' if with_places else ''}"


_ANONYMOUS = ""
"""Caller without a role. No role has this name."""


def _allowed_roles(generation: Generation, result: RouteResult | None) -> frozenset[str]:
    """Return the allowed roles, with `_ANONYMOUS` if sign-in is not required."""
    match None if result is None else result.target:
        case None:
            return frozenset()
        case Public.PUBLIC:
            return frozenset((_ANONYMOUS, *generation.roles))
        case Target(section, action):
            return frozenset(role for role, cells in generation.allowed.items() if (section, action) in cells)
