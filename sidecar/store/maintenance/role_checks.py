"""Check of the roles that the users of one account hold, against the policy in force: snapshot in, findings out."""

from collections.abc import Collection, Iterator
from typing import Final

from sidecar.store.maintenance.consistency_checks import ConsistencyFault, ConsistencyFinding, Snapshot

NAMED: Final = 10
"""Users named per finding."""


def undeclared_roles(snapshot: Snapshot, declared: Collection[str]) -> Iterator[ConsistencyFinding]:
    """Yield a finding per role that users or open invitations hold and the policy does not declare."""
    held: dict[str, list[str]] = {}
    for uid, role in (*((user["id"], user.get("role")) for user in snapshot.users), *snapshot.invited_as):
        if role and role not in declared:
            held.setdefault(role, []).append(uid)
    for role, users in sorted(held.items()):
        more = f" and {len(users) - NAMED} more" if len(users) > NAMED else ""
        names = f"{', '.join(sorted(users)[:NAMED])}{more}"
        remedy = "`sidecar user set-role` assigns another one"
        detail = f'{names}: the role "{role}" is not in the policy in force, every check is denied; {remedy}'
        yield ConsistencyFinding(ConsistencyFault.UNDECLARED_ROLE, snapshot.account, detail)
