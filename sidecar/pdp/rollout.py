"""Which policy follows which, in this sidecar and in the fleet (R25): told, recorded, and said aloud when it is odd.

Every judgement goes to log, metrics and fleet at once. Every generation that comes into force is recorded in the
store, where an earlier one that comes back is audited; here it is an alarm. So is serving an older one than another
live sidecar for more than five minutes: its files were not delivered, or are refused.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from sidecar.pdp.activation import Activation, State
from sidecar.store.connection import StoreUnavailable
from sidecar.store.policy_history import Generations, Standing
from sidecar.telemetry.app_log import logger
from sidecar.telemetry.metrics import Metrics

COMPARE_SECONDS = 10.0
RETRY_SECONDS = 1.0
BEHIND_SECONDS = 300.0

_log = logger("policy")


class Fleet(Protocol):
    """What is needed of it."""

    id: str

    def tell(self, **facts: Any) -> None: ...
    async def register(self) -> None: ...
    async def members(self) -> list[dict[str, Any]]: ...


class Succession:
    """Listens to the activation; ``run`` does what needs the store. ``clock`` is monotonic."""

    def __init__(
        self,
        policy: Activation,
        generations: Generations,
        fleet: Fleet,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        wait: "Callable[[asyncio.Event, float], Awaitable[object]] | None" = None,
    ) -> None:
        self._policy = policy
        self._generations = generations
        self._fleet = fleet
        self._metrics = metrics
        self._clock = clock
        self._wait = wait or _wait
        self._changed = asyncio.Event()
        self._recorded: str | None = None
        self._behind_since: float | None = None
        self._alarmed = False

    def heard(self, policy: Activation) -> None:
        """A judgement: on_change of the activation. Nothing here waits."""
        if policy.generation is None:
            return  # the start ends, and says why
        rejected = policy.state is State.REJECTED
        self._metrics.policy_rejected.set(int(rejected))
        self._metrics.policy.info({"generation": policy.generation.id})
        self._metrics.policy_reloaded.set(policy.loaded_at)
        in_force = policy.generation.id
        for found in policy.diagnostics:
            _log.warning("policy", diagnostic=str(found), generation=in_force)
        if rejected:
            _log.error("the policy files are refused; the last good generation stays in force", generation=in_force)
        elif policy.forced:
            _log.error(
                "the policy was forced: it fails its own tests or the invariants", generation=policy.generation.id
            )
        else:
            _log.info("policy in force", generation=policy.generation.id)
        self._fleet.tell(generation=policy.generation.id, state=policy.state.value)
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled. A store that is out is asked again: nothing is left unrecorded."""
        while True:
            pause = COMPARE_SECONDS
            try:
                if self._changed.is_set():
                    self._changed.clear()
                    await self._fleet.register()  # the others need not wait for half a lease to hear of it
                    await self.record()
                await self.compare()
            except StoreUnavailable:
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._wait(self._changed, pause)

    async def record(self) -> None:
        """What is in force now, unless it was recorded already."""
        generation = self._policy.generation
        if generation is None or generation.id == self._recorded:
            return
        recorded = await self._generations.record(
            generation.id,
            generation.roles,
            sidecar=self._fleet.id,
            start=self._recorded is None,
            forced=self._policy.forced,
        )
        self._recorded = generation.id
        if recorded.standing is Standing.BACK:
            self._metrics.policy_reverted.inc()
            _log.error(
                "an earlier generation of the policy is back in force", generation=generation.id, newest=recorded.newest
            )

    async def compare(self) -> None:
        """With the newest generation that any live sidecar serves."""
        own = self._recorded
        served = {str(member["generation"]) for member in await self._fleet.members() if member.get("generation")}
        order = await self._generations.order(served | ({own} if own else set()))
        newest = max(order, key=lambda generation: order[generation], default=None)
        if own is None or newest is None or order.get(own, 0) >= order[newest]:
            self._behind_since, self._alarmed = None, False
            self._metrics.policy_behind.set(0)
            return
        now = self._clock()
        if self._behind_since is None:
            self._behind_since = now
        behind = now - self._behind_since
        self._metrics.policy_behind.set(behind)
        if behind > BEHIND_SECONDS and not self._alarmed:
            self._alarmed = True
            _log.error("this sidecar serves an older policy than the fleet", generation=own, newest=newest)


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(changed.wait(), seconds)
