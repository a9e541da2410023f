"""Compiled needs: for each allowed cell, the set of classes in which the allow counts. Cells share their sets."""

from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import msgspec

from sidecar.domain.caching import FifoCache
from sidecar.policy.decision_table import Closures, DecisionTable, columns_of
from sidecar.policy.declarations import Role, Section
from sidecar.policy.needs.conditions import DEFAULT_WAIT_S, Condition, ConditionKind
from sidecar.policy.needs.facts import Address, Facts
from sidecar.policy.needs.lines import NeedBook, NeedLine, applies_to, targets_of
from sidecar.policy.needs.partition import MAX_CLASSES, Dimensions, Partition, dimensions_of
from sidecar.policy.needs.unmet import NOTHING_UNMET, Unmet, find_unmet, is_usable
from sidecar.policy.rules import ANY

MAX_REQUIREMENTS: Final = 60_000
MAX_BYTES: Final = 64 * 1024 * 1024
"""Maximum size of all sets of classes."""
MAX_WORK: Final = 20_000_000_000
"""Maximum bytes of set operations of a compilation: a few seconds."""
MAX_UNMET: Final = 4_096
"""Maximum remembered sets of unmet conditions, by cell and class."""
_NUMBERS: Final = "H"


class TooManyClassesError(Exception):
    """Conditions or needs that exceed a limit. The message names the limit."""


class Requirement:
    """Set of classes in which an allow counts. ``number`` is equal for equal sets of one policy."""

    __slots__ = ("bits", "number")

    def __init__(self, number: int, bits: bytes) -> None:
        self.number = number
        self.bits = bits

    def meets(self, facts_class: int) -> bool:
        """Return whether a class (`Needs.class_of`) is in the set."""
        return bool(self.bits[facts_class >> 3] & 1 << (facts_class & 7))

    @property
    def classes(self) -> int:
        """The set as bits of an integer."""
        return int.from_bytes(self.bits, "little")

    def __repr__(self) -> str:
        return f"Requirement({self.number})"


class PackedNeeds(msgspec.Struct, frozen=True):
    """Needs without the declarations. ``cells``: number of the requirement per cell, 0 for none; empty without needs.

    ``requirements``: the sets by number, from 1.
    """

    conditions: tuple[Condition, ...] = ()
    lines: tuple[NeedLine, ...] = ()
    wait_s: int = DEFAULT_WAIT_S
    dimensions: Dimensions = Dimensions()
    requirements: tuple[bytes, ...] = ()
    cells: bytes = b""


