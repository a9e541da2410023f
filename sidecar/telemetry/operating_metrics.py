"""Metrics for alerts about operation: audit, mails, revocations, keys, fleet, embedded store, memory, event loop.

Gauges are read at each scrape, and counters are incremented off the path of checks.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

STORE_BUCKETS: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
)
"""Seconds. A script takes 0.1 to 0.3 ms on a server nearby; a read ends after 0.4 s, a write after 2 s."""

HASH_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds, with the wait for a thread. One hash takes about 20 ms."""

LOOP_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds that a timer of the event loop is late."""


class WatchedGauge(StrEnum):
    """Gauges that are read at each scrape. A gauge without a source has no sample."""

    AUDIT_EXPORT_AGE = "sidecar_audit_export_age_seconds"
    SIGNING_KEY_TIME = "sidecar_signing_key_timestamp_seconds"
    TLS_EXPIRY_TIME = "sidecar_tls_expiry_timestamp_seconds"
    FLEET_MEMBERS = "sidecar_fleet_members"
    STORE_MEMORY = "sidecar_store_memory_ratio"
    COPIES_AGE = "sidecar_record_copies_age_seconds"


_HELP: Final[Mapping[WatchedGauge, str]] = {
    WatchedGauge.AUDIT_EXPORT_AGE: "Time since the audit was last found exported",
    WatchedGauge.SIGNING_KEY_TIME: "Last write of the signing key's file, in Unix seconds",
    WatchedGauge.TLS_EXPIRY_TIME: "End of the certificate in force, in Unix seconds",
    WatchedGauge.FLEET_MEMBERS: "Live sidecars registered in the store",
    WatchedGauge.STORE_MEMORY: "Used share of the store's maxmemory; 0 when unknown",
    WatchedGauge.COPIES_AGE: "Time since the store last confirmed the live records in memory",
}


class OperatingMetrics(Collector):
    """Metrics of one process: the gauges of `WatchedGauge`, and counters beside them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._watched: dict[WatchedGauge, Callable[[], float | None]] = {}
        self._mails: Mapping[str, Callable[[], int]] = {}
        registry.register(self)
        self.revocations_incomplete = Counter(
            "sidecar_revocations_incomplete",
            "Changes whose effect on every sidecar is not confirmed",
            registry=registry,
        )
        self.embedded_restarts = Counter(
            "sidecar_embedded_store_restarts", "Starts of the embedded store after an exit", registry=registry
        )
        self.hash_duration = Histogram(
            "sidecar_hash_duration_seconds",
            "Duration of password hashing, with the wait for a thread",
            buckets=HASH_BUCKETS,
            registry=registry,
        )
        self.loop_lag = Histogram(
            "sidecar_event_loop_lag_seconds", "Delay of event loop timers", buckets=LOOP_BUCKETS, registry=registry
        )

    def watch(self, gauge: WatchedGauge, read: Callable[[], float | None]) -> None:
        """Read ``gauge`` at each scrape. None: the value is unknown, and the gauge has no sample."""
        self._watched[gauge] = read

    def watch_mails(self, waiting: Mapping[str, Callable[[], int]]) -> None:
        """Read the queued mails by source at each scrape."""
        self._mails = waiting

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for gauge, text in _HELP.items():
            family = GaugeMetricFamily(gauge.value, text)
            value = self._watched[gauge]() if gauge in self._watched else None
            if value is not None:
                family.add_metric((), value)
            yield family
        mails = GaugeMetricFamily("sidecar_mails_waiting", "Queued mails that are not sent yet", labels=("source",))
        for source, count in self._mails.items():
            mails.add_metric((source,), count())
        yield mails
