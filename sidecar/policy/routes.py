"""Method + raw path → section and action, or public, or the reason why not. Security, not polish (R2).

A path that can be read in more than one way is refused, never repaired: what the back end will make of it is
unknowable. The most specific matching pattern decides alone; patterns of which neither contains the other are never
compiled, so there is always exactly one. On the hot path: no cache, nothing but one walk down a tree.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import unquote_to_bytes

from sidecar.domain.access import Target
from sidecar.domain.decision import Reason

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
"""What a route may name. HEAD is authorised as GET and stands only beside it."""


class Public(Enum):
    """Needs no sign-in. Its one member is `PUBLIC`."""

    PUBLIC = "public"


PUBLIC: Final = Public.PUBLIC

Outcome = Target | Public | Reason
Segments = tuple[str, ...]


def outcome_text(outcome: Outcome) -> str:
    """``public``, ``SECTION/ACTION`` or ``unmatched``; an ambiguous path is let through by nothing either."""
    match outcome:
        case Target(section, action):
            return f"{section}/{action}"
        case Public.PUBLIC:
            return "public"
        case _:
            return "unmatched"


# -- the paths of requests ---------------------------------------------------------------------------------------------

_SEGMENT = r"/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,=:@|^\"<>{}\[\]` -]+"
_PLAIN = re.compile(rf"(?:{_SEGMENT})*/?")
"""Nothing to decode and nothing to refuse: nearly every request."""

_UNDECODABLE = re.compile(r"%(?:2f|5c|(?![0-9a-f]{2}))", re.IGNORECASE)
"""An encoded separator, or a ``%`` that begins no escape, which one program takes literally and another refuses."""

_AMBIGUOUS = re.compile(r"//|/\.{1,2}(?=/|\Z)|%(?:[0-9a-f]{2}|u[0-9a-f]{4})|[\\;#?\x00-\x1f\x7f-\x9f]", re.IGNORECASE)
"""In a path that was decoded once. A ``%`` is a character unless a second decoding would take it for an escape; some
programs decode ``%u002e``, too."""


def split_target(raw_uri: str) -> str | None:
    """The path of a request target: all before the first ``?``. None when it is not in origin form (``/…``)."""
    if not raw_uri.startswith("/"):
        return None
    return raw_uri.partition("?")[0]


def path_segments(raw_path: str) -> list[str] | None:
    """The decoded segments, one trailing slash left out; None when the path is ambiguous."""
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
    """Percent-decoded once; None for what another program could read otherwise."""
    if _UNDECODABLE.search(raw_path):
        return None
    path = _decoded_once(raw_path)
    return None if path is None or _AMBIGUOUS.search(path) else path


def _decoded_once(raw_path: str) -> str | None:
    try:
        # Bytes that are not UTF-8 arrive as surrogate escapes (aiohttp): turned back, then refused by the decoder.
        return unquote_to_bytes(raw_path.encode("utf-8", "surrogateescape")).decode("utf-8")
    except UnicodeError:
        return None


def ambiguity(raw_path: str) -> str:
    """Name what makes a path ambiguous, in a closed set of words. Empty when nothing does."""
    found = _UNDECODABLE.search(raw_path)
    if found is not None:
        return f'"{found[0]}"' if len(found[0]) > 1 else '"%" without two hexadecimal digits (write %25)'
    path = _decoded_once(raw_path)
    if path is None:
        return "bytes that are not UTF-8"
    found = _AMBIGUOUS.search(path)
    if found is None:
        return "" if path.startswith("/") else "no slash at its start"
    what = found[0]
    if what[0] == "%":
        return '"%" and hexadecimal digits after decoding'
    return f'"{what}"' if what.isprintable() else f"the control character U+{ord(what):04X}"


# -- the patterns of sections.toml -------------------------------------------------------------------------------------

_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()+,=:@-]+")


def read_pattern(path: str) -> Segments | str:
    """The segments of a pattern, or what is wrong with it: ``what: what to do``."""
    if not path.startswith("/"):
        return "a path begins with /: like /dashboard/billing"
    if path == "/":
        return ()
    segments = tuple(path[1:].split("/"))
    for index, segment in enumerate(segments):
        problem = _segment_problem(segment, last=index == len(segments) - 1)
        if problem:
            return problem
    return segments


def _segment_problem(segment: str, *, last: bool) -> str | None:
    if segment in ("*", "**"):
        return "** stands only at the end: write * for one segment" if segment == "**" and not last else None
    if not segment:
        return "a pattern has no slash at its end: delete it" if last else "a segment is empty: write one slash"
    if segment in (".", ".."):
        return f'no request with the segment "{segment}" is ever let through: write the path without it'
    if segment[0] in ":{<":
        return f'"{segment}" would be taken literally: write * for one segment of any name'
    if "*" in segment:
        return "* stands for a whole segment, ** for all the rest: nothing else may be in that segment"
    unfit = next((character for character in segment if not _LITERAL.fullmatch(character)), None)
    return None if unfit is None else f'"{unfit}" cannot stand in a path pattern: write the decoded path, in ASCII'


def contains(wide: Segments, narrow: Segments) -> bool:
    """Every path of ``narrow`` is one of ``wide``."""
    if wide and wide[-1] == "**":
        head = wide[:-1]
        body = narrow[:-1] if narrow and narrow[-1] == "**" else narrow
        return len(body) >= len(head) and all(_covers(w, n) for w, n in zip(head, body, strict=False))
    if len(wide) != len(narrow) or (narrow and narrow[-1] == "**"):
        return False
    return all(_covers(w, n) for w, n in zip(wide, narrow, strict=True))


def _covers(wide: str, narrow: str) -> bool:
    return wide in ("*", narrow)


# -- the table ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of sections.toml. ``line`` is where its path stands there."""

    path: str
    segments: Segments
    methods: tuple[str, ...]
    target: Target | Public
    line: int


