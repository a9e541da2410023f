"""Health checks for probes, and the report of ``/status``. Read-only."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

from sidecar.pdp.candidate_progress import CandidateProgress
from sidecar.pdp.policy_holder import PolicyHolder
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.generation import Generation
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.generation_records import ActiveRecord
from sidecar.store.integrity.partition_state import PartitionState, PartitionStates, cause_of, unavailable_share

MAJORITY: Final = 0.5
"""Share of known users without decisions above which the sidecar is not ready (R49)."""


UNFINISHED: Final = "a restore is running or was interrupted: run `sidecar restore` again"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Result of one health check. ``degraded``: it passes, and ``detail`` describes a failure for a minority."""

    ok: bool
    detail: str = "ok"
    degraded: bool = False


class StoredPolicy(Protocol):
    """Subset of a policy of the store. Protocol: this module does not follow the store."""

    @property
    def record(self) -> ActiveRecord | None: ...
    @property
    def problem(self) -> str: ...
    async def candidate(self) -> CandidateProgress | None: ...


class RecentDenial(msgspec.Struct, frozen=True):
    """Last denial of one kind that an operator can fix (http/denial_causes.py), and the number of its kind.

    ``age_s``: seconds since then.
    """

    kind: str
    endpoint: str
    detail: str
    count: int
    age_s: float


class StatusReport(msgspec.Struct, frozen=True):
    """Body of ``/status``: one flat object. ``time_zones``: version of their rules, if the policy has hours.

    ``policy_revision``, ``policy_counter``: of a generation of the store. ``policy_problem``: why it is not served.
    ``candidate``: a generation that is being applied.
    ``denials``: added by the endpoint.
    """

    version: str
    uptime_s: float
    generation: str | None
    state: str
    loaded_at: str | None
    diagnostics: Sequence[Diagnostic]
    fleet: list[dict[str, Any]]
    store: str
    store_address: str
    store_state: str
    store_reason: str
    warnings: list[str]
    lag_s: float | None
    time_zones: str | None
    policy_source: str
    policy_revision: int | None
    policy_counter: int | None
    policy_problem: str
    candidate: dict[str, Any] | None
    denials: list[RecentDenial] = []


@dataclass(slots=True)
class Health:
    """Inputs of the health checks.

    ``proven``: the store was reached and its identity matches (R22, R23). Before that, it is neither read nor written.
    ``lags``: seconds since the last message of each partition's feed. ``known_users``: users seen, by partition.
    ``fleet`` lists the live sidecars. ``restoring``: a restore is incomplete. ``warnings``: conditions that weaken a
    guarantee of the store, as sentences. ``store_address`` contains no secret. ``policy_check``: check of the policy,
    ``stored``: the policy of the store, if SIDECAR_POLICY_SOURCE is store.
    """

    version: str
    policy: PolicyHolder
    states: PartitionStates
    lags: Callable[[], Mapping[int, float]]
    known_users: Callable[[], Mapping[int, int]]
    fleet: Callable[[], Awaitable[list[dict[str, Any]]]]
    lease: float
    store_address: str
    clock: Callable[[], float]
    restoring: Callable[[], bool] = lambda: False
    warnings: Callable[[], Sequence[str]] = tuple
    policy_check: Callable[[], HealthCheck] | None = None
    stored: StoredPolicy | None = None
    started_at: float = field(init=False)
    proven: bool = False
    draining: bool = False

    def __post_init__(self) -> None:
        self.started_at = self.clock()

    def checks(self) -> dict[str, HealthCheck]:
        """Return all checks by name, in display order."""
        return {
            "store": self._store(),
            "feed": self._feed(),
            "policy": self._policy(),
            "draining": HealthCheck(False, "the sidecar is stopping") if self.draining else HealthCheck(True),
        }

    def failing_checks(self) -> list[str]:
        """Return the names of the failed checks; empty means ready."""
        return [name for name, check in self.checks().items() if not check.ok]

    async def report(self) -> StatusReport:
        policy, store = self.policy, self._store()
        state, reason = self._store_state()
        lags = self.lags()
        record = self.stored.record if self.stored else None
        return StatusReport(
            version=self.version,
            uptime_s=round(self.clock() - self.started_at, 3),
            generation=policy.generation.id if policy.generation else None,
            state=policy.state.value,
            loaded_at=datetime.fromtimestamp(policy.loaded_at, UTC).isoformat() if policy.loaded_at else None,
            diagnostics=policy.diagnostics,
            fleet=await self._fleet() if store.ok else [],
            store="ok" if store.ok else "unavailable",
            store_address=self.store_address,
            store_state=state.value,
            store_reason=reason,
            warnings=list(self.warnings()),
            lag_s=round(max(lags.values()), 3) if store.ok and lags else None,
            time_zones=_time_zones(policy.generation),
            policy_source="store" if self.stored else "files",
            policy_revision=record.revision if record else None,
            policy_counter=record.terms.counter if record else None,
            policy_problem=self.stored.problem if self.stored else "",
            candidate=await self._candidate() if store.ok else None,
        )

    def _policy(self) -> HealthCheck:
        if self.policy_check is not None:
            return self.policy_check()
        return HealthCheck(True) if self.policy.generation else HealthCheck(False, "no policy is active")

    def _store(self) -> HealthCheck:
        if not self.proven:
            return HealthCheck(False, "not reached yet")
        states = self.states.all()
        bad = {partition: status for partition, status in states.items() if status.state is not PartitionState.OK}
        if not states:
            return HealthCheck(False, "not reached yet")
        if not bad:
            return HealthCheck(False, UNFINISHED) if self.restoring() else HealthCheck(True)
        detail = "; ".join(f"partition {p:02d} {cause_of(status.state)}: {status.reason}" for p, status in bad.items())
        users = self.known_users()
        share = unavailable_share((status, users.get(partition, 0)) for partition, status in states.items())
        return HealthCheck(share <= MAJORITY, detail, degraded=share <= MAJORITY)

    def _feed(self) -> HealthCheck:
        lags = self.lags()
        late = [f"{partition:02d}" for partition, lag in lags.items() if lag > self.lease]
        if not lags or len(late) > len(lags) * MAJORITY:
            return HealthCheck(False, "the change feed is behind")
        if late:
            return HealthCheck(True, f"the change feed is behind in partition {', '.join(late)}", degraded=True)
        return HealthCheck(True)

    def _store_state(self) -> tuple[PartitionState, str]:
        """Return state and reason of the partition with the worst state."""
        found = [*self.states.all().values()] or [self.states.status(0)]
        worst = max(found, key=lambda status: list(PartitionState).index(status.state))
        return worst.state, worst.reason

    async def _candidate(self) -> dict[str, Any] | None:
        """Return the generation that is being applied, with the answer of each sidecar."""
        try:
            found = await self.stored.candidate() if self.stored else None
        except StoreUnavailableError:
            return None
        return found.described() if found else None

    async def _fleet(self) -> list[dict[str, Any]]:
        try:
            return await self.fleet()
        except StoreUnavailableError:
            return []


def _time_zones(generation: Generation | None) -> str | None:
    if generation is None or not generation.needs.packed.dimensions.times.zones:
        return None
    from sidecar.policy.needs import zones  # noqa: PLC0415 - it takes milliseconds to import

    return zones.version()
