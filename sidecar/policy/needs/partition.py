"""Finite partition of all facts, cut only where conditions cut: methods × ages × networks × hours × labels.

A class is one number in mixed radix, with one digit per dimension. Two facts of one class meet the same conditions, and
a condition is a set of classes, in the bits of one integer.

Ages: methods with the same conditions are one dimension, with the age of its youngest proof. A condition that only
second factors meet is compared with ``signed_in_within`` by the age of that factor's own proof.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final

import msgspec

from sidecar.domain.decision import KnownFacts
from sidecar.domain.sessions import Method
from sidecar.policy.needs.conditions import Condition, ConditionKind
from sidecar.policy.needs.facts import Address, Facts
from sidecar.policy.needs.hours import TimeClasses, TimeIndex, time_classes
from sidecar.policy.needs.networks import NetworkClasses, NetworkIndex, network_classes

MAX_CLASSES: Final = 1_000_000


class MethodGroup(msgspec.Struct, frozen=True):
    """Methods that the same conditions name. ``ages``: number of digits for ages; the next digit is "no proof"."""

    methods: tuple[Method, ...]
    ages: int

    @property
    def size(self) -> int:
        return self.ages + 1


class LabelClasses(msgspec.Struct, frozen=True):
    """Values of one label by class. ``masks``: per class, its conditions as bits. Class 0: any other value, or none."""

    label: str
    numbers: dict[str, int]
    masks: tuple[int, ...]


class Dimensions(msgspec.Struct, frozen=True):
    """All cuts of the partition. ``conditions``: those that needs use, numbered by their index."""

    conditions: tuple[Condition, ...] = ()
    limits: tuple[int, ...] = ()
    groups: tuple[MethodGroup, ...] = ()
    networks: NetworkClasses = NetworkClasses()
    times: TimeClasses = TimeClasses()
    labels: tuple[LabelClasses, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of digits per dimension: groups, sign-in, network, time, labels."""
        groups = (group.size for group in self.groups)
        labels = (len(label.masks) for label in self.labels)
        return (*groups, len(self.limits) + 1, len(self.networks.masks), len(self.times.masks), *labels)

    @property
    def classes(self) -> int:
        total = 1
        for size in self.sizes:
            total *= size
        return total


def dimensions_of(conditions: Sequence[Condition]) -> Dimensions:
    """Return the cuts of these conditions."""
    limits = tuple(sorted({one.seconds for one in conditions if one.kind is ConditionKind.SIGNED_IN_WITHIN}))
    by_members: dict[tuple[int, ...], list[Method]] = {}
    for method in Method:
        members = tuple(number for number, one in enumerate(conditions) if method in one.methods)
        if members:
            by_members.setdefault(members, []).append(method)
    groups = tuple(
        MethodGroup(tuple(methods), len(limits) + 1 if any(conditions[n].is_factor for n in members) else 1)
        for members, methods in by_members.items()
    )
    labels = dict.fromkeys(one.label for one in conditions if one.kind is ConditionKind.ACCOUNT)
    return Dimensions(
        tuple(conditions),
        limits,
        groups,
        network_classes(conditions),
        time_classes(conditions),
        tuple(_label_classes(label, conditions) for label in labels),
    )


def _label_classes(label: str, conditions: Sequence[Condition]) -> LabelClasses:
    masks: dict[str, int] = {}
    for number, condition in enumerate(conditions):
        for value in condition.values if condition.label == label else ():
            masks[value] = masks.get(value, 0) | 1 << number
    numbers = {mask: number for number, mask in enumerate((0, *sorted(set(masks.values()))))}
    return LabelClasses(label, {value: numbers[mask] for value, mask in masks.items()}, tuple(numbers))