@dataclass(slots=True)
class Node:
    """A place in the tree of patterns. ``here`` ends at it, ``rest`` is a ``**`` under it."""

    literals: dict[str, "Node"] = field(default_factory=dict)
    star: "Node | None" = None
    here: "dict[str, Route] | None" = None
    rest: "dict[str, Route] | None" = None


class RouteTable:
    """The routes of one generation, compiled once. Never changed afterwards."""

    __slots__ = ("root", "routes")

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self.routes = tuple(routes)
        self.root = Node()
        for route in self.routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node, rest = self.root, route.segments[-1:] == ("**",)
        for segment in route.segments[:-1] if rest else route.segments:
            if segment == "*":
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
        """What a request is for. ``raw_path`` is still percent-encoded and has no query; the method is exact."""
        segments = path_segments(raw_path)
        if segments is None:
            return Reason.AMBIGUOUS_PATH
        methods = _most_specific(self.root, segments, 0)
        if methods is None:
            return Reason.UNMATCHED_PATH
        route = methods.get(method)
        return Reason.UNMATCHED_PATH if route is None else route.target

    def methods_at(self, raw_path: str) -> tuple[str, ...]:
        """The methods of the entry that decides a path; none when there is no such entry."""
        segments = path_segments(raw_path)
        return tuple(() if segments is None else _most_specific(self.root, segments, 0) or ())

    def route_of(self, method: str, raw_path: str) -> Route | None:
        """The entry that decides a request; None when there is none or the path is ambiguous."""
        segments = path_segments(raw_path)
        methods = None if segments is None else _most_specific(self.root, segments, 0)
        return None if methods is None else methods.get(method)


def _most_specific(node: Node, segments: list[str], index: int) -> Mapping[str, Route] | None:
    """The methods of the narrowest pattern: a literal before ``*`` before ``**``, decided at the first difference."""
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
