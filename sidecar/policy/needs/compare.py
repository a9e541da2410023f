"""Comparison of the needs of two generations: classes that only one of them accepts, each with a witness.

The partitions of two generations differ. Therefore the lines of two cells are compiled again over one partition, cut by
the conditions of both. Conditions are compared by their meaning, not by their names.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import msgspec

from sidecar.policy.needs.conditions import Condition
from sidecar.policy.needs.facts import Facts
from sidecar.policy.needs.lines import NeedLine
from sidecar.policy.needs.partition import MAX_CLASSES, Partition, dimensions_of
from sidecar.policy.needs.table import Needs, RequirementBuilder, TooManyClassesError
from sidecar.policy.needs.witness import described, facts_of

Cell = tuple[str, str, str]
Direction = Literal["narrower", "wider", "both"]

_NOW = {"narrower": "allowed, now denied", "wider": "denied, now allowed"}


class NeedWitness(msgspec.Struct, frozen=True, omit_defaults=True):
    """Facts for which the decision changes. ``text``: the same as a sentence.

    ``age_s``: seconds since the last sign-in. ``method_ages_s``: methods that were shown at another time.
    """

    direction: Literal["narrower", "wider"]
    methods: list[str]
    age_s: int | None
    client_ip: str | None
    time: str | None
    labels: dict[str, str]
    text: str
    method_ages_s: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class NeedDifference:
    """Difference of two requirements. ``facts``: those of each witness. None: too many classes to compare."""

    direction: Direction
    witnesses: tuple[NeedWitness, ...] = ()
    facts: tuple[Facts, ...] = ()


class NeedComparer:
    """Comparison of cells of two generations. Equal pairs of requirements are compared once."""

    def __init__(self, old: Needs, new: Needs) -> None:
        self._old = old
        self._new = new
        self.active = old.active or new.active
        self._known: dict[tuple[int, int], NeedDifference | None] = {}

    def compare(self, before: Cell, after: Cell) -> NeedDifference | None:
        """Compare the needs of two allowed cells, one of each generation. None: the same classes are accepted."""
        if not self.active:
            return None
        old, new = self._old.of(*before), self._new.of(*after)
        key = (old.number if old else 0, new.number if new else 0)
        if key == (0, 0):
            return None
        if key not in self._known:
            self._known[key] = _difference(
                _Side(self._old, self._old.lines_of(*before)), _Side(self._new, self._new.lines_of(*after))
            )
        return self._known[key]


@dataclass(frozen=True, slots=True)
class _Side:
    needs: Needs
    lines: tuple[NeedLine, ...]

    def conditions(self) -> list[Condition]:
        names = dict.fromkeys(name for line in self.lines for name in line.conditions)
        return [self.needs.conditions[name] for name in self.needs.conditions if name in names]


def _meaning(condition: Condition) -> Condition:
    return msgspec.structs.replace(condition, name="", title="", line=0)


def _difference(old: _Side, new: _Side) -> NeedDifference | None:
    meanings = list(dict.fromkeys(_meaning(one) for side in (old, new) for one in side.conditions()))
    dimensions = dimensions_of(meanings)
    if dimensions.classes > MAX_CLASSES:
        return NeedDifference("both")
    partition = Partition(dimensions)
    try:
        before, after = (_classes(partition, meanings, side) & partition.possible for side in (old, new))
    except TooManyClassesError:
        return NeedDifference("both")
    found: list[tuple[Literal["narrower", "wider"], Facts]] = []
    if before & ~after:
        found.append(("narrower", facts_of(partition, _first(before & ~after))))
    if after & ~before:
        found.append(("wider", facts_of(partition, _first(after & ~before))))
    if not found:
        return None
    direction = found[0][0] if len(found) == 1 else "both"
    witnesses = tuple(_witness(partition, which, facts) for which, facts in found)
    return NeedDifference(direction, witnesses, tuple(facts for _, facts in found))


def _classes(partition: Partition, meanings: list[Condition], side: _Side) -> int:
    if not side.lines:
        return partition.all
    numbers = {meaning: number for number, meaning in enumerate(meanings)}
    needed = [
        frozenset(numbers[_meaning(side.needs.conditions[name])] for name in line.conditions) for line in side.lines
    ]
    return RequirementBuilder(partition, needed).classes_of(range(len(needed)))


def _first(classes: int) -> int:
    return (classes & -classes).bit_length() - 1


def _witness(partition: Partition, direction: Literal["narrower", "wider"], facts: Facts) -> NeedWitness:
    age = None if facts.signed_in_at is None else int(facts.now) - facts.signed_in_at
    times = bool(partition.dimensions.times.zones)
    networks = len(partition.dimensions.networks.masks) > 1
    return NeedWitness(
        direction,
        sorted({str(proof.method) for proof in facts.proofs}),
        age,
        str(facts.client) if networks and facts.client is not None else None,
        f"{datetime.fromtimestamp(facts.now, UTC):%Y-%m-%dT%H:%M:%SZ}" if times else None,
        dict(facts.labels),
        f"{described(partition, facts)}: {_NOW[direction]}",
        {str(one.method): int(facts.now) - one.at for one in facts.proofs if one.at != facts.signed_in_at},
    )
