"""Policy rollout: records activations in the store, publishes them, and alerts on rollback or version skew (R25).

Each compile result goes to log, metrics and fleet at once. Each activated generation is recorded in the store. The
return of an earlier generation is audited there, and logged as an error here. Serving an older generation than another
live sidecar for more than five minutes is an error too: the files were not delivered, or were rejected.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from sidecar.pdp.last_good import StoredLastGood
from sidecar.pdp.policy_holder import ActivationState, PolicyHolder
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.policy_history import GenerationOrder, PolicyHistory
from sidecar.telemetry.app_log import logger
from sidecar.telemetry.metrics import Metrics

COMPARE_SECONDS = 10.0
RETRY_SECONDS = 1.0
BEHIND_SECONDS = 300.0
MAX_CELLS = 20_000
"""Cells of a generation whose opened and closed sections are recorded: listing them takes 5 ms."""

_log = logger("policy")


class FleetFacts(Protocol):
    """Subset of the fleet's interface. Protocol: tests replace the fleet."""

    id: str

    def set_facts(self, **facts: Any) -> None: ...
    async def register(self) -> None: ...
    async def members(self) -> list[dict[str, Any]]: ...


class PolicyRollout:
    """Listener of the activation. ``run`` does the store I/O. ``clock`` is monotonic.

    ``records``: activations are recorded here. Those of generations in the store are recorded by the switch itself.
    ``last_good``: copy for pods without state; only of policies of files.
    """

    def __init__(
        self,
        policy: PolicyHolder,
        generations: PolicyHistory,
        fleet: FleetFacts,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        records: bool = True,
        last_good: StoredLastGood | None = None,
        wait: "Callable[[asyncio.Event, float], Awaitable[object]] | None" = None,
    ) -> None:
        self._policy = policy
        self._generations = generations
        self._fleet = fleet
        self._metrics = metrics
        self._clock = clock
        self._records = records
        self._last_good = last_good
        self._wait = wait or _wait
        self._changed = asyncio.Event()
        self._recorded: str | None = None
        self._is_kept = False
        self._behind_since: float | None = None
        self._alarmed = False

    def on_activation(self, policy: PolicyHolder) -> None:
        """Log and publish a compile result (``on_change`` of the activation). Does no I/O."""
        if policy.generation is None:
            return  # the start fails and reports the reason
        rejected = policy.state is ActivationState.REJECTED
        self._metrics.policy_rejected.set(int(rejected))
        self._metrics.policy.info({"generation": policy.generation.id})
        self._metrics.policy_reloaded.set(policy.loaded_at)
        in_force = policy.generation.id
        for found in policy.diagnostics:
            _log.warning("policy", diagnostic=str(policy.location.shown(found)), generation=in_force)
        if rejected:
            source = "policy files" if self._records else "policy of the store"
            _log.error(f"{source} rejected; the last good generation stays active", generation=in_force)
        elif policy.forced:
            _log.error("policy forced: it fails its own tests or the invariants", generation=policy.generation.id)
        else:
            _log.info("policy activated", generation=policy.generation.id)
        self._fleet.set_facts(generation=policy.generation.id, state=policy.state.value)
        self._changed.set()

    async def run(self) -> None:
        """Record and compare until cancelled. Retry until the store is available, so that activations are recorded."""
        while True:
            pause = COMPARE_SECONDS
            try:
                if self._changed.is_set():
                    self._changed.clear()
                    await self._fleet.register()  # publish now; the periodic registration can be half a lease away
                    await self.record()
                    self._is_kept = False
                await self.keep()
                await self.check_skew()
            except StoreUnavailableError:
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._wait(self._changed, pause)

    async def record(self) -> None:
        """Record the active generation unless it is already recorded. Raises StoreUnavailableError."""
        generation = self._policy.generation
        if generation is None or generation.id == self._recorded:
            return
        if not self._records:
            self._recorded = generation.id
            return
        recorded = await self._generations.record(
            generation.id,
            generation.roles,
            sidecar=self._fleet.id,
            start=self._recorded is None,
            forced=self._policy.forced,
            assignable=[role.id for role in generation.roles.values() if role.assignable],
            allowed=generation.allowed if len(generation.cells) <= MAX_CELLS else None,
        )
        self._recorded = generation.id
        if recorded.order is GenerationOrder.BACK:
            self._metrics.policy_reverted.inc()
            _log.error(
                "policy rollback: an earlier generation is active", generation=generation.id, newest=recorded.newest
            )

    async def keep(self) -> None:
        """Keep the active generation in the store, if it is the newest and was not forced. Raises
        StoreUnavailableError."""
        policy, generation = self._policy, self._policy.generation
        if self._last_good is None or generation is None or self._is_kept:
            return
        if policy.state is ActivationState.CURRENT and not policy.forced:
            self._is_kept = await self._last_good.keep(generation)

    async def check_skew(self) -> None:
        """Compare with the newest generation of the live sidecars. Raises StoreUnavailableError."""
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
            _log.error("policy skew: this sidecar serves an older policy than the fleet", generation=own, newest=newest)


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(changed.wait(), seconds)
