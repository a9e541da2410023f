"""Policy of a sidecar that follows the store, as request handlers see it: no generation while it is not served."""

from sidecar.pdp.policy_holder import ActivationState
from sidecar.pdp.store_activation import StorePolicy
from sidecar.policy.generation import Generation


class LeasedPolicy:
    """View of a policy. Its generation is None outside the lease of partition 0, and until a missed switch is known."""

    def __init__(self, policy: StorePolicy) -> None:
        self._policy = policy
        self._clock = policy.monotonic

    @property
    def generation(self) -> Generation | None:
        policy = self._policy  # read once or more per check: no further call than the clock's
        return policy.generation if policy.verified and self._clock() < policy.lease.until else None

    @property
    def state(self) -> ActivationState:
        return self._policy.state

    @property
    def loaded_at(self) -> float:
        return self._policy.loaded_at

    async def reload(self) -> None:
        await self._policy.reload()
