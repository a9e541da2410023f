"""Decision of another generation on a decided check: the same by `policy replay` and by a shadow."""

from typing import Final

from sidecar.domain.decision import KnownFacts, Reason
from sidecar.policy.decide import decide
from sidecar.policy.generation import Generation
from sidecar.policy.needs.logged import are_met

OF_NEEDS: Final = frozenset({Reason.STEP_UP_REQUIRED, Reason.CONDITION_UNMET})
"""Reasons of needs, in cells that a rule allowed. The log holds the known facts, in coarse form."""

OF_THE_POLICY: Final = OF_NEEDS | {
    *(Reason.ALLOWED, Reason.NO_RULE, Reason.EXPLICIT_DENY, Reason.UNKNOWN_SECTION, Reason.UNKNOWN_ACTION)
}
"""Reasons of the decision table and of needs. All others (tokens, paths, outages) do not depend on the rules."""

Cell = tuple[str, str, str]
"""Role, section, action."""


def replayed(
    generation: Generation, cell: Cell, *, reason: Reason, decided: bool, by: object, facts: KnownFacts | None
) -> bool | None:
    """Return whether ``generation`` allows the check. None: the known facts do not decide its needs.

    ``by``: id of the generation that decided.
    """
    if not decide(generation, *cell).allowed:
        return False
    if not decided and reason not in OF_NEEDS:
        return True  # a rule that is new opens the cell, with or without needs
    lines = generation.needs.lines_of(*cell)
    if lines and by == generation.id:
        return decided
    return are_met(generation.needs, lines, facts)
