"""Needs in the tests of expectations.csv: a row names the conditions that are missing, and all others are met."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from sidecar.policy.decision_table import DecisionTable
from sidecar.policy.declarations import Role
from sidecar.policy.needs.lines import NeedLine, applies_to
from sidecar.policy.needs.table import Needs
from sidecar.policy.needs.unmet import smallest_set

PREFIX = "without"
"""First word of the fifth field."""


def blocking_lines(lines: Sequence[NeedLine], missing: Collection[str]) -> list[NeedLine]:
    """Return the lines of which every condition is missing. Conditions are compared by name."""
    return [line for line in lines if all(name in missing for name in line.conditions)]


def unrelated_names(lines: Sequence[NeedLine], missing: Sequence[str]) -> list[str]:
    """Return the missing conditions that no line of the cell names."""
    return [name for name in missing if not any(name in line.conditions for line in lines)]


def lacking(needs: Needs, lines: Sequence[NeedLine], met: Collection[str]) -> tuple[str, ...]:
    """Return conditions that would do, beside those that are met. Conditions are compared by name.

    Sets that a sign-in meets come first, as in `Needs.unmet`. Empty if one condition of each line is met.
    """
    numbers = {name: number for number, name in enumerate(needs.conditions)}
    names = list(needs.conditions)
    unmet = [line for line in lines if not any(name in met for name in line.conditions)]
    by_sign_in = [[name for name in line.conditions if needs.conditions[name].by_sign_in] for line in unmet]
    chosen = by_sign_in if all(by_sign_in) else [list(line.conditions) for line in unmet]
    return tuple(names[number] for number in smallest_set([frozenset(numbers[n] for n in line) for line in chosen]))


def example_row(needs: Needs, line: NeedLine, roles: Mapping[str, Role], cells: DecisionTable) -> str | None:
    """Return a row of expectations.csv in which a line is decisive, or None if there is none."""
    for role, section, action in _cells(needs, line, roles, cells):
        if blocking_lines(needs.lines_of(role, section, action), line.conditions) == [line]:
            return f"deny, {role}, {section}, {action}, {PREFIX} {' | '.join(line.conditions)}"
    return None


def _cells(
    needs: Needs, line: NeedLine, roles: Mapping[str, Role], cells: DecisionTable
) -> Iterator[tuple[str, str, str]]:
    """Yield the allowed cells of assignable roles that a line applies to."""
    for role in roles.values():
        if role.assignable and needs.applies(line, role.id):
            for section, action in cells.allowed_for(role.id):
                if applies_to(line, section, action):
                    yield role.id, section, action


def cells_with(needs: Needs, line: NeedLine, roles: Mapping[str, Role], cells: DecisionTable) -> int:
    """Return the number of allowed cells of assignable roles that a line applies to."""
    return sum(1 for _ in _cells(needs, line, roles, cells))
