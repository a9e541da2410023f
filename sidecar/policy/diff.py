"""Complete difference of two generations: cells, routes, and assignable roles. Changes that open access come first.

Cells are finite and compared as sets, and their needs as sets of classes. Routes are compared exactly, by regions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from sidecar.domain.access import Target
from sidecar.policy.generation import Generation
from sidecar.policy.needs.compare import Direction, NeedComparer, NeedWitness
from sidecar.policy.route_regions import regions
from sidecar.policy.routes import Public

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
    """Changed result of requests. ``before`` and ``after``: ``public``, ``unmatched`` or ``SECTION/ACTION``.

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


_ASSIGNABLE = {True: "assignable", False: "not assignable"}


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes. Those that open access come first, then by role, section and action, or by path and method.

    ``roles``: roles declared on both sides and assignable on one.
    """

    cells: tuple[CellChange, ...]
    routes: tuple[RouteChange, ...]
    roles: tuple[RoleChange, ...] = ()

    @property
    def opens(self) -> bool:
        return any(change.opens for change in self.cells) or any(change.opens for change in self.routes)


def diff(old: Generation, new: Generation) -> Difference:
    """Return all changes from ``old`` to ``new``. Equal generations have none."""
    needs = NeedComparer(old.needs, new.needs)
    cells = sorted(
        (*_cells(old, new), *_needs(old, new, needs)), key=lambda c: (not c.opens, c.role, c.section, c.action)
    )
    routes = sorted(_routes(old, new, needs), key=lambda r: (not r.opens, r.path, r.method))
    roles = (
        RoleChange(role.id, _ASSIGNABLE[not role.assignable], _ASSIGNABLE[role.assignable])
        for role in new.roles.values()
        if role.id in old.roles and old.roles[role.id].assignable is not role.assignable
    )
    return Difference(tuple(cells), tuple(routes), tuple(roles))


def _cells(old: Generation, new: Generation) -> Iterator[CellChange]:
    nothing: frozenset[tuple[str, str]] = frozenset()
    for role in old.roles.keys() | new.roles.keys():
        before, after = old.allowed.get(role, nothing), new.allowed.get(role, nothing)
        for section, action in after - before:
            yield CellChange(role, section, action, DENY, ALLOW)
        for section, action in before - after:
            yield CellChange(role, section, action, ALLOW, DENY)


def _needs(old: Generation, new: Generation, needs: NeedComparer) -> Iterator[CellChange]:
    """Yield the cells that are allowed on both sides for other classes of sessions."""
    for role in old.roles.keys() & new.roles.keys() if needs.active else ():
        for section, action in old.allowed[role] & new.allowed[role]:
            found = needs.compare((role, section, action), (role, section, action))
            if found is not None:
                yield CellChange(role, section, action, ALLOW, ALLOW, found.direction, found.witnesses)


# -- routes ------------------------------------------------------------------------------------------------------------


def _routes(old: Generation, new: Generation, needs: NeedComparer) -> Iterator[RouteChange]:
    for segments, before, after in regions(old.routes, new.routes):
        for method in (before.keys() | after.keys()) - {"HEAD"}:  # HEAD follows GET in both
            was, now = _name(before.get(method)), _name(after.get(method))
            if was != now:
                opens = _opens(old, new, needs, before.get(method), after.get(method))
                yield RouteChange(method, "/" + "/".join(segments), was, now, opens)


def _opens(
    old: Generation,
    new: Generation,
    needs: NeedComparer,
    before: Target | Public | None,
    after: Target | Public | None,
) -> bool:
    """Return whether more roles are allowed, or a role with fewer needs."""
    roles = _allowed_roles(new, after)
    if not roles <= _allowed_roles(old, before):
        return True
    if not (needs.active and isinstance(before, Target) and isinstance(after, Target)):
        return False
    found = (needs.compare((role, *_pair(before)), (role, *_pair(after))) for role in roles)
    return any(one is not None and one.direction != "narrower" for one in found)


def _pair(target: Target) -> tuple[str, str]:
    return target.section, target.action


def _name(target: Target | Public | None) -> str:
    match target:
        case None:
            return UNMATCHED
        case Public.PUBLIC:
            return PUBLIC
        case Target(section, action):
            return f"{section}/{action}"


_ANONYMOUS = ""
"""Caller without a role. No role has this name."""


def _allowed_roles(generation: Generation, target: Target | Public | None) -> frozenset[str]:
    """Return the allowed roles, with `_ANONYMOUS` if sign-in is not required."""
    match target:
        case None:
            return frozenset()
        case Public.PUBLIC:
            return frozenset((_ANONYMOUS, *generation.roles))
        case Target(section, action):
            return frozenset(role for role, cells in generation.allowed.items() if (section, action) in cells)
