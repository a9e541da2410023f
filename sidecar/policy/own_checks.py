"""Checks of own segments in sections.toml: no route leads around one of them.

A route that is more specific than an own route decides alone, so ``*`` in the place of its own segment would open other
accounts' paths. It is an error unless the route says ``own = false``.
"""

from collections import defaultdict
from typing import NamedTuple

from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.own_segments import OWN
from sidecar.policy.routes import PUBLIC, Route, Segments, outcome_text
from sidecar.policy.text.toml_reader import TomlTable

_FILE = "sections.toml"


class RouteEntry(NamedTuple):
    """Route and the position of its path."""

    route: Route
    at: tuple[int, int]


def owner(route: Route) -> str:
    """Return ``billing/view``, ``own billing/view`` or ``public``."""
    return outcome_text(route.target) if route.own is None else f"own {outcome_text(route.target)}"


def read_own(table: TomlTable, route: Route) -> None:
    """Check the key ``own`` of a route, and that a public path has no own segments."""
    if table.flag("own", default=False):
        hint = "write {account} or {user} in the path, and delete the key"
        table.report(Code.OWN_SEGMENT, "own", "own = true says nothing that the path does not", hint)
    if route.own is not None and route.target is PUBLIC:
        message = f'"{route.path}": a public path has no caller, so no segment is the own one'
        table.report(Code.OWN_SEGMENT, "path", message, "write * in its place, or add the route to a section")


class OwnChecks:
    """Checks between routes. `add` takes each entry, `nested` each pair of shapes of which one contains the other."""

    def __init__(self) -> None:
        self._entries: dict[Segments, list[RouteEntry]] = defaultdict(list)
        self._has_own = False
        self._nested: list[tuple[Segments, Segments]] = []

    def add(self, entry: RouteEntry, shape: Segments) -> None:
        self._entries[shape].append(entry)
        self._has_own = self._has_own or entry.route.own is not None

    def nested(self, wide: Segments, narrow: Segments) -> None:
        self._nested.append((wide, narrow))

    def report(self, findings: DiagnosticSink) -> None:
        """Report routes of one shape with other segments, ways around an own segment, and marks without effect."""
        excused: set[int] = set()
        for wide, narrow in self._nested if self._has_own else ():
            outer = self._entries[wide][0].route
            inner = self._entries[narrow]
            place = next((at for at, one in enumerate(outer.segments) if one in OWN and _is_open(inner[0], at)), None)
            if place is not None:
                excused.update(id(entry) for entry in inner if entry.route.is_for_all)
                _report_bypass(outer, inner, outer.segments[place], findings)
        for entries in self._entries.values():
            if self._has_own:
                _report_mixed(entries, findings)
            for entry in entries:
                if entry.route.is_for_all and id(entry) not in excused:
                    message = f"own = false has no effect: {entry.route.path} leads around no own segment"
                    findings.add(Code.UNUSED_OWN, _FILE, entry.at, message, "delete the key")


def _is_open(entry: RouteEntry, place: int) -> bool:
    return entry.route.segments[place] == "*"


def _report_bypass(outer: Route, inner: list[RouteEntry], segment: str, findings: DiagnosticSink) -> None:
    for entry in inner:
        if not entry.route.is_for_all:
            message = (
                f"{entry.route.path} leads around {outer.path} of line {outer.line}: "
                f"it is more specific, and has * in place of {segment}"
            )
            keep = "move it to a section" if entry.route.target is PUBLIC else f"write {segment} there too"
            hint = f"{keep}, or write own = false if it is for all accounts and users"
            findings.add(Code.OWN_BYPASS, _FILE, entry.at, message, hint)


def _report_mixed(entries: list[RouteEntry], findings: DiagnosticSink) -> None:
    first = entries[0].route
    for entry in entries[1:]:
        if entry.route.segments != first.segments:
            message = f"{entry.route.path} and {first.path} of line {first.line} are the same path for other callers"
            findings.add(Code.OWN_SEGMENT, _FILE, entry.at, message, "write the same segments in both")