class Needs:
    """Needs of one generation. Immutable, except for remembered look-ups.

    ``wait_s``: seconds until a user's first factor counts (R37). ``cuts_networks``: addresses matter.
    """

    def __init__(
        self, packed: PackedNeeds, roles: Mapping[str, Role], sections: Mapping[str, Section], closures: Closures
    ) -> None:
        self.packed = packed
        self.lines = packed.lines
        self.conditions = {condition.name: condition for condition in packed.conditions}
        self.wait_s = packed.wait_s
        self.requirements = tuple(Requirement(number, bits) for number, bits in enumerate(packed.requirements, start=1))
        self.active = bool(packed.lines)
        self.cuts_networks = self.active and len(packed.dimensions.networks.masks) > 1
        self._closures = closures
        self._unmet: FifoCache[tuple[str, str, str, int], Unmet] = FifoCache(MAX_UNMET)
        self._numbers = array(_NUMBERS, packed.cells)
        self._columns = columns_of(sections) if packed.cells else {}
        self._rows = {role: index * len(self._columns) for index, role in enumerate(roles)} if packed.cells else {}
        if len(self._numbers) != len(self._rows) * len(self._columns):
            raise ValueError(f"needs of {len(self._numbers)} cells do not belong to these declarations")

    @cached_property
    def partition(self) -> Partition:
        return Partition(self.packed.dimensions)

    # -- a check -------------------------------------------------------------------------------------------------------

    def of(self, role: str, section: str, action: str) -> Requirement | None:
        """Return the requirement of an allowed cell. None: the cell has no need, or no rule allows it."""
        if not self._numbers:
            return None
        row = self._rows.get(role)
        column = self._columns.get((section, action))
        if row is None or column is None:
            return None
        number = self._numbers[row + column]
        return self.requirements[number - 1] if number else None

    def class_of(self, facts: Facts | None) -> int:
        """Return the class of these facts. None: no fact is known, and no condition is met."""
        return self.partition.nothing if facts is None else self.partition.class_of(facts)

    def base_of(self, facts: Facts) -> tuple[int, float]:
        """Return the class at an unknown address, and its end (`valid_until`), to be remembered with a session."""
        return self.partition.base_of(facts), self.partition.valid_until(facts)

    def at(self, base: int, client: Address | None) -> int:
        """Return the class of a base at an address. With `Requirement.meets`, the cost of a repeated check."""
        return self.partition.at(base, client)

    def valid_until(self, facts: Facts) -> float:
        """Return the end of the class of these facts in Unix seconds: the next boundary of age, hours or clock (R40).

        It is ``facts.now`` at the boundary itself: the class is then not to be remembered.
        """
        return self.partition.valid_until(facts)

    def network_class(self, client: Address | None) -> int:
        """Return the network class of an address, for keys of remembered answers."""
        return self.partition.network_class(client)

    def unmet(self, role: str, section: str, action: str, facts: Facts | None) -> Unmet:
        """Return the conditions that these facts lack for an allowed cell."""
        return self.unmet_in(role, section, action, self.class_of(facts))

    def unmet_in(self, role: str, section: str, action: str, facts_class: int) -> Unmet:
        """Return the conditions that a class lacks for an allowed cell."""
        requirement = self.of(role, section, action)
        if requirement is None or requirement.meets(facts_class):
            return NOTHING_UNMET
        key = (role, section, action, facts_class)
        found = self._unmet.get(key)
        if found is None:
            lines = alternatives(self.packed.dimensions, self.lines_of(role, section, action))
            found = find_unmet(self.partition, lines, facts_class)
            self._unmet.set(key, found)
        return found

    # -- lines ---------------------------------------------------------------------------------------------------------

    def lines_of(self, role: str, section: str, action: str) -> tuple[NeedLine, ...]:
        """Return the lines that apply to a cell, also to one that no rule allows."""
        return tuple(line for line in self.lines if self.applies(line, role) and applies_to(line, section, action))

    def applies(self, line: NeedLine, role: str) -> bool:
        """Return whether a line is for a role or for one that it inherits."""
        return line.role == ANY or line.role in self._closures.get(role, ())


def alternatives(dimensions: Dimensions, lines: Sequence[NeedLine]) -> list[frozenset[int]]:
    """Return the numbers of each line's conditions."""
    numbers = {condition.name: number for number, condition in enumerate(dimensions.conditions)}
    return [frozenset(numbers[name] for name in line.conditions) for line in lines]


# -- construction ------------------------------------------------------------------------------------------------------


