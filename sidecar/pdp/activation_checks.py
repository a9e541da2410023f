"""Activation checks that need the store: reject a policy that removes a role in use (R26).

Checks run before each swap, and once after a start, as soon as the store is reachable. They return compiler
diagnostics, so that an operator reads one list.

Account lockout needs no check here. Store scripts leave every account an active Account Administrator, and the
compiler's invariants guarantee that role `users/manage` in every account.
"""

from collections.abc import Awaitable, Callable

from sidecar.pdp.compile.report import role_in_use
from sidecar.pdp.decision_point import ActivePolicy
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.generation import Generation
from sidecar.store.policy_history import PolicyHistory
from sidecar.store.role_holders import RoleHolders

Gate = Callable[[Generation], Awaitable[tuple[Diagnostic, ...]]]
"""Activation check. Returns the diagnostics that reject a generation; empty: accepted. Raises StoreUnavailableError."""


class RolesInUseCheck:
    """Check that rejects the removal of a role that a user or an invitation holds.

    Only roles of an earlier active generation can have holders, so most activations read no user.
    """

    def __init__(self, policy: ActivePolicy, generations: PolicyHistory, holders: RoleHolders) -> None:
        self._policy = policy
        self._generations = generations
        self._holders = holders

    async def __call__(self, generation: Generation) -> tuple[Diagnostic, ...]:
        known = set(await self._generations.roles())
        if self._policy.generation is not None:
            known.update(self._policy.generation.roles)
        holders = await self._holders.holding(known - generation.roles.keys())
        return tuple(role_in_use(role, count) for role, count in sorted(holders.items()))
