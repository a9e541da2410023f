"""What only the running sidecar can hold against a policy: the people there are (R26).

Asked before every swap, and once after a start, as soon as the store answers. It says why in the words of the compiler,
so that an operator reads one list.

That no account is locked out needs no question to the store: its scripts leave no account without an active Account
Administrator, and the compiler's invariants let none of those lose `users/manage`, in whatever account.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from sidecar.pdp.compile.report import role_in_use
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.generation import Generation
from sidecar.store.policy_history import Generations
from sidecar.store.role_holders import RoleHolders

Gate = Callable[[Generation], Awaitable[tuple[Diagnostic, ...]]]
"""What speaks against putting a generation in force; empty: nothing. Raises StoreUnavailable when it cannot tell."""


class InForce(Protocol):
    @property
    def generation(self) -> Generation | None: ...


class HeldRoles:
    """No role disappears that somebody holds or is invited to.

    Only roles that some generation in force had can be held, so mostly no user has to be looked at.
    """

    def __init__(self, policy: InForce, generations: Generations, holders: RoleHolders) -> None:
        self._policy = policy
        self._generations = generations
        self._holders = holders

    async def __call__(self, generation: Generation) -> tuple[Diagnostic, ...]:
        known = set(await self._generations.roles())
        if self._policy.generation is not None:
            known.update(self._policy.generation.roles)
        held = await self._holders.holding(known - generation.roles.keys())
        return tuple(role_in_use(role, count) for role, count in sorted(held.items()))