class RequirementBuilder:
    """Sets of classes for sets of lines. Equal sets of lines are computed once.

    A ``signed_in_within`` limits the age of a second factor that is chosen with it. Therefore the set is the union over
    all limits of ages, each with the conditions that can be chosen under it.
    """

    def __init__(self, partition: Partition, alternatives_of: Sequence[frozenset[int]]) -> None:
        self._partition = partition
        self._alternatives = alternatives_of
        self._of_line: dict[tuple[int, int | None], int] = {}
        self._met: dict[tuple[int, int | None], int] = {}
        self._work = 0

    def classes_of(self, lines: Sequence[int]) -> int:
        """Return the classes that meet all these lines, given by their index. Raises TooManyClassesError."""
        found = 0
        for bound in self._bounds(lines):
            classes = self._partition.all
            for line in lines:
                self._spend(1)
                classes &= self._line(line, bound)
            found |= classes
        return found

    def _bounds(self, lines: Sequence[int]) -> list[int | None]:
        conditions = self._partition.dimensions.conditions
        numbers = frozenset().union(*(self._alternatives[line] for line in lines))
        limits = sorted(
            self._partition.limit_of(number)
            for number in numbers
            if conditions[number].kind is ConditionKind.SIGNED_IN_WITHIN
        )
        if not limits:
            return [None]
        if not any(conditions[number].is_factor for number in numbers):
            return [limits[0]]
        return [None, *dict.fromkeys(limits)]

    def _line(self, line: int, bound: int | None) -> int:
        found = self._of_line.get((line, bound))
        if found is None:
            found = 0
            for number in self._alternatives[line]:
                if is_usable(self._partition, number, bound):
                    self._spend(1)
                    found |= self._condition(number, bound)
            self._of_line[line, bound] = found
        return found

    def _condition(self, number: int, bound: int | None) -> int:
        limit = bound if self._partition.dimensions.conditions[number].is_factor else None
        found = self._met.get((number, limit))
        if found is None:
            self._spend(len(self._partition.sizes))
            found = self._met[number, limit] = self._partition.meeting(number, limit)
        return found

    def _spend(self, operations: int) -> None:
        self._work += operations * (self._partition.classes // 8 + 100)
        if self._work > MAX_WORK:
            raise TooManyClassesError("the needs of all cells take too long to compute")


def build_needs(
    book: NeedBook,
    roles: Mapping[str, Role],
    sections: Mapping[str, Section],
    closures: Closures,
    cells: DecisionTable,
) -> Needs:
    """Compile the lines for all allowed cells. Raises TooManyClassesError."""
    known, lines = book.conditions, book.lines
    declared = tuple(known.by_name.values())
    if not lines:
        return Needs(PackedNeeds(declared, wait_s=known.wait_s), roles, sections, closures)
    used = {name for line in lines for name in line.conditions}
    dimensions = dimensions_of([one for one in declared if one.name in used])
    if dimensions.classes > MAX_CLASSES:
        sizes = " × ".join(f"{size:,}" for size in dimensions.sizes if size > 1)
        raise TooManyClassesError(f"the conditions make {dimensions.classes:,} classes ({sizes})")
    builder = RequirementBuilder(Partition(dimensions), alternatives(dimensions, lines))
    numbers = array(_NUMBERS, bytes(array(_NUMBERS).itemsize * len(cells)))
    found: dict[bytes, int] = {}
    by_lines: dict[tuple[int, ...], int] = {}
    for cell, applying in lines_by_cell(lines, roles, sections, closures, cells):
        if applying not in by_lines:
            bits = builder.classes_of(applying).to_bytes((dimensions.classes + 7) // 8, "little")
            by_lines[applying] = found.setdefault(bits, len(found) + 1)
            if len(found) > MAX_REQUIREMENTS or len(found) * len(bits) > MAX_BYTES:
                raise TooManyClassesError(f"{len(found):,} different needs of {dimensions.classes:,} classes")
        numbers[cell] = by_lines[applying]
    packed = PackedNeeds(declared, lines, known.wait_s, dimensions, tuple(found), numbers.tobytes())
    return Needs(packed, roles, sections, closures)


def lines_by_cell(
    lines: Sequence[NeedLine],
    roles: Mapping[str, Role],
    sections: Mapping[str, Section],
    closures: Closures,
    cells: DecisionTable,
) -> list[tuple[int, tuple[int, ...]]]:
    """Return the index of each allowed cell with needs, with the indexes of the lines that apply to it."""
    columns = columns_of(sections)
    targets = [list(targets_of(line, sections)) for line in lines]
    found = []
    for row, role in enumerate(roles):
        applying: dict[tuple[str, str], list[int]] = {}
        for index, line in enumerate(lines):
            if line.role == ANY or line.role in closures[role]:
                for target in targets[index]:
                    applying.setdefault(target, []).append(index)
        if applying:
            found += [
                (row * len(columns) + columns[target], tuple(applying[target]))
                for target in cells.allowed_for(role)
                if target in applying
            ]
    return found
