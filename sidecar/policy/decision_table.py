"""Decision table: role × section × action → deciding line. One number per cell, in rows.

A deny overrides an allow. Of several rules with the same effect, the first in the file is the deciding one. Decisions
need only the numbers. Therefore a table is passed between processes without conversion, and an old one is freed at
once.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from sidecar.domain.decision import Reason
from sidecar.policy.declarations import Role, Section
from sidecar.policy.diagnostics import path_of
from sidecar.policy.rules import ANY, FILE, Effect, Rule

Cell = tuple[str, str, str]
"""Role, section, action."""

Closures = Mapping[str, tuple[str, ...]]
"""For each role, the role itself and its inherited roles, nearest first."""

NUMBERS: Final = "i"
"""Array typecode. A cell is the deciding line number: positive for allow, negative for deny, 0 for no rule."""


class Ruling(msgspec.Struct, frozen=True, gc=False):
    """Decision of one cell. ``rule`` is ``policy/policy.csv:LINE`` of the deciding line, or None."""

    reason: Reason
    rule: str | None = None

    @property
    def allowed(self) -> bool:
        return self.reason is Reason.ALLOWED

    @property
    def line(self) -> int | None:
        """Number of the deciding line of policy.csv, or None."""
        return None if self.rule is None else int(self.rule.rpartition(":")[2])


NO_RULE: Final = Ruling(Reason.NO_RULE)


class DecisionTable(Mapping[Cell, Ruling]):
    """Mapping of each role × section × action to its ruling."""

    __slots__ = ("_columns", "_numbers", "_rows", "_rulings")

    def __init__(self, roles: Mapping[str, Role], sections: Mapping[str, Section], numbers: "array[int]") -> None:
        self._columns = columns_of(sections)
        self._rows = {role: index * len(self._columns) for index, role in enumerate(roles)}
        self._numbers = numbers
        self._rulings = {0: NO_RULE}

    def find(self, role: str, section: str, action: str) -> Ruling | None:
        """Return the ruling, or None for an undeclared cell."""
        row = self._rows.get(role)
        column = self._columns.get((section, action))
        if row is None or column is None:
            return None
        number = self._numbers[row + column]
        return self._rulings.get(number) or self._ruling(number)

    def allowed_for(self, role: str) -> Iterator[tuple[str, str]]:
        """Return section and action of the cells allowed for a declared role, in the order of sections.toml."""
        row = self._rows[role]
        numbers = self._numbers[row : row + len(self._columns)]
        return (column for column, number in zip(self._columns, numbers, strict=True) if number > 0)

    def decided(self) -> Iterator[tuple[Cell, Ruling]]:
        """Yield the cells with at least one matching rule."""
        for role, row in self._rows.items():
            numbers = self._numbers[row : row + len(self._columns)]
            for (section, action), number in zip(self._columns, numbers, strict=True):
                if number:
                    yield (role, section, action), self._rulings.get(number) or self._ruling(number)

    def _ruling(self, number: int) -> Ruling:
        reason = Reason.ALLOWED if number > 0 else Reason.EXPLICIT_DENY
        return self._rulings.setdefault(number, Ruling(reason, f"{path_of(FILE)}:{abs(number)}"))

    @property
    def packed(self) -> bytes:
        """Bytes for another process on the same machine. `unpacked` reads them."""
        return self._numbers.tobytes()

    def __getitem__(self, cell: Cell) -> Ruling:
        ruling = self.find(*cell)
        if ruling is None:
            raise KeyError(cell)
        return ruling

    def __iter__(self) -> Iterator[Cell]:
        return ((role, section, action) for role in self._rows for section, action in self._columns)

    def __len__(self) -> int:
        return len(self._numbers)


def columns_of(sections: Mapping[str, Section]) -> dict[tuple[str, str], int]:
    """Map section and action to the index of their cell in a row."""
    pairs = ((section.id, action) for section in sections.values() for action in section.actions)
    return {pair: column for column, pair in enumerate(pairs)}


def cells_of(rule: Rule, sections: Mapping[str, Section]) -> Iterator[tuple[str, str]]:
    """Yield the section and action pairs that a rule covers."""
    named = sections.values() if rule.section == ANY else (sections[rule.section],)
    for section in named:
        if rule.action == ANY:
            for action in section.actions:
                yield (section.id, action)
        elif rule.action in section.actions:
            yield (section.id, rule.action)


# -- construction ------------------------------------------------------------------------------------------------------

Row = dict[int, int]
"""Column → number of the cell."""


def build_table(
    roles: Mapping[str, Role], sections: Mapping[str, Section], rules: tuple[Rule, ...], closures: Closures
) -> DecisionTable:
    """Build the table of these rules."""
    columns = columns_of(sections)
    own = direct_rules(rules, sections, columns)
    numbers = array(NUMBERS, bytes(array(NUMBERS).itemsize * len(roles) * len(columns)))
    for index, role in enumerate(roles):
        for column, number in inherited(closures[role], own).items():
            numbers[index * len(columns) + column] = number
    return DecisionTable(roles, sections, numbers)


def unpacked(packed: bytes, roles: Mapping[str, Role], sections: Mapping[str, Section]) -> DecisionTable:
    """Read `DecisionTable.packed` with the same declarations. Raises ValueError if the declarations differ."""
    numbers = array(NUMBERS, packed)
    cells = DecisionTable(roles, sections, numbers)
    if len(numbers) != len(roles) * len(columns_of(sections)):
        raise ValueError(f"a table of {len(numbers)} cells is none of {len(roles)} roles and these sections")
    return cells


def direct_rules(
    rules: tuple[Rule, ...], sections: Mapping[str, Section], columns: Mapping[tuple[str, str], int]
) -> dict[str, Row]:
    """Return, for each role, the numbers from rules that name the role itself."""
    own: dict[str, Row] = {}
    for rule in rules:
        row = own.setdefault(rule.role, {})
        number = rule.line if rule.effect is Effect.ALLOW else -rule.line
        for cell in cells_of(rule, sections):
            column = columns[cell]
            if _beats(number, row.get(column, 0)):
                row[column] = number
    return own


def inherited(closure: Iterable[str], own: Mapping[str, Row]) -> Row:
    """Return the numbers from the rules of a role and of all its inherited roles."""
    merged: Row = {}
    for role in closure:
        for column, number in own.get(role, {}).items():
            if _beats(number, merged.get(column, 0)):
                merged[column] = number
    return merged


def _beats(number: int, other: int) -> bool:
    if other == 0:
        return True
    if (number < 0) is not (other < 0):
        return number < 0
    return abs(number) < abs(other)
