"""Denial of a path with own segments that are not the caller's."""

from sidecar.domain.access import OwnTarget, Target
from sidecar.domain.decision import Decision, Reason
from sidecar.domain.users import UserRecord
from sidecar.policy.decide import decide
from sidecar.policy.generation import Generation


def not_yours(generation: Generation, role: str, target: OwnTarget, record: UserRecord | None) -> Decision:
    """Return the denial of another's path, or of a role, which has no id.

    The role's own right comes first, so that the reason says nothing about the path to a role without it.
    """
    section, action = target.target.section, target.target.action
    ruling = decide(generation, role, section, action)
    reason = Reason.NOT_YOURS if ruling.allowed else ruling.reason
    return Decision(reason, generation.id, ruling.rule, record, section, action)


def target_without_path(target: Target) -> OwnTarget:
    """Return the target of a check by section and action, where each route has own segments: those of no user."""
    return OwnTarget(target, "", "")
