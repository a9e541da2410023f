"""Complete difference of two generations: cells, routes, and assignable roles. Changes that open access come first.

Cells are finite and compared as sets. Routes are patterns over infinitely many paths, and are compared exactly, by
regions. The region of a pair (``a``, ``b``) is the set of paths that ``a`` decides in the old table and ``b`` in the
new one. Within a region, all requests of one method have the same result, so one witness path is sufficient.

Witness: take any path ``w`` of the region. Replace each segment that neither pattern names by a segment that no pattern
of either table names. Call the result ``g``. A pattern that matches ``g`` has ``*`` or ``**`` at the replaced segments,
so it matches ``w`` too; and ``a`` and ``b`` still match ``g``. Patterns of one table never cross (R2), so the narrowest
match of ``w`` is also the narrowest match of ``g``. Therefore ``g`` is in the region of ``w``.

Length: ``g`` is determined by its region and its length. One segment more than the longest pattern is sufficient,
because further segments match the same ``**`` and nothing else.

Result: the set of all ``g`` is finite, with one per length and pair of overlapping patterns, or pattern and None. It
meets each region. If other patterns decide all ``g`` of a pair, the pair has no region.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, Literal

import msgspec

from sidecar.domain.access import Target
from sidecar.policy.generation import Generation
from sidecar.policy.routes import METHODS, Node, Public, Route, RouteTable, Segments

ALLOW: Final = "allow"
DENY: Final = "deny"
UNMATCHED = "unmatched"
PUBLIC = "public"


_RENAMED = {"before": "from", "after": "to"}
"""Members of the changes in JSON."""


class CellChange(msgspec.Struct, frozen=True, rename=_RENAMED):
    """Changed cell. A cell undeclared on one side is a deny there. Encoded as it is, as are the other changes."""

    role: str
    section: str
    action: str
    before: Literal["allow", "deny"]
    after: Literal["allow", "deny"]

    @property
    def opens(self) -> bool:
        return self.after == ALLOW


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
    cells = sorted(_cells(old, new), key=lambda c: (not c.opens, c.role, c.section, c.action))
    routes = sorted(_routes(old, new), key=lambda r: (not r.opens, r.path, r.method))
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


# -- routes ------------------------------------------------------------------------------------------------------------

UNDECLARED = "~~~"
"""Start of the witness segment that no pattern names. Lengthened until this is true."""


def _routes(old: Generation, new: Generation) -> Iterator[RouteChange]:
    for segments, before, after in _regions(old.routes, new.routes):
        for method in (before.keys() | after.keys()) - {"HEAD"}:  # HEAD follows GET in both
            was, now = _name(before.get(method)), _name(after.get(method))
            if was != now:
                opens = not _allowed_roles(new, after.get(method)) <= _allowed_roles(old, before.get(method))
                yield RouteChange(method, "/" + "/".join(segments), was, now, opens)


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


Methods = Mapping[str, Target | Public]
"""Method → target, for one pattern."""

Pair = tuple[Segments | None, Segments | None]
"""Deciding pattern of the old and of the new table; None for no match."""


def _regions(old: RouteTable, new: RouteTable) -> Iterator[tuple[Segments, Methods, Methods]]:
    """Yield the regions with a changed target: pattern, old targets and new targets by method."""
    before, after = _patterns(old), _patterns(new)
    undeclared = UNDECLARED
    named = {segment for pattern in (*before, *after) for segment in pattern}
    while undeclared in named:
        undeclared += "~"
    longest = 1 + max((len(pattern) for pattern in (*before, *after)), default=0)
    for pair in _pairs(before, after, new):
        was, now = _methods(before, pair[0]), _methods(after, pair[1])
        if was == now:
            continue
        pattern = _intersection(*pair)
        for path in _witnesses(pattern, undeclared, longest):
            if (_decided_by(old, path), _decided_by(new, path)) == pair:
                yield pattern, was, now
                break


def _patterns(table: RouteTable) -> dict[Segments, dict[str, Target | Public]]:
    patterns: dict[Segments, dict[str, Target | Public]] = {}
    for route in table.routes:
        patterns.setdefault(route.segments, {}).update(dict.fromkeys(route.methods, route.target))
    return patterns


def _methods(patterns: Mapping[Segments, Methods], pattern: Segments | None) -> Methods:
    return {} if pattern is None else patterns[pattern]


def _pairs(before: Iterable[Segments], after: Iterable[Segments], new: RouteTable) -> Iterator[Pair]:
    """Yield all pairs of patterns with a path in common, and each pattern with None."""
    for pattern in before:
        yield pattern, None
        for other in _overlapping(new.root, pattern):
            yield pattern, other
    for pattern in after:
        yield None, pattern


def _overlapping(root: Node, pattern: Segments) -> Iterator[Segments]:
    """Yield the patterns of a table that have a path in common with ``pattern``."""
    level = [root]
    for segment in pattern:
        if segment == "**":
            for node in level:
                yield from _under(node)
            return
        following: list[Node] = []
        for node in level:
            yield from _ending(node.rest)
            literals = node.literals
            following += literals.values() if segment == "*" else [literals[segment]] if segment in literals else []
            if node.star is not None:
                following.append(node.star)
        level = following
    for node in level:
        yield from _ending(node.here)
        yield from _ending(node.rest)


def _under(node: Node) -> Iterator[Segments]:
    pending = [node]
    while pending:
        node = pending.pop()
        yield from _ending(node.here)
        yield from _ending(node.rest)
        pending += node.literals.values()
        if node.star is not None:
            pending.append(node.star)


def _ending(methods: Mapping[str, Route] | None) -> Iterator[Segments]:
    if methods:
        yield next(iter(methods.values())).segments


def _intersection(one: Segments | None, other: Segments | None) -> Segments:
    """Return the pattern of the paths that match both patterns, which must overlap."""
    if one is None or other is None:
        return one or other or ()
    open_ended = one[-1:] == other[-1:] == ("**",)
    heads = [pattern[:-1] if pattern[-1:] == ("**",) else pattern for pattern in (one, other)]
    segments = tuple(b if a == "*" else a for a, b in zip_longest(*heads, fillvalue="*"))
    return (*segments, "**") if open_ended else segments


def _witnesses(pattern: Segments, undeclared: str, longest: int) -> Iterator[str]:
    """Yield the paths ``g`` of the module's proof, one per length."""
    head = pattern[:-1] if pattern[-1:] == ("**",) else pattern
    path = "".join(f"/{undeclared if segment == '*' else segment}" for segment in head)
    lengths = longest - len(head) if head != pattern else 0
    for more in range(lengths + 1):
        yield path + f"/{undeclared}" * more or "/"


def _decided_by(table: RouteTable, path: str) -> Segments | None:
    """Return the pattern that decides a path, or None. It decides alone and has at least one method."""
    for method in METHODS:
        route = table.route_of(method, path)
        if route is not None:
            return route.segments
    return None
