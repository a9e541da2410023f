"""Policy of a start, by SIDECAR_POLICY_SOURCE.

``files``: the policy of the files, else the kept one of the state directory, else the last good one of the store.
``store``: the active generation of the store, or the kept one while the store does not respond.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from sidecar.config.parsers import PolicySource
from sidecar.config.settings import Settings
from sidecar.pdp.activation import Activation
from sidecar.pdp.health import HealthCheck
from sidecar.pdp.last_good import StoredLastGood
from sidecar.pdp.leased_policy import LeasedPolicy
from sidecar.pdp.policy_holder import PolicyHolder, ServedPolicy
from sidecar.pdp.policy_signatures import SignatureCheck
from sidecar.pdp.store_activation import StorePolicy
from sidecar.server.clock import since_boot
from sidecar.sources import last_known_good
from sidecar.sources.policy_keys import PolicyKeysError
from sidecar.sources.policy_location import PolicyLocation
from sidecar.store.connection import Store, StoreUnavailableError
from sidecar.store.last_good_policy import LastGoodPolicy
from sidecar.store.live.replica import RecordReplica
from sidecar.store.policy_generations import PolicyGenerations
from sidecar.telemetry.app_log import logger
from sidecar.telemetry.check_recorder import CheckRecorder
from sidecar.telemetry.task_supervision import Work
from sidecar.tokens.opaque import Pepper

ATTEMPTS: Final = 40
RETRY_SECONDS: Final = 0.25

_log = logger("policy")


class PolicyStartError(Exception):
    """Raised for a start without a usable policy. ``lines``: messages for the operator."""

    def __init__(self, *lines: str) -> None:
        super().__init__(lines[0] if lines else "")
        self.lines = lines


@dataclass(frozen=True, slots=True)
class StartedPolicy:
    """Policy of this process: ``holder`` for operators, ``served`` for requests; ``stored`` if the store has it.

    ``last_good``: copy of the files in the store, for pods without state.
    """

    holder: PolicyHolder
    served: ServedPolicy
    files: Activation | None = None
    stored: StorePolicy | None = None
    last_good: StoredLastGood | None = None

    async def confirm(self, *, force: bool) -> bool:
        """Run the gates on the generation of the files. Those of the store were accepted by every sidecar."""
        return self.files is None or await self.files.confirm(force=force)

    def attach(self, live: RecordReplica, recorder: CheckRecorder) -> None:
        """Follow the feed of partition 0, if the store has the policy. ``recorder``: source of shadows."""
        if self.stored is not None:
            self.stored.attach(live.fleet.id, live.records.lease(0))
            self.stored.shadow.attach(live.fleet.id, partial(setattr, recorder, "shadow"))
            live.followers.append(self.stored)
            live.fleet.set_facts(source=PolicySource.STORE.value)

    def work(self) -> Iterable[tuple[str, Work]]:
        """Return the tasks that follow the source."""
        if self.stored is not None:
            policy = self.stored
            follow = ("policy of the store", policy.watch), ("policy candidates", policy.answer)
            return *follow, ("policy shadow", policy.shadow.run)
        return (("policy watch", self.files.watch),) if self.files is not None else ()

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.stored.warnings if self.stored is not None else ()

    def check(self) -> HealthCheck:
        """Return the health of the policy, for probes."""
        if self.served.generation is None:
            problem = self.stored.problem if self.stored is not None else ""
            return HealthCheck(False, problem or "no policy is active")
        if self.stored is not None and self.stored.problem:
            return HealthCheck(True, self.stored.problem, degraded=True)
        return HealthCheck(True)


def _signatures(settings: Settings) -> SignatureCheck:
    try:
        return SignatureCheck(settings.policy_keys)
    except PolicyKeysError as problem:
        raise PolicyStartError(f"sidecar: SIDECAR_POLICY_KEYS: {problem}") from None


async def policy_of_files(settings: Settings, make: Callable[..., Activation], *, force: bool) -> StartedPolicy:
    """Start the policy of the files or of the state directory. Its generation is None if neither has one.

    ``make``: with or without traces.
    """
    if settings.without_policy:
        await asyncio.to_thread(last_known_good.report_another, settings.state_dir, settings.policy_dir, settings.model)
    policy = make(
        settings.policy_dir,
        settings.model,
        state_dir=settings.state_dir,
        clock=time.time,
        signatures=_signatures(settings),
    )
    await policy.start(force=force)
    return StartedPolicy(policy, policy, files=policy)


async def with_last_good(policy: StartedPolicy, record: LastGoodPolicy) -> StartedPolicy:
    """Serve the store's last good policy if files and state directory have none. Raises PolicyStartError."""
    files = policy.files
    assert files is not None  # noqa: S101 - the store's own generations need no other copy
    last_good = StoredLastGood(record, files.signature)
    files.stored = last_good.read
    if not await started(files):
        raise PolicyStartError(*(str(files.location.shown(found)) for found in files.diagnostics))
    return replace(policy, last_good=last_good)


async def started(policy: Activation) -> bool:
    """Return whether a generation is active. If none is, look into the store, and wait ten seconds for it."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return policy.generation is not None or await policy.start_from_store()
        except StoreUnavailableError as problem:
            if problem.misconfigured or attempt == ATTEMPTS:
                _log.error(
                    "the policy files are rejected, and no good policy could be read from the store", error=str(problem)
                )
                break
            await asyncio.sleep(RETRY_SECONDS)
    return False


async def policy_of_store(
    settings: Settings, store: Store, pepper: Pepper, make: Callable[..., StorePolicy], *, force: bool
) -> StartedPolicy:
    """Start the policy of the store with the kept generation, if there is one. ``make``: with or without traces.

    Raises PolicyStartError.
    """
    if force:
        raise PolicyStartError("sidecar: --force-policy needs SIDECAR_POLICY_SOURCE=files: the store's is never forced")
    policy = make(
        PolicyLocation(settings.policy_dir, settings.model),
        PolicyGenerations(store, pepper),
        pepper,
        state_dir=settings.state_dir,
        clock=time.time,
        monotonic=since_boot,
        signatures=_signatures(settings),
    )
    await policy.start()
    return StartedPolicy(policy, LeasedPolicy(policy), stored=policy)
