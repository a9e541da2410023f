"""Resolution of requests: method + raw path → section and action, public, or a denial reason (R2). Security-critical.

A path with more than one reading is rejected, never repaired, because the back end's reading is unknown. The most
specific matching pattern decides alone. Overlapping patterns without containment are not compiled, so that pattern is
unique. On the hot path: no cache, and one walk down a tree.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import unquote_to_bytes

from sidecar.domain.access import OwnTarget, Target
from sidecar.domain.decision import Reason
from sidecar.policy.diagnostics import closest
from sidecar.policy.own_segments import OWN, STARS, OwnSegments, own_of

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
"""Methods that a route can list. HEAD is authorised as GET and is valid only together with it."""


class Public(Enum):
    """Target without sign-in. Its one member is `PUBLIC`."""

    PUBLIC = "public"


PUBLIC: Final = Public.PUBLIC

Outcome = Target | OwnTarget | Public | Reason
Segments = tuple[str, ...]


def outcome_text(outcome: Outcome) -> str:
    """Return ``public``, ``[own ]SECTION/ACTION`` or ``unmatched``, which includes ambiguous paths."""
    match outcome:
        case Target(section, action):
            return f"{section}/{action}"
        case OwnTarget(target):
            return f"own {target.section}/{target.action}"
        case Public.PUBLIC:
            return "public"
        case _:
            return "unmatched"


# -- request paths -----------------------------------------------------------------------------------------------------

_SEGMENT = r"/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,=:@|^\"<>{}\[\]` -]+"
_PLAIN = re.compile(rf"(?:{_SEGMENT})*/?")
"""Path without escapes and without ambiguous parts: nearly all requests."""

_UNDECODABLE = re.compile(r"%(?:2f|5c|(?![0-9a-f]{2}))", re.IGNORECASE)
"""Encoded separator, or a ``%`` that begins no escape: a literal in some programs, an error in others."""

_AMBIGUOUS = re.compile(r"//|/\.{1,2}(?=/|\Z)|%(?:[0-9a-f]{2}|u[0-9a-f]{4})|[\\;#?\x00-\x1f\x7f-\x9f]", re.IGNORECASE)
"""Ambiguous part of a path that was decoded once.

