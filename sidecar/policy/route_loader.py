"""Reader of the routes in sections.toml. Rejects two routes that match the same request (R2).

A path has one owner. Duplicate declarations, and overlapping patterns of which neither is narrower, are errors, so
order has no meaning. Public paths are listed by name; a public pattern that matches all paths is rejected (R3).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sidecar.domain.access import Target
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink, closest, did_you_mean
from sidecar.policy.own_checks import OwnChecks, RouteEntry, owner, read_own
from sidecar.policy.own_segments import shape
from sidecar.policy.routes import METHODS, PUBLIC, Public, Route, Segments, contains, read_pattern
from sidecar.policy.text.csv_reader import NAME
from sidecar.policy.text.toml_reader import TomlTable

_FILE = "sections.toml"
MAX_ROUTES = 50_000
MAX_CROSSINGS = 50_000
"""Maximum pairs of overlapping paths that are reported with their places; further ones are counted."""
_ONE_BY_ONE = "list the public paths one by one, each with a test in routes.csv"


def read_routes(section: str, actions: tuple[str, ...], table: TomlTable) -> Iterator[RouteEntry]:
    """Yield the routes of one section."""
    for entry in table.tables("routes"):
        entry.known("path", "methods", "action", "own")
        action = entry.text("action")
        if action is not None and actions and action not in actions:
            nearest = closest(action, actions)
            if nearest is None or NAME.fullmatch(nearest):  # an invalid declaration is reported only once
                hint = did_you_mean(action, actions) or f"its actions: {', '.join(actions)}"
                entry.report(Code.UNKNOWN_ACTION, "action", f'"{action}" is not an action of "{section}"', hint)
        yield from _read_route(entry, Target(section, action or ""))


def read_public(root: TomlTable) -> Iterator[RouteEntry]:
    """Yield the routes that need no sign-in."""
    for entry in root.tables("public"):
        entry.known("path", "methods", "own")
        yield from _read_route(entry, PUBLIC)


def _read_route(table: TomlTable, target: Target | Public) -> Iterator[RouteEntry]:
    path, methods = table.text("path"), _read_methods(table)
    if path is None:
        return
    segments = read_pattern(path)
    if isinstance(segments, str):
        problem, _, hint = segments.rpartition(": ")
        table.report(Code.INVALID_PATH, "path", f'"{path}": {problem}', hint)
        return
    at = table.document.at((*table.path, "path"))
    route = Route(path, segments, methods, target, at[0], is_for_all=table.get("own", required=False) is False)
    read_own(table, route)
    if _opens_everything(route):
        message = f'a public "{path}" would open all paths outside the sections'
        table.report(Code.PUBLIC_EVERYTHING, "path", message, _ONE_BY_ONE)
    yield RouteEntry(route, at)


def _read_methods(table: TomlTable) -> tuple[str, ...]:
    listed = table.texts("methods")
    if listed is None:
        return ()
    for method in listed:
        if method not in METHODS:
            hint = did_you_mean(method, METHODS) or f"known: {', '.join(METHODS)}"
            table.report(Code.INVALID_METHOD, "methods", f'"{method}" is not a method', hint)
    if not listed:
        table.report(Code.MISSING_KEY, "methods", "no method is named", 'name at least one, like ["GET"]')
    if len(set(listed)) < len(listed):
        table.report(Code.INVALID_METHOD, "methods", "duplicate method", "list it once")
    if "HEAD" in listed and "GET" not in listed:
        table.report(Code.INVALID_METHOD, "methods", "HEAD is authorised as GET", "add GET")
    return tuple(dict.fromkeys(method for method in listed if method in METHODS))


def check_entries(entries: list[RouteEntry], findings: DiagnosticSink) -> None:
    """Report duplicate pairs of path and method, and patterns that overlap without containment."""
    if len(entries) > MAX_ROUTES:
        findings.add(Code.POLICY_TOO_LARGE, _FILE, (1, 1), f"more than {MAX_ROUTES:,} routes", "split the policy")
        return
    taken: dict[tuple[Segments, str], Route] = {}
    patterns: dict[Segments, RouteEntry] = {}
    index = _Patterns()
    reaching: dict[Segments, list[Route]] = {}
    own, crossings = OwnChecks(), _Crossings()
    for entry in entries:
        route = entry.route
        segments = shape(route.segments)
        own.add(entry, segments)
        for method in route.methods:
            first = taken.setdefault((segments, method), route)
            if first is not route and first.segments == route.segments:
                message = f"{method} {route.path} already belongs to {owner(first)}, by line {first.line}"
                findings.add(Code.DUPLICATE_ROUTE, _FILE, entry.at, message, "a request has one route")
        if segments not in patterns:
            patterns[segments] = entry
            for other in index.overlapping(segments):
                _check_pair(patterns[other], entry, reaching, own, crossings)
            index.add(segments)
    crossings.report(findings)
    own.report(findings)
    for segments, inner in reaching.items():
        wide, narrow = patterns[shape(segments)], inner[0]
        more = f" and {len(inner) - 1} more" if len(inner) > 1 else ""
        message = f"the public {wide.route.path} contains {narrow.path} of {owner(narrow)}, line {narrow.line}{more}"
        findings.add(Code.PUBLIC_OVER_SECTION, _FILE, wide.at, message, _ONE_BY_ONE)


def _check_pair(
    earlier: RouteEntry,
    later: RouteEntry,
    reaching: dict[Segments, list[Route]],
    own: OwnChecks,
    crossings: "_Crossings",
) -> None:
    """Check two overlapping patterns. ``later`` is further down in the file."""
    if contains(earlier.route.segments, later.route.segments):
        wide, narrow = earlier.route, later.route
    elif contains(later.route.segments, earlier.route.segments):
        wide, narrow = later.route, earlier.route
    else:
        crossings.add(earlier, later)
        return
    own.nested(shape(wide.segments), shape(narrow.segments))
    if wide.target is PUBLIC and narrow.target is not PUBLIC and not _opens_everything(wide):
        reaching.setdefault(wide.segments, []).append(narrow)


def _opens_everything(route: Route) -> bool:
    """Return whether a public pattern has no literal segment. `_read_route` rejects it."""
    return route.target is PUBLIC and route.segments[-1:] == ("**",) and set(route.segments) <= {"*", "**"}


@dataclass(slots=True)
class _Crossings:
    """Pairs of paths that overlap without containment. A path that crosses several others is one finding."""

    partners: dict[Segments, list[RouteEntry]] = field(default_factory=dict)
    entries: dict[Segments, RouteEntry] = field(default_factory=dict)
    pairs: int = 0

    def add(self, earlier: RouteEntry, later: RouteEntry) -> None:
        self.pairs += 1
        if self.pairs <= MAX_CROSSINGS:
            for one, other in ((earlier, later), (later, earlier)):
                self.entries[one.route.segments] = one
                self.partners.setdefault(one.route.segments, []).append(other)

    def report(self, findings: DiagnosticSink) -> None:
        reported: set[Segments] = set()
        more = f"; {self.pairs - MAX_CROSSINGS:,} further pairs share paths" if self.pairs > MAX_CROSSINGS else ""
        for segments in sorted(self.partners, key=lambda one: (-len(self.partners[one]), -self.entries[one].at[0])):
            left = [one for one in self.partners[segments] if one.route.segments not in reported]
            reported.add(segments)
            if left:
                _report_crossing(self.entries[segments], left, more, findings)
                more = ""


def _report_crossing(entry: RouteEntry, others: list[RouteEntry], more: str, findings: DiagnosticSink) -> None:
    path, hint = entry.route.path, "make one of them more specific"
    if len(others) == 1:
        earlier, later = sorted((entry, others[0]), key=lambda one: one.at)
        first = earlier.route
        message = f"{later.route.path} and {first.path} of line {first.line} share paths, and neither is more specific"
        findings.add(Code.AMBIGUOUS_ROUTE, _FILE, later.at, message + more, hint)
        return
    first, count = others[0].route, len(others) - 1
    also = "one other" if count == 1 else f"{count:,} others"
    message = f"{path} shares paths with {first.path} of line {first.line} and {also}, and neither is more specific"
    findings.add(Code.AMBIGUOUS_ROUTE, _FILE, entry.at, message + more, hint, [one.at for one in others])


@dataclass(slots=True)
class _Patterns:
    """Trie of patterns by segment. Finds the patterns that overlap with a given one without testing all pairs."""

    children: dict[str, "_Patterns"] = field(default_factory=dict)
    ends: Segments | None = None

    def add(self, segments: Segments) -> None:
        node = self
        for segment in segments:
            node = node.children.setdefault(segment, _Patterns())
        node.ends = segments

    def overlapping(self, segments: Segments) -> Iterable[Segments]:
        found: list[Segments] = []
        level = [self]
        for segment in segments:
            following: list[_Patterns] = []
            for node in level:
                if segment == "**":
                    found.extend(node.everything())
                    continue
                if "**" in node.children:
                    found.extend(node.children["**"].everything())
                following.extend(node.along(segment))
            level = following
        for node in level:
            if node.ends is not None and segments[-1:] != ("**",):
                found.append(node.ends)
            if "**" in node.children:
                found.extend(node.children["**"].everything())
        return found

    def along(self, segment: str) -> Iterator["_Patterns"]:
        if segment == "*":
            yield from (child for name, child in self.children.items() if name != "**")
        else:
            yield from (self.children[name] for name in (segment, "*") if name in self.children)

    def everything(self) -> Iterator[Segments]:
        pending = [self]
        while pending:
            node = pending.pop()
            if node.ends is not None:
                yield node.ends
            pending.extend(node.children.values())
