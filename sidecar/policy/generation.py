"""One policy in force: an immutable table over role × section × action, its routes, and the hash of its bytes.

Built once by the compiler, never changed; readers take it once and everything that follows is of this generation.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from sidecar.policy.routes import RouteTable
from sidecar.policy.rules import ANY, Effect, Inheritance, Rule
from sidecar.policy.sections import Role, Section
from sidecar.vocabulary.decision import Reason

__all__ = ["Cells", "Generation", "Role", "Ruling", "Section", "content_hash"]

DIALECT = b"sidecar-policy/1"
"""Raised when the same bytes would mean something else (R25)."""

Cell = tuple[str, str, str]
"""Role, section, action."""


class Ruling(msgspec.Struct, frozen=True, gc=False):
    """What the policy says of one cell. ``rule`` is ``policy/policy.csv:LINE`` of the line that decided, or None."""

    reason: Reason
    rule: str | None = None

    @property
    def allowed(self) -> bool:
        return self.reason is Reason.ALLOWED

    @property
    def line(self) -> int | None:
        """The line of policy.csv that decided."""
        return None if self.rule is None else int(self.rule.rpartition(":")[2])


NO_RULE = Ruling(Reason.NO_RULE)


class Cells(Mapping[Cell, Ruling]):
    """Every role × section × action with its ruling. Kept sparse: a cell that no rule touches is `NO_RULE`."""

    __slots__ = ("_decided", "_roles", "_sections", "_size")

    def __init__(self, decided: dict[Cell, Ruling], roles: Mapping[str, Role], sections: Mapping[str, Section]) -> None:
        self._decided = decided
        self._roles = roles
        self._sections = sections
        self._size = len(roles) * sum(len(section.actions) for section in sections.values())

    def __getitem__(self, cell: Cell) -> Ruling:
        ruling = self._decided.get(cell)
        if ruling is not None:
            return ruling
        role, section, action = cell
        if role in self._roles and section in self._sections and action in self._sections[section].actions:
            return NO_RULE
        raise KeyError(cell)

    def __iter__(self) -> Iterator[Cell]:
        for role in self._roles:
            for section in self._sections.values():
                for action in section.actions:
                    yield (role, section.id, action)

    def __len__(self) -> int:
        return self._size

    @property
    def decided(self) -> Mapping[Cell, Ruling]:
        """Only the cells that some rule touches. For the hot path: a plain lookup."""
        return self._decided


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """``closures`` lists for each role itself and what it inherits, nearest first; ``allowed`` its open cells."""

    id: str
    roles: Mapping[str, Role]
    sections: Mapping[str, Section]
    routes: RouteTable
    rules: tuple[Rule, ...]
    inheritance: tuple[Inheritance, ...]
    closures: Mapping[str, tuple[str, ...]]
    cells: Cells
    allowed: Mapping[str, frozenset[tuple[str, str]]]
    files: Mapping[str, bytes]

    def __repr__(self) -> str:
        return f"Generation({self.id})"


def content_hash(files: Mapping[str, bytes]) -> str:
    """128 bits of SHA-256 over dialect version and (name, length, bytes) of every file (R25)."""
    digest = hashlib.sha256(DIALECT)
    for name in sorted(files):
        encoded = name.encode()
        digest.update(len(encoded).to_bytes(8) + encoded + len(files[name]).to_bytes(8) + files[name])
    return digest.hexdigest()[:32]


def build(
    files: Mapping[str, bytes],
    roles: Mapping[str, Role],
    sections: Mapping[str, Section],
    routes: RouteTable,
    rules: tuple[Rule, ...],
    inheritance: tuple[Inheritance, ...],
    closures: Mapping[str, tuple[str, ...]],
) -> Generation:
    """The table. A deny beats an allow; of several rules the first in the file is the one that is named."""
    own = _own_cells(rules, sections)
    decided: dict[Cell, Ruling] = {}
    allowed: dict[str, frozenset[tuple[str, str]]] = {}
    rulings: dict[int, Ruling] = {}
    for role in roles:
        open_cells = []
        for cell, rule in _decisive(role, closures[role], own).items():
            ruling = rulings.get(rule.line)
            if ruling is None:
                reason = Reason.ALLOWED if rule.effect is Effect.ALLOW else Reason.EXPLICIT_DENY
                ruling = rulings[rule.line] = Ruling(reason, rule.id)
            decided[(role, *cell)] = ruling
            if rule.effect is Effect.ALLOW:
                open_cells.append(cell)
        allowed[role] = frozenset(open_cells)
    return Generation(
        id=content_hash(files),
        roles=MappingProxyType(dict(roles)),
        sections=MappingProxyType(dict(sections)),
        routes=routes,
        rules=rules,
        inheritance=inheritance,
        closures=MappingProxyType(dict(closures)),
        cells=Cells(decided, roles, sections),
        allowed=MappingProxyType(allowed),
        files=MappingProxyType(dict(files)),
    )


Decisive = dict[tuple[str, str], Rule]


def _own_cells(rules: tuple[Rule, ...], sections: Mapping[str, Section]) -> dict[str, Decisive]:
    """For each role the rule that decides each cell among the rules written for that very role."""
    own: dict[str, Decisive] = {}
    for rule in rules:
        cells = own.setdefault(rule.role, {})
        for cell in cells_of(rule, sections):
            if _beats(rule, cells.get(cell)):
                cells[cell] = rule
    return own


def _decisive(role: str, closure: tuple[str, ...], own: Mapping[str, Decisive]) -> Decisive:
    merged = dict(own.get(role, {}))
    for ancestor in closure[1:]:
        for cell, rule in own.get(ancestor, {}).items():
            if _beats(rule, merged.get(cell)):
                merged[cell] = rule
    return merged


def _beats(rule: Rule, other: Rule | None) -> bool:
    if other is None:
        return True
    if rule.effect is not other.effect:
        return rule.effect is Effect.DENY
    return rule.line < other.line


def cells_of(rule: Rule, sections: Mapping[str, Section]) -> Iterator[tuple[str, str]]:
    """The section and action pairs that a rule speaks of."""
    named = sections.values() if rule.section == ANY else (sections[rule.section],)
    for section in named:
        if rule.action == ANY:
            for action in section.actions:
                yield (section.id, action)
        elif rule.action in section.actions:
            yield (section.id, rule.action)
