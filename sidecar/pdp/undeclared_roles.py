"""Roles that users hold and the active policy does not declare: logged at a start, and a warning in the status.

Such a role comes from a forced or rejected policy, or from a restored store. All checks of its users are denied.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from sidecar.pdp.compile import file_semaphore
from sidecar.pdp.decision_point import ActivePolicy
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.role_holders import RoleHolders
from sidecar.telemetry.app_log import logger

RETRY_SECONDS: Final = 1.0
RECHECK_SECONDS: Final = 60.0
"""Interval of further checks, as long as there is a warning. Each reads every user."""

SLOT: Final = "undeclared-roles"

_log = logger("policy")


def role_warnings(held: Mapping[str, int]) -> tuple[str, ...]:
    """Return one warning per role. ``held``: users and invitations per undeclared role."""
    return tuple(
        f'{count} users hold or are invited to "{role}", which the policy does not declare, and are denied everywhere: '
        "assign another role (sidecar user set-role), or declare it"
        for role, count in sorted(held.items())
    )


class UndeclaredRoles:
    """Check of all users at the start. Without a finding, it is the only one.

    ``shared``: directory of the supervisor.
    """

    def __init__(
        self,
        policy: ActivePolicy,
        holders: RoleHolders,
        *,
        shared: Path | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._policy = policy
        self._holders = holders
        self._sleep = sleep
        self._shared = shared
        self._slot: ExitStack | None = None
        self.warnings: tuple[str, ...] = ()

    async def run(self) -> None:
        """Check, and repeat while users hold an undeclared role. One worker of a supervisor checks."""
        if self._shared is not None and self._slot is None:
            self._slot = file_semaphore.take(self._shared, [SLOT])
            if self._slot is None:
                return
        while not await self._is_clean():
            await self._sleep(RECHECK_SECONDS if self.warnings else RETRY_SECONDS)

    async def _is_clean(self) -> bool:
        generation = self._policy.generation
        if generation is None:
            return False
        try:
            found = role_warnings(await self._holders.undeclared(generation.roles))
        except StoreUnavailableError:
            return False
        for warning in found:
            if warning not in self.warnings:
                _log.error("users hold a role that the policy does not declare", warning=warning)
        self.warnings = found
        return not found
