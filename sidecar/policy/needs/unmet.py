"""Unmet conditions of a cell: a set of conditions that would do, for answers and explanations.

Of all sets that would do, one that signing in can meet comes first, then the smallest, then the order of
conditions.toml. Sets are of names: a condition that another one implies is listed too.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from sidecar.policy.needs.conditions import Condition, ConditionKind
from sidecar.policy.needs.partition import Partition

MAX_STEPS = 2_000
"""Limit of all searches for the smallest set in one class. Beyond it, the set is still one that would do."""


@dataclass(frozen=True, slots=True)
class Unmet:
    """Conditions that would do, in the order of conditions.toml; empty if the cell's needs are met.

    ``step_up``: a new sign-in or a step-up meets all of them. ``max_age`` in seconds and ``acr_values`` (a condition's
    name) are those of RFC 9470, and None unless ``step_up`` is set.
    """

    names: tuple[str, ...] = ()
    step_up: bool = False
    max_age: int | None = None
    acr_values: str | None = None


NOTHING_UNMET = Unmet()

Alternatives = Sequence[frozenset[int]]
"""For each line, the numbers of its conditions."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Set that would do, and the limit of ages that it was found for."""

    numbers: tuple[int, ...]
    bound: int | None


def find_unmet(partition: Partition, lines: Alternatives, number: int) -> Unmet:
    """Return a set of conditions that a class lacks for these lines."""
    digits = partition.digits(number)
    conditions = partition.dimensions.conditions
    steps = [MAX_STEPS]
    for step_up in (True, False):
        found = list(_candidates(partition, lines, digits, steps, step_up=step_up))
        if found:
            best = min(found, key=lambda one: (len(one.numbers), one.numbers, one.bound is not None, -(one.bound or 0)))
            names = tuple(conditions[index].name for index in best.numbers)
            if not names:
                return NOTHING_UNMET
            if not step_up:
                return Unmet(names)
            chosen = [conditions[index] for index in best.numbers]
            return Unmet(names, True, _max_age(partition, best, digits), _acr_values(chosen))
    return NOTHING_UNMET


def _candidates(
    partition: Partition, lines: Alternatives, digits: Sequence[int], steps: list[int], *, step_up: bool
) -> Iterator[_Candidate]:
    """Yield the best set per limit of ages. ``steps``: those left. ``step_up``: only sets that a sign-in can meet."""
    conditions = partition.dimensions.conditions
    limits = {
        partition.limit_of(number)
        for line in lines
        for number in line
        if conditions[number].kind is ConditionKind.SIGNED_IN_WITHIN
    }
    for bound in (None, *sorted(limits, reverse=True)):
        remaining = []
        for line in lines:
            usable = {number for number in line if is_usable(partition, number, bound)}
            if any(partition.is_met(number, digits, bound) for number in usable):
                continue
            remaining.append(frozenset(n for n in usable if conditions[n].by_sign_in or not step_up))
        if all(remaining):
            yield _Candidate(smallest_set(remaining, steps), bound)


def is_usable(partition: Partition, number: int, bound: int | None) -> bool:
    """Return whether a condition can be chosen under a limit of ages. A ``signed_in_within`` sets the limit."""
    if partition.dimensions.conditions[number].kind is not ConditionKind.SIGNED_IN_WITHIN:
        return True
    return bound is not None and partition.limit_of(number) >= bound


def _max_age(partition: Partition, found: _Candidate, digits: Sequence[int]) -> int | None:
    """Return the limit of ages, if one of the conditions is unmet because of it."""
    if found.bound is None:
        return None
    conditions = partition.dimensions.conditions
    for number in found.numbers:
        if conditions[number].kind is ConditionKind.SIGNED_IN_WITHIN or partition.is_met(number, digits):
            return partition.dimensions.limits[found.bound]
    return None


def _acr_values(conditions: Sequence[Condition]) -> str | None:
    """Return the condition on methods that implies the others, or otherwise the first."""
    needed = [one for one in conditions if one.methods]
    for one in needed:
        if all(set(one.methods) <= set(other.methods) for other in needed):
            return one.name
    return needed[0].name if needed else None


def smallest_set(lines: Alternatives, steps: list[int] | None = None) -> tuple[int, ...]:
    """Return the smallest set with a number of each line; of several, the first in order.

    ``steps``: those left for several searches, from which this one takes its own.
    """
    steps = [MAX_STEPS] if steps is None else steps
    unique = set(lines)
    minimal = [line for line in unique if not any(other < line for other in unique)]
    numbers = sorted({number for line in minimal for number in line})
    for size in range(len(minimal) + 1):
        found = _pick(minimal, numbers, size, steps)
        if found is not None:
            return found
        if steps[0] <= 0:
            break
    return _greedy(minimal)


def _pick(
    lines: Sequence[frozenset[int]], numbers: Sequence[int], size: int, steps: list[int]
) -> tuple[int, ...] | None:
    """Return the first set of at most ``size`` numbers, in order. None: there is none, or no step is left."""
    if not lines:
        return ()
    steps[0] -= 1
    if size == 0 or steps[0] <= 0 or _disjoint(lines) > size:
        return None
    last = min(max(line) for line in lines)
    for index, number in enumerate(numbers):
        if number > last:
            break
        rest = [line for line in lines if number not in line]
        if len(rest) < len(lines):
            following = _pick(rest, numbers[index + 1 :], size - 1, steps)
            if following is not None:
                return (number, *following)
    return None


def _disjoint(lines: Sequence[frozenset[int]]) -> int:
    """Return a lower bound of the size: the number of lines without a common condition."""
    seen: set[int] = set()
    count = 0
    for line in lines:
        if not line & seen:
            seen |= line
            count += 1
    return count


def _greedy(lines: Sequence[frozenset[int]]) -> tuple[int, ...]:
    remaining, found = list(lines), []
    while remaining:
        counts = Counter(chain.from_iterable(remaining))
        best = min(counts, key=lambda number: (-counts[number], number))
        found.append(best)
        remaining = [line for line in remaining if best not in line]
    return tuple(sorted(found))
