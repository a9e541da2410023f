"""Reader of policy.csv: rules and role inheritance, each with its line. Names must be declared; no line is skipped.

Also computes the inheritance closures. Cycles, and chains deeper than pycasbin follows, are rejected.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from sidecar.policy.declarations import Vocabulary
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink, path_of
from sidecar.policy.name_checks import ANY, NameChecker, quoted
from sidecar.policy.text.csv_reader import CsvRecord, read_lines, records

__all__ = [
    "ANY",
    "FILE",
    "MAX_DEPTH",
    "Effect",
    "Inheritance",
    "Rule",
    "RuleBook",
    "parents_of",
    "read_closures",
    "read_rules",
    "ways_up",
]

FILE = "policy.csv"
MAX_DEPTH = 9
"""Maximum chain of ``g`` links that pycasbin follows. Beyond it, pycasbin denies without an error."""
MAX_RULES = 200_000


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


class Rule(msgspec.Struct, frozen=True, gc=False):
    """Rule of one ``p`` line. ``section`` and ``action`` may be `ANY`."""

    line: int
    role: str
    section: str
    action: str
    effect: Effect

    @property
    def id(self) -> str:
        return f"{path_of(FILE)}:{self.line}"

    @property
    def text(self) -> str:
        return f"p, {self.role}, {self.section}, {self.action}, {self.effect}"


class Inheritance(msgspec.Struct, frozen=True, gc=False):
    """Link of one ``g`` line: ``role`` inherits the allow and deny rules of ``inherits``."""

    line: int
    role: str
    inherits: str

    @property
    def id(self) -> str:
        return f"{path_of(FILE)}:{self.line}"

    @property
    def text(self) -> str:
        return f"g, {self.role}, {self.inherits}"


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All readable lines of policy.csv."""

    rules: tuple[Rule, ...] = ()
    inheritance: tuple[Inheritance, ...] = ()


def read_rules(data: bytes, vocabulary: Vocabulary, findings: DiagnosticSink) -> RuleBook:
    """Return rules and inheritance. Errors in other lines are added to ``findings``."""
    rules: list[Rule] = []
    inheritance: list[Inheritance] = []
    first_lines: dict[tuple[str, ...], int] = {}
    names = NameChecker(vocabulary, FILE, findings)
    for record in records(read_lines(data, FILE, findings), FILE, findings):
        if not _has_form(record, names):
            continue
        first = first_lines.setdefault(record.fields, record.line)
        if first != record.line:
            message = f"duplicate of line {first}"
            findings.add(Code.DUPLICATE_RULE, FILE, record.at(0), message, "delete one of them")
        elif record.fields[0] == "p":
            if (rule := _read_rule(record, names)) is not None:
                rules.append(rule)
        elif (link := _read_link(record, names)) is not None:
            inheritance.append(link)
    if not rules and not findings.errors_in(FILE):
        message = "the file contains no rules: every user would be denied"
        findings.add(Code.EMPTY_FILE, FILE, (1, 1), message, f"a rule is: {_FORMS['p'][0]}")
    if len(rules) > MAX_RULES:
        findings.add(Code.POLICY_TOO_LARGE, FILE, (1, 1), f"more than {MAX_RULES:,} rules", "use * or inheritance")
    return RuleBook(tuple(rules), tuple(inheritance))


_FORMS = {"p": ("p, role, section, action, allow|deny", 5), "g": ("g, role, inherited-role", 3)}


def _has_form(record: CsvRecord, names: NameChecker) -> bool:
    kind = record.fields[0]
    if kind in _FORMS:
        return names.form(record, *_FORMS[kind])
    if not kind or names.confusable(kind, record.at(0), "a line type", tuple(_FORMS)):
        return False
    message = f"{quoted(kind)} is not a line type: other programs would skip it silently"
    names.findings.add(Code.UNKNOWN_RULE_TYPE, FILE, record.at(0), message, _kind_meant(record, names))
    return False


