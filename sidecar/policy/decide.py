"""Decision by role, section and action. Pure functions of their arguments: no tokens, Redis or clock."""

from sidecar.domain.decision import Reason
from sidecar.policy.decision_table import NO_RULE, Ruling
from sidecar.policy.generation import Generation

_UNKNOWN_SECTION = Ruling(Reason.UNKNOWN_SECTION)
_UNKNOWN_ACTION = Ruling(Reason.UNKNOWN_ACTION)


def decide(generation: Generation, role: str, section: str, action: str) -> Ruling:
    """Return the policy's ruling. Undeclared names are denied with their own reason; a removed role has no rule."""
    ruling = generation.cells.find(role, section, action)
    if ruling is not None:
        return ruling
    declared = generation.sections.get(section)
    if declared is None:
        return _UNKNOWN_SECTION
    if action not in declared.actions:
        return _UNKNOWN_ACTION
    return NO_RULE


def opens(generation: Generation, role: str) -> list[str]:
    """Return the sections with at least one allowed action for the role, in the order of sections.toml."""
    open_sections = {section for section, _ in generation.allowed.get(role, ())}
    return [section for section in generation.sections if section in open_sections]


def title_of(generation: Generation, role: str) -> str:
    """Return the title of a role, or its id if the policy does not declare it."""
    declared = generation.roles.get(role)
    return role if declared is None else declared.title


def covers(generation: Generation, actor_role: str, other_role: str) -> bool:
    """Return whether ``actor_role`` has all permissions of ``other_role`` (R11). Unknown roles return False.

    A permission of ``other_role`` that needs less than that of ``actor_role`` is more. `covers_in` is for an actor.
    """
    if not allows_as_much(generation, actor_role, other_role):
        return False
    needs = generation.needs
    if not needs.active:
        return True
    for cell in generation.allowed[other_role]:
        own, other = needs.of(actor_role, *cell), needs.of(other_role, *cell)
        if own is not None and own is not other and (other is None or other.classes & ~own.classes):
            return False
    return True


def covers_in(generation: Generation, actor_role: str, other_role: str, facts_class: int | None) -> bool:
    """Return whether an actor in this class (`Needs.class_of`) now has all permissions of ``other_role`` (R11).

    None: no fact is known of the actor.
    """
    if not allows_as_much(generation, actor_role, other_role):
        return False
    if facts_class is None:
        facts_class = generation.needs.class_of(None)
    requirements = (generation.needs.of(actor_role, *cell) for cell in generation.allowed[other_role])
    return all(one is None or one.meets(facts_class) for one in requirements)


def allows_as_much(generation: Generation, actor_role: str, other_role: str) -> bool:
    """Return whether the rules allow ``actor_role`` all that they allow ``other_role``. Unknown roles return False."""
    if actor_role not in generation.allowed or other_role not in generation.allowed:
        return False
    return generation.allowed[other_role] <= generation.allowed[actor_role]
