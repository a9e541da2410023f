"""Proof of compiled needs: evaluates every allowed cell with a need in every class again with the direct evaluator."""

from collections.abc import Iterable, Iterator
from typing import Final
from zlib import crc32

from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.generation import Generation
from sidecar.policy.needs.direct import DirectNeeds, Line
from sidecar.policy.needs.lines import FILE
from sidecar.policy.needs.witness import facts_of

MAX_AT_START: Final = 1_000_000
"""Limit of the full proof at start, in needs × classes. Above it, a seeded sample of `COST_AT_START` is proved."""
COST_AT_START: Final = 200_000
COST_OF_EDIT: Final = 20_000
"""Size of a sample, in compared conditions: less than a second."""


def prove_needs(
    generation: Generation, findings: DiagnosticSink, *, sampled: bool = False, hurried: bool = False
) -> None:
    """Report each difference of the two evaluators: a bug in either. ``sampled`` and ``hurried``: as for rules."""
    needs = generation.needs
    if not needs.active:
        return
    direct = DirectNeeds(generation.files)
    pairs = dict(_pairs(generation, direct))
    partition = needs.partition
    cost = 1 + sum(len(names) for lines, _ in pairs for *_, names in lines)
    numbers: Iterable[int] = range(partition.classes)
    too_much = cost * partition.classes > COST_OF_EDIT if hurried else len(pairs) * partition.classes > MAX_AT_START
    if sampled and too_much:
        picks = range(1 + (COST_OF_EDIT if hurried else COST_AT_START) // cost)
        numbers = (crc32(f"{generation.id} {pick}".encode()) % partition.classes for pick in picks)
    possible = partition.possible.to_bytes((partition.classes + 7) // 8, "little")
    for number in numbers:
        if not possible[number >> 3] >> (number & 7) & 1:
            continue
        facts = facts_of(partition, number)
        for (lines, requirement), cell in pairs.items():
            meets = requirement == 0 or needs.requirements[requirement - 1].meets(number)
            if partition.class_of(facts) != number or direct.meets(lines, facts) is not meets:
                message = f"{cell}: class {number} is {'met' if meets else 'unmet'} in the table only"
                findings.add(Code.NEEDS_DISAGREE, FILE, (1, 1), message, "please report this bug")


def _pairs(generation: Generation, direct: DirectNeeds) -> Iterator[tuple[tuple[tuple[Line, ...], int], str]]:
    """Yield the distinct pairs of a cell's lines, by the direct evaluator, and its requirement, with one cell."""
    needs = generation.needs
    for role in generation.roles:
        lines = direct.lines_for_role(role)
        for section, action in generation.cells.allowed_for(role):
            of_cell = direct.lines_for_cell(lines, section, action) if lines else ()
            requirement = needs.of(role, section, action)
            if of_cell or requirement is not None:
                number = 0 if requirement is None else requirement.number
                yield (of_cell, number), f"{role} on {section}/{action}"
