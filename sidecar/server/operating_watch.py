"""Sources of the metrics of operation: gauges that are read at each scrape, and tasks that measure off their path."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from time import monotonic, perf_counter
from typing import Any, Final

from sidecar.identity.hash_limits import MailSource
from sidecar.identity.outbox import Outbox
from sidecar.server.key_watcher import KeyWatcher
from sidecar.store.audit_export import Exporter
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.live.memory_pressure import MemoryPressure
from sidecar.store.live.replica import RecordReplica
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.operating_metrics import WatchedGauge

LOOP_SECONDS: Final = 0.25
FLEET_SECONDS: Final = 10.0


def watch_operation(
    metrics: Metrics, *, live: RecordReplica, keyring: KeyWatcher, memory: MemoryPressure, outbox: Outbox | None
) -> None:
    """Connect the gauges to the parts of a serving process. Nothing is read before a scrape."""
    operation = metrics.operation
    operation.watch(WatchedGauge.SIGNING_KEY_TIME, lambda: keyring.keys.made_at)
    operation.watch(WatchedGauge.STORE_MEMORY, lambda: memory.share)
    operation.watch(WatchedGauge.COPIES_AGE, lambda: copies_age(live))
    live.fleet.on_incomplete = operation.revocations_incomplete.inc
    if outbox is not None:
        operation.watch_mails({source.value: _waiting(outbox, source) for source in MailSource})


def watch_export(metrics: Metrics, exporter: Exporter) -> None:
    """Connect the age of the audit's last export. An export that another sidecar makes counts as one."""
    metrics.operation.watch(WatchedGauge.AUDIT_EXPORT_AGE, lambda: monotonic() - exporter.exported_at)


def copies_age(live: RecordReplica) -> float:
    """Return the seconds since feed and registration last confirmed the copies of the partition furthest behind."""
    records = live.records
    return records.clock() + records.lease_seconds - min((one.until for one in records.leases.values()), default=-inf)


def _waiting(outbox: Outbox, source: MailSource) -> Callable[[], int]:
    return lambda: outbox.waiting(source)


class FleetSize:
    """Number of live sidecars, read from the store every ten seconds; unknown while the store does not respond."""

    def __init__(self, metrics: Metrics, members: Callable[[], Awaitable[Sequence[Any]]]) -> None:
        self._members = members
        self._size: int | None = None
        metrics.operation.watch(WatchedGauge.FLEET_MEMBERS, lambda: self._size)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.read()
            await asyncio.sleep(FLEET_SECONDS)

    async def read(self) -> None:
        """Read the size once."""
        try:
            self._size = len(await self._members())
        except StoreUnavailableError:
            self._size = None


async def watch_loop(observe: Callable[[float], None]) -> None:
    """Measure how late a timer is, four times per second until cancelled."""
    while True:
        due = perf_counter() + LOOP_SECONDS
        await asyncio.sleep(LOOP_SECONDS)
        observe(max(0.0, perf_counter() - due))