def _kind_meant(record: CsvRecord, names: NameChecker) -> str:
    kind = record.fields[0]
    if kind.startswith(("//", "--", ";", "*", "%")):
        return "a comment begins with #"
    if ";" in kind or " " in kind:
        return "separate the fields with commas"
    if kind in (names.vocabulary.roles or ()):
        return "the line lacks its p or g"
    return f'did you mean "{kind[0].lower()}"?' if kind[0].lower() in _FORMS else "write p or g"


def _read_rule(record: CsvRecord, names: NameChecker) -> Rule | None:
    checks = (names.role(record, 1), names.target(record, 2, wildcards=True), names.effect(record, 4))
    if not all(checks):
        return None
    _, role, section, action, effect = record.fields
    return Rule(record.line, role, section, action, Effect(effect))


def _read_link(record: CsvRecord, names: NameChecker) -> Inheritance | None:
    checks = (names.role(record, 1), names.role(record, 2))
    if not all(checks):
        return None
    _, role, inherits = record.fields
    return Inheritance(record.line, role, inherits)


# -- inheritance -------------------------------------------------------------------------------------------------------


def read_closures(
    roles: Iterable[str], inheritance: Iterable[Inheritance], findings: DiagnosticSink
) -> Mapping[str, tuple[str, ...]]:
    """Return, for each role, the role itself and its inherited roles, nearest first.

    Cycles and chains longer than MAX_DEPTH are reported.
    """
    parents: dict[str, list[Inheritance]] = {role: [] for role in roles}
    for link in inheritance:
        parents.setdefault(link.role, []).append(link)
        parents.setdefault(link.inherits, [])
    depth, circular = _depths(parents)
    for link in circular:
        message = f'"{link.role}" inherits "{link.inherits}", which inherits "{link.role}" in turn'
        if link.role == link.inherits:
            message = f'"{link.role}" inherits itself'
        findings.add(Code.ROLE_CYCLE, FILE, (link.line, 1), message, "delete one of the lines of the cycle")
    if circular:
        return {}
    for links in parents.values():
        for link in links:
            if depth[link.inherits] == MAX_DEPTH:
                message = f'"{link.role}" inherits over more than {MAX_DEPTH} links: pycasbin would not follow them'
                findings.add(Code.ROLE_DEPTH, FILE, (link.line, 1), message, "inherit from a nearer role")
    return {role: (role, *ways_up(role, parents)) for role in parents}


def parents_of(links: Iterable[Inheritance]) -> dict[str, list[Inheritance]]:
    """Return the ``g`` lines of each role, in the order of the file."""
    parents: dict[str, list[Inheritance]] = {}
    for link in links:
        parents.setdefault(link.role, []).append(link)
    return parents


def ways_up(
    role: str, parents: Mapping[str, Sequence[Inheritance]], without: Inheritance | None = None
) -> dict[str, Inheritance]:
    """Return all inherited roles, nearest first, each with the last link of the shortest path to it.

    Of several shortest paths, the first in the file is used. ``without``: a link to ignore.
    """
    came_by: dict[str, Inheritance] = {}
    queue = [role]
    for current in queue:
        for link in parents.get(current, ()):
            if link is not without and link.inherits != role and link.inherits not in came_by:
                came_by[link.inherits] = link
                queue.append(link.inherits)
    return came_by


def _depths(parents: Mapping[str, list[Inheritance]]) -> tuple[dict[str, int], list[Inheritance]]:
    """Return the longest chain above each role, and the links that close a cycle. Not recursive: chains may be long."""
    depth: dict[str, int] = {}
    circular: list[Inheritance] = []
    for start in parents:
        if start in depth:
            continue
        stack = [(start, iter(parents[start]))]
        open_roles = {start}
        while stack:
            role, links = stack[-1]
            link = next(links, None)
            if link is None:
                known = [depth.get(up.inherits, 0) for up in parents[role]]
                depth[role] = max((up + 1 for up in known), default=0)
                open_roles.discard(role)
                stack.pop()
            elif link.inherits in open_roles:
                circular.append(link)
            elif link.inherits not in depth:
                open_roles.add(link.inherits)
                stack.append((link.inherits, iter(parents[link.inherits])))
    return depth, circular
