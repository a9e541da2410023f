"""Judgement of logged facts by other needs than those that they were logged with: yes, no, or unknown.

A line of the decision log holds methods by name, an upper limit of the age, and numbers of classes that only its own
generation can interpret. What does not follow from it is unknown (None).
"""

from collections.abc import Collection, Iterable, Sequence

from sidecar.domain.decision import KnownFacts
from sidecar.policy.needs.conditions import Condition, ConditionKind
from sidecar.policy.needs.lines import NeedLine
from sidecar.policy.needs.table import Needs


def are_met(needs: Needs, lines: Sequence[NeedLine], facts: KnownFacts | None) -> bool | None:
    """Return whether the lines of a cell are met. ``facts``: of another generation; None: none were logged."""
    if not lines:
        return True
    if facts is None:
        return None
    conditions = [[needs.conditions[name] for name in line.conditions] for line in lines]
    # A limit of ages beside a factor counts from the factor's own proof, whose age is not logged.
    by_factor = any(condition.is_factor for line in conditions for condition in line)
    return _all(_any(_met(condition, facts, by_factor=by_factor) for condition in line) for line in conditions)


def _met(condition: Condition, facts: KnownFacts, *, by_factor: bool) -> bool | None:
    if condition.methods:
        return not _disjoint(condition.methods, facts.methods)
    if condition.kind is ConditionKind.SIGNED_IN_WITHIN and not by_factor:
        return True if facts.signed_in_within is not None and facts.signed_in_within <= condition.seconds else None
    return None


def _disjoint(methods: Collection[str], shown: Collection[str]) -> bool:
    return {str(method) for method in methods}.isdisjoint(shown)


def _any(values: Iterable[bool | None]) -> bool | None:
    found = set(values)
    return True if True in found else None if None in found else False


def _all(values: Iterable[bool | None]) -> bool | None:
    found = set(values)
    return False if False in found else None if None in found else True
