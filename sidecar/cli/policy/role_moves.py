"""Users and invitations that hold a role: their number, and their move to another role."""

import asyncio
import time
from collections.abc import Collection

from sidecar.cli.output import answer_no
from sidecar.cli.store_session import OPERATOR, run_with_store
from sidecar.config.settings import Settings
from sidecar.domain.users import AccountId
from sidecar.server.admin_context import AdminContext
from sidecar.store.outcomes import Changed, Position, Unchanged
from sidecar.store.role_holders import RoleHolders
from sidecar.store.users import Roster

INTERVAL = 0.25
"""Seconds between two looks at the live sidecars."""


def holders_of(settings: Settings, role: str) -> int:
    """Return the number of users and invitations with the role. Raises CliError if the store cannot be asked."""

    async def job(operator: AdminContext) -> int:
        return (await RoleHolders(operator.store).holding([role])).get(role, 0)

    return run_with_store(settings, job)


async def wait_served(operator: AdminContext, generation: str, seconds: float) -> Collection[str]:
    """Wait until all live sidecars serve the generation. Return those that do not at the timeout."""
    end = time.monotonic() + seconds
    while True:
        members = await operator.people.fleet.members()
        others = [str(one["id"]) for one in members if one.get("generation") != generation]
        if not others or time.monotonic() >= end:
            return others
        await asyncio.sleep(INTERVAL)


async def move_holders(operator: AdminContext, old: str, new: str) -> int:
    """Give each user and invitation with the role ``old`` the role ``new``, and return their number.

    A user with a new role ``old`` meanwhile is found by a further pass.
    """
    moved = 0
    while True:
        done = 0
        for account in await operator.people.accounts.all():
            done += await _move_in(operator, account.id, old, new)
        if not done:
            break
        moved += done
    left = (await RoleHolders(operator.store).holding([old])).get(old, 0)
    if left:
        raise answer_no(f'{left} users still hold "{old}": check the store with `sidecar fsck`, then run this again')
    return moved


async def _move_in(operator: AdminContext, account: AccountId, old: str, new: str) -> int:
    roster = await operator.people.users.roster(account)
    held = [one.record.id for one in roster.members if one.record.role == old] if isinstance(roster, Roster) else []
    done = 0
    last: Position | None = None
    for user in held:
        outcome = await operator.people.users.change(OPERATOR, user, role=new, expected_role=old)
        if isinstance(outcome, Changed | Unchanged):
            done, last = done + 1, outcome.position or last
    if last is not None:
        await operator.people.fleet.wait_applied(last)
    return done
