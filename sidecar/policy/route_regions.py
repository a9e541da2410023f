"""Regions of two route tables: sets of paths that the same pair of patterns decides.

Routes are patterns over infinitely many paths, and are compared exactly, by
regions. The region of a pair (``a``, ``b``) is the set of paths that ``a`` decides in the old table and ``b`` in the
new one. Within a region, all requests of one method have the same result, so one witness path is sufficient.

Witness: take any path ``w`` of the region. Replace each segment that neither pattern names by a segment that no pattern
of either table names. Call the result ``g``. A pattern that matches ``g`` has ``*`` or ``**`` at the replaced segments,
so it matches ``w`` too; and ``a`` and ``b`` still match ``g``. Patterns of one table never cross (R2), so the narrowest
match of ``w`` is also the narrowest match of ``g``. Therefore ``g`` is in the region of ``w``. An own segment matches
like ``*``; the callers that it allows are a part of the result.

Length: ``g`` is determined by its region and its length. One segment more than the longest pattern is sufficient,
because further segments match the same ``**`` and nothing else.

Result: the set of all ``g`` is finite, with one per length and pair of overlapping patterns, or pattern and None. It
meets each region. If other patterns decide all ``g`` of a pair, the pair has no region.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import NamedTuple

from sidecar.domain.access import Target
from sidecar.policy.own_segments import STARS, OwnSegments
from sidecar.policy.routes import METHODS, Node, Public, Route, RouteTable, Segments

UNDECLARED = "~~~"
"""Start of the witness segment that no pattern names. Lengthened until this is true."""


class RouteResult(NamedTuple):
    """Result of a request for one pattern and method: the target, and the own segments that the path must have."""

    target: Target | Public
    own: OwnSegments | None = None


Methods = Mapping[str, RouteResult]
"""Method → result, for one pattern."""

Pair = tuple[Segments | None, Segments | None]
"""Deciding pattern of the old and of the new table; None for no match."""


def regions(old: RouteTable, new: RouteTable) -> Iterator[tuple[Segments, Methods, Methods]]:
    """Yield the regions with a changed result: pattern, old results and new results by method."""
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


def _patterns(table: RouteTable) -> dict[Segments, dict[str, RouteResult]]:
    patterns: dict[Segments, dict[str, RouteResult]] = {}
    for route in table.routes:
        result = RouteResult(route.target, route.own)
        patterns.setdefault(route.segments, {}).update(dict.fromkeys(route.methods, result))
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
            following += literals.values() if segment in STARS else [literals[segment]] if segment in literals else []
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
    segments = tuple(_narrower(a, b) for a, b in zip_longest(*heads, fillvalue="*"))
    return (*segments, "**") if open_ended else segments


def _narrower(one: str, other: str) -> str:
    """Return a segment of paths that match both. Different own segments become ``*``."""
    if one not in STARS or one == other:
        return one
    return "*" if other in STARS else other


def _witnesses(pattern: Segments, undeclared: str, longest: int) -> Iterator[str]:
    """Yield the paths ``g`` of the module's proof, one per length."""
    head = pattern[:-1] if pattern[-1:] == ("**",) else pattern
    path = "".join(f"/{undeclared if segment in STARS else segment}" for segment in head)
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
