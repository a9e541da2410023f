"""Changes of the policy in the audit of an account: the sections that each role gained, lost, or may use otherwise.

Activations belong to no account and are rows of the system log (R25). An account sees their effect on roles alone,
never sidecars, paths or other accounts (R27).
"""

from datetime import UTC, datetime
from typing import Final

import msgspec

from sidecar.domain.users import AccountId
from sidecar.http.context import AppContext
from sidecar.http.schemas import When
from sidecar.store.audit import OPERATOR, AuditFilter
from sidecar.store.policy_history import Direction, GenerationTurn, Noticed, SectionChange

ACTIONS: Final = {Direction.FORWARD: "policy.activated", Direction.BACK: "policy.reverted"}
"""Values of ``action`` in filters and responses."""


class RoleSections(msgspec.Struct, frozen=True):
    """Sections of a role. ``changed``: open before and after, with other actions."""

    role: str
    opened: list[str]
    closed: list[str]
    changed: list[str]


class AuditedPolicyChange(msgspec.Struct, frozen=True):
    """Activation of another generation of the policy, ``policy.activated``; ``policy.reverted``: of an earlier one.

    ``roles``: those with other sections; null if they are unknown or more than 500 sections differ.
    """

    at: When
    action: str
    generation: str
    before: str
    noticed_by: Noticed
    roles: list[RoleSections] | None


def only_policy(only: AuditFilter) -> bool:
    """Return whether the filter selects changes of the policy alone."""
    return only.action in ACTIONS.values()


async def policy_changes(
    app: AppContext, account: AccountId, only: AuditFilter, *, after: int | None, until: int | None
) -> list[AuditedPolicyChange]:
    """Return the changes between row ``until`` and row ``after`` of a page, newest first.

    Without ``until``: since the oldest kept row. Without ``after``: up to now.
    """
    if only.actor not in (None, OPERATOR) or only.target is not None:
        return []
    if only.action is not None and not only_policy(only):
        return []
    oldest, newest = await app.people.audit.times(account, after=after, until=until)
    if oldest is None or (after is not None and newest is None):
        return []
    since = oldest if only.since is None else max(oldest, only.since)
    ends = [end for end in (newest, only.until) if end is not None]
    return [
        _shown(turn, turn.before)
        for turn in await app.policy_history.turns()
        if turn.before is not None
        and turn.at >= since
        and all(turn.at < end for end in ends)
        and only.action in (None, ACTIONS[turn.direction])
    ]


def _shown(turn: GenerationTurn, before: str) -> AuditedPolicyChange:
    return AuditedPolicyChange(
        at=datetime.fromtimestamp(turn.at / 1000, UTC).isoformat(timespec="milliseconds"),
        action=ACTIONS[turn.direction],
        generation=turn.generation,
        before=before,
        noticed_by=turn.noticed_by,
        roles=None if turn.changes is None else _roles(turn.changes),
    )


def _roles(changes: tuple[SectionChange, ...]) -> list[RoleSections]:
    found: dict[str, RoleSections] = {}
    for one in changes:
        sections = found.setdefault(one.role, RoleSections(one.role, [], [], []))
        kind = sections.opened if not one.before else sections.closed if not one.after else sections.changed
        kind.append(one.section)
    return list(found.values())