A ``%`` is a literal unless a second decoding would treat it as an escape. Some programs decode ``%u002e``, too.
"""


def split_target(raw_uri: str) -> str | None:
    """Return the path of a request target, up to the first ``?``. None if it is not in origin form (``/…``)."""
    if not raw_uri.startswith("/"):
        return None
    return raw_uri.partition("?")[0]


def path_segments(raw_path: str) -> list[str] | None:
    """Return the decoded segments without one trailing slash, or None if the path is ambiguous."""
    path = raw_path
    if not _PLAIN.fullmatch(path):
        decoded = _decoded(raw_path)
        if decoded is None:
            return None
        path = decoded
    if not path.startswith("/"):
        return None
    segments = path[1:].split("/")
    if not segments[-1]:
        segments.pop()
    return segments


def _decoded(raw_path: str) -> str | None:
    """Return the path percent-decoded once, or None if other programs could read it differently."""
    if _UNDECODABLE.search(raw_path):
        return None
    path = _decoded_once(raw_path)
    return None if path is None or _AMBIGUOUS.search(path) else path


def _decoded_once(raw_path: str) -> str | None:
    try:
        # aiohttp passes invalid UTF-8 as surrogate escapes. Encode them back, so that the decoder rejects them.
        return unquote_to_bytes(raw_path.encode("utf-8", "surrogateescape")).decode("utf-8")
    except UnicodeError:
        return None


def ambiguity(raw_path: str) -> str:
    """Return a description of the ambiguous part, from a closed set of phrases; empty if the path is unambiguous."""
    found = _UNDECODABLE.search(raw_path)
    if found is not None:
        return f'"{found[0]}"' if len(found[0]) > 1 else '"%" without two hexadecimal digits (write %25)'
    path = _decoded_once(raw_path)
    if path is None:
        return "bytes that are not UTF-8"
    found = _AMBIGUOUS.search(path)
    if found is None:
        return "" if path.startswith("/") else "no slash at its start"
    match = found[0]
    if match[0] == "%":
        return '"%" and hexadecimal digits after decoding'
    return f'"{match}"' if match.isprintable() else f"the control character U+{ord(match):04X}"


# -- patterns of sections.toml -----------------------------------------------------------------------------------------

_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()+,=:@-]+")


def read_pattern(path: str) -> Segments | str:
    """Return the segments of a pattern, or an error text of the form ``problem: remedy``."""
    if not path.startswith("/"):
        return "a path begins with /: like /dashboard/billing"
    if path == "/":
        return ()
    segments = tuple(path[1:].split("/"))
    for index, segment in enumerate(segments):
        problem = _segment_problem(segment, last=index == len(segments) - 1)
        if problem:
            return problem
    double = next((one for one in OWN if segments.count(one) > 1), None)
    return segments if double is None else f'"{double}" stands in more than one segment: write it once'


def _segment_problem(segment: str, *, last: bool) -> str | None:
    if segment in OWN:
        return None
    if segment in ("*", "**"):
        return "** is allowed only at the end: write * for one segment" if segment == "**" and not last else None
    if not segment:
        return "a pattern has no slash at its end: delete it" if last else "a segment is empty: write one slash"
    if segment in (".", ".."):
        return f'requests with the segment "{segment}" are always denied: write the path without it'
    if segment[0] in ":{<":
        near = closest(segment.strip(":{}<>"), (one.strip("{}") for one in OWN))
        own = f"{{{near}}} for the caller's own id" if near else "{account} or {user} for the caller's own id"
        return f'"{segment}" would be matched literally: write {own}, * for any name'
    if any(one in segment for one in OWN):
        return f'"{segment}" has more than the own segment: write nothing else between its slashes'
    if "*" in segment:
        return "* matches a whole segment, ** all the rest: write nothing else in that segment"
    unfit = next((character for character in segment if not _LITERAL.fullmatch(character)), None)
    return None if unfit is None else f'"{unfit}" is not allowed in a path pattern: write the decoded path, in ASCII'


def contains(wide: Segments, narrow: Segments) -> bool:
    """Return whether each path of ``narrow`` is also a path of ``wide``, for some caller."""
    if wide and wide[-1] == "**":
        head = wide[:-1]
        body = narrow[:-1] if narrow and narrow[-1] == "**" else narrow
        return len(body) >= len(head) and all(_covers(w, n) for w, n in zip(head, body, strict=False))
    if len(wide) != len(narrow) or (narrow and narrow[-1] == "**"):
        return False
    return all(_covers(w, n) for w, n in zip(wide, narrow, strict=True))


def _covers(wide: str, narrow: str) -> bool:
    return wide == narrow or wide in STARS


# -- route table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Route:
    """Entry of sections.toml. ``line`` is the line of its path.

    ``own``: the own segments among ``segments``. ``is_for_all``: the entry has ``own = false``.
    """

    path: str
    segments: Segments
    methods: tuple[str, ...]
    target: Target | Public
    line: int
    is_for_all: bool = False
    own: OwnSegments | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "own", own_of(self.segments))  # derived, so that no constructor omits it


@dataclass(slots=True)
class Node:
    """Node in the tree of patterns. ``here``: routes that end at the node; ``rest``: routes with ``**`` below it.

    ``star``: below ``*`` and below own segments.
    """

    literals: dict[str, "Node"] = field(default_factory=dict)
    star: "Node | None" = None
    here: "dict[str, Route] | None" = None
    rest: "dict[str, Route] | None" = None


class RouteTable:
    """Routes of one generation, compiled once and immutable afterwards.

    ``own_only``: targets whose routes all have own segments.
    """

    __slots__ = ("own_only", "root", "routes")

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self.routes = tuple(routes)
        own, others = ({one.target for one in self.routes if (one.own is None) is plain} for plain in (False, True))
        self.own_only = frozenset(own - others)
        self.root = Node()
        for route in self.routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node, rest = self.root, route.segments[-1:] == ("**",)
        for segment in route.segments[:-1] if rest else route.segments:
            if segment in STARS:
                node.star = node = node.star or Node()
            else:
                node = node.literals.setdefault(segment, Node())
        methods = (node.rest if rest else node.here) or {}
        for method in route.methods:
            methods.setdefault(method, route)
        if "GET" in route.methods:
            methods["HEAD"] = methods["GET"]
        if rest:
            node.rest = methods
        else:
            node.here = methods

    def resolve(self, method: str, raw_path: str) -> Outcome:
        """Return the target of a request, or the denial reason. `OwnTarget`: the caller's ids decide.

        ``raw_path`` is percent-encoded and has no query. The method is case-sensitive.
        """
        segments = path_segments(raw_path)
        if segments is None:
            return Reason.AMBIGUOUS_PATH
        methods = _most_specific(self.root, segments, 0)
        if methods is None:
            return Reason.UNMATCHED_PATH
        route = methods.get(method)
        if route is None:
            return Reason.UNMATCHED_PATH
        return route.target if route.own is None else _own_target(route, route.own, segments)

    def methods_at(self, raw_path: str) -> tuple[str, ...]:
        """Return the methods of the deciding pattern; empty if no pattern matches."""
        segments = path_segments(raw_path)
        return tuple(() if segments is None else _most_specific(self.root, segments, 0) or ())

    def route_of(self, method: str, raw_path: str) -> Route | None:
        """Return the deciding route; None if there is none or the path is ambiguous."""
        segments = path_segments(raw_path)
        methods = None if segments is None else _most_specific(self.root, segments, 0)
        return None if methods is None else methods.get(method)


def _own_target(route: Route, own: OwnSegments, segments: list[str]) -> Outcome:
    """Return the target with its own segments. A public path has no caller, and is not compiled with one."""
    return own.target_in(route.target, segments) if isinstance(route.target, Target) else Reason.UNMATCHED_PATH


def _most_specific(node: Node, segments: list[str], index: int) -> Mapping[str, Route] | None:
    """Return the methods of the narrowest pattern.

    At the first difference between two patterns, a literal is narrower than ``*``, and ``*`` than ``**``.
    """
    rest = None
    for position in range(index, len(segments)):
        if node.rest is not None:
            rest = node.rest
        child = node.literals.get(segments[position])
        if node.star is not None:
            if child is not None:
                found = _most_specific(child, segments, position + 1)
                if found is not None:
                    return found
            child = node.star
        if child is None:
            return rest
        node = child
    return node.here or node.rest or rest
