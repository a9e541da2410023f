"""Proof of compiled needs: evaluates every allowed cell with a need in every class again with the direct evaluator."""

from collections.abc import Iterator
from typing import Final
from zlib import crc32

from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.generation import Generation
from sidecar.policy.needs.direct import DirectNeeds, Line
from sidecar.policy.needs.lines import FILE
from sidecar.policy.needs.witness import facts_of

MAX_AT_START: Final = 1_000_000
"""Limit of the full proof at start, in needs × classes. Above it, a seeded sample of `SAMPLE` is proved."""
MAX_FOR_EDIT: Final = 50_000
"""Limit of the full proof of an edit, which must be active within two seconds."""
SAMPLE: Final = 20_000


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
    work = len(pairs) * partition.classes
    limit = 2**32
    if sampled and work > (MAX_FOR_EDIT if hurried else MAX_AT_START):
        limit = limit * SAMPLE // work
    possible = partition.possible.to_bytes((partition.classes + 7) // 8, "little")
    whole = limit == 2**32
    for number in range(partition.classes):
        if not possible[number >> 3] >> (number & 7) & 1:
            continue
        facts = None
        for index, ((lines, requirement), cell) in enumerate(pairs.items()):
            if not whole and crc32(f"{generation.id} {number} {index}".encode()) >= limit:
                continue
            facts = facts or facts_of(partition, number)
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