class Partition:
    """Classes of facts. Pure, but for remembered look-ups of the time class."""

    def __init__(self, dimensions: Dimensions) -> None:
        self.dimensions = dimensions
        sizes = dimensions.sizes
        strides = [1]
        for size in sizes:
            strides.append(strides[-1] * size)
        self.sizes = sizes
        self.strides = tuple(strides[:-1])
        self.classes = strides[-1]
        self.sign_in = len(dimensions.groups)
        self.network, self.time, self.first_label = self.sign_in + 1, self.sign_in + 2, self.sign_in + 3
        self._cuts_networks, self._cuts_times = sizes[self.network] > 1, bool(dimensions.times.zones)
        self._network_stride = self.strides[self.network]
        self._networks = NetworkIndex(dimensions.networks)
        self._times = TimeIndex(dimensions.times)
        self._limits = dimensions.limits
        self._cuts: dict[tuple[int, int | None], tuple[tuple[int, frozenset[int]], ...]] = {}
        self._of_method = {
            method: (number, self.strides[number], group.ages)
            for number, group in enumerate(dimensions.groups)
            for method in group.methods
        }
        self._labels = [
            (label.label, label.numbers, stride)
            for label, stride in zip(dimensions.labels, self.strides[self.first_label :], strict=True)
        ]
        worst = [*(group.ages for group in dimensions.groups), len(self._limits)]
        self.nothing = sum(digit * stride for digit, stride in zip(worst, self.strides, strict=False))
        """Class of facts that meet no condition."""

    def class_of(self, facts: Facts) -> int:
        """Return the class of these facts."""
        return self.at(self.base_of(facts), facts.client)

    def at(self, base: int, client: Address | None) -> int:
        """Return the class of a base (`base_of`) at an address."""
        return base + self._networks.find(client) * self._network_stride if self._cuts_networks else base

    def base_of(self, facts: Facts) -> int:
        """Return the class of these facts at an unknown address."""
        found = self.nothing
        now = facts.now
        if self._of_method:
            found -= self._proved(facts)
        if self._limits and facts.signed_in_at is not None:
            age = now - facts.signed_in_at
            if age >= -facts.leeway:
                found -= (len(self._limits) - bisect_left(self._limits, age)) * self.strides[self.sign_in]
        if self._cuts_times:
            found += self._times.find(now) * self.strides[self.time]
        for label, numbers, stride in self._labels:
            found += numbers.get(facts.labels.get(label, ""), 0) * stride
        return found

    def _proved(self, facts: Facts) -> int:
        """Return the distance from `nothing` to the class of the proofs."""
        distance = 0
        earliest = -facts.leeway
        nearest: dict[int, int] = {}
        for proof in facts.proofs:
            group = self._of_method.get(proof.method)
            age = facts.now - proof.at
            if group is None or not age >= earliest:  # also for an age that is no number
                continue
            number, stride, ages = group
            digit = bisect_left(self._limits, age) if ages > 1 else 0
            last = nearest.get(number, ages)
            if digit < last:
                distance += (last - digit) * stride
                nearest[number] = digit
        return distance

    @cached_property
    def network_samples(self) -> list[Address | None]:
        """An address per network class. None: only unknown addresses are in the class."""
        return self._networks.samples()

    def network_class(self, client: Address | None) -> int:
        return self._networks.find(client)

    def valid_until(self, facts: Facts) -> float:
        """Return the earliest instant, not before ``now``, at which the class of the same facts may change."""
        now = facts.now
        until = self._times.until(now) if self._cuts_times else float("inf")
        instants = [facts.signed_in_at] if self._limits and facts.signed_in_at is not None else []
        for proof in facts.proofs:
            group = self._of_method.get(proof.method)
            if group is not None and group[2] > 1:
                instants.append(proof.at)
            elif group is not None and proof.at - facts.leeway > now:
                until = min(until, proof.at - facts.leeway)
        for at in instants:
            if at - facts.leeway > now:
                until = min(until, at - facts.leeway)
            else:
                until = min((until, *(at + limit for limit in self._limits if at + limit >= now)))
        return until

    def known(self, base: int, methods: tuple[str, ...]) -> KnownFacts:
        """Return a class at an unknown address in the form of the decision log."""
        digits = self.digits(base)
        age = digits[self.sign_in]
        within = self._limits[age] if age < len(self._limits) else None
        return KnownFacts(methods, within, digits[self.network], digits[self.time])

    # -- classes → sets --------------------------------------------------------------------------------------------

    def classes_with(self, dimension: int, digits: Iterable[int]) -> int:
        """Return the set of classes with one of these digits, as bits."""
        stride, size = self.strides[dimension], self.sizes[dimension]
        ones = (1 << stride) - 1
        block = 0
        for digit in digits:
            block |= ones << (digit * stride)
        width = stride * size
        while block and width < self.classes:
            block |= block << width
            width *= 2
        return block & self.all

    @cached_property
    def all(self) -> int:
        return (1 << self.classes) - 1

    @cached_property
    def possible(self) -> int:
        """Classes that can happen. A second factor is a proof of the session, so the sign-in is never older."""
        found = self.all
        times = self.dimensions.times
        if not times.samples[0]:
            found &= ~self.classes_with(self.time, (0,))
        for number, group in enumerate(self.dimensions.groups):
            if group.ages > 1:
                for digit in range(len(self._limits)):
                    older = self.classes_with(self.sign_in, range(digit + 1, len(self._limits) + 1))
                    found &= ~(self.classes_with(number, (digit,)) & older)
        return found

    def meeting(self, number: int, bound: int | None = None) -> int:
        """Return the classes that meet a condition, as bits. See `cuts` for ``bound``."""
        found = 0
        for dimension, digits in self.cuts(number, bound):
            found |= self.classes_with(dimension, digits)
        return found

    def is_met(self, number: int, digits: Sequence[int], bound: int | None = None) -> bool:
        """Return whether the class with these digits meets a condition. See `cuts` for ``bound``."""
        return any(digits[dimension] in allowed for dimension, allowed in self.cuts(number, bound))

    def cuts(self, number: int, bound: int | None) -> tuple[tuple[int, frozenset[int]], ...]:
        """Return the digits that meet a condition, by dimension; one of them is enough.

        ``bound``: index of the limit for the age of second factors, None for any age.
        """
        found = self._cuts.get((number, bound))
        if found is None:
            found = self._cuts[number, bound] = tuple(self._find_cuts(number, bound))
        return found

    def _find_cuts(self, number: int, bound: int | None) -> Iterator[tuple[int, frozenset[int]]]:
        dimensions = self.dimensions
        condition = dimensions.conditions[number]
        match condition.kind:
            case ConditionKind.SIGNED_IN_WITHIN:
                yield self.sign_in, frozenset(range(self.limit_of(number) + 1))
            case ConditionKind.NETWORKS:
                yield self.network, _with_bit(dimensions.networks.masks, number)
            case ConditionKind.HOURS:
                yield self.time, _with_bit(dimensions.times.masks, number)
            case ConditionKind.ACCOUNT:
                index = next(i for i, one in enumerate(dimensions.labels) if one.label == condition.label)
                yield self.first_label + index, _with_bit(dimensions.labels[index].masks, number)
            case ConditionKind.SECOND_FACTOR | ConditionKind.METHODS:
                for dimension, group in enumerate(dimensions.groups):
                    if group.methods[0] in condition.methods:
                        young = condition.is_factor and bound is not None
                        yield dimension, frozenset(range(group.ages if not young or bound is None else bound + 1))

    def limit_of(self, number: int) -> int:
        """Return the index of the limit of a ``signed_in_within`` condition."""
        return self._limits.index(self.dimensions.conditions[number].seconds)

    def digits(self, number: int) -> tuple[int, ...]:
        """Return the digits of a class."""
        return tuple(number // stride % size for stride, size in zip(self.strides, self.sizes, strict=True))


def _with_bit(masks: Sequence[int], number: int) -> frozenset[int]:
    return frozenset(digit for digit, mask in enumerate(masks) if mask >> number & 1)
