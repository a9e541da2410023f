"""Prometheus metrics: names ``sidecar_*``, base units, labels from closed sets only.

Checks are counted in plain integers and become samples at a scrape, because a prometheus-client ``inc()`` costs more
than the decision.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from sidecar.domain.decision import Decision, Reason, Verdict
from sidecar.telemetry.operating_metrics import STORE_BUCKETS, OperatingMetrics
from sidecar.telemetry.request_metrics import RequestCounter

CHECK_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)
"""Seconds. A cached check takes tens of microseconds, a check that reads the store a fraction of a millisecond."""

CheckLabels = tuple[str, str, Reason]
"""Endpoint, section, reason. The section is defined by the policy or empty, so requests cannot create labels."""

Count = list[int]
"""Counter of one number, incremented in place."""


class CheckCounter(Collector):
    """Checks by outcome, and their durations. Not thread-safe: only the event loop counts."""

    def __init__(self) -> None:
        self._counters: defaultdict[CheckLabels, Count] = defaultdict(lambda: [0])
        self._buckets = [0] * (len(CHECK_BUCKETS) + 1)
        self._seconds = 0.0

    def counter(self, endpoint: str, decision: Decision, section: str) -> Count:
        """Return the counter of this kind of check. ``section``: defined by the policy in force, or empty."""
        return self._counters[endpoint, section, decision.reason]

    def count(self, counters: Iterable[Count], seconds: Sequence[float]) -> None:
        """Count many checks: one counter and one duration (seconds) per check."""
        for counter in counters:
            counter[0] += 1
        self._seconds += sum(seconds)
        ascending = sorted(seconds)
        below = 0
        for bucket, bound in enumerate(CHECK_BUCKETS):
            within = bisect_right(ascending, bound, below)
            self._buckets[bucket] += within - below
            below = within
        self._buckets[-1] += len(ascending) - below

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        checks = CounterMetricFamily(
            "sidecar_checks", "Completed checks", labels=("endpoint", "section", "decision", "reason")
        )
        for (endpoint, section, reason), (count,) in self._counters.items():
            decision = "allow" if reason.verdict is Verdict.ALLOW else "deny"
            checks.add_metric((endpoint, section, decision, reason.value), count)
        yield checks
        duration = HistogramMetricFamily("sidecar_check_duration_seconds", "Time from request to decision")
        duration.add_metric((), list(self._cumulative()), self._seconds)
        yield duration

    def _cumulative(self) -> Iterable[tuple[str, int]]:
        total = 0
        for bound, count in zip((*map(str, CHECK_BUCKETS), "+Inf"), self._buckets, strict=True):
            total += count
            yield bound, total


@dataclass(frozen=True, slots=True)
class IssuerHealth:
    """State of an external issuer of the operator's file.

    ``failing``: its keys are unusable. ``left_out``: number of its unusable keys. ``missing``: number of its entry's
    accounts that do not exist.
    """

    issuer: str
    failing: bool
    left_out: int
    missing: int


class IssuersCollector(Collector):
    """External issuers of the operator's file. ``health`` is called at each scrape."""

    def __init__(self) -> None:
        self.health: Callable[[], Iterable[IssuerHealth]] = tuple

    def collect(self) -> Iterator[GaugeMetricFamily]:
        failing = GaugeMetricFamily(
            "sidecar_issuer_keys_failing",
            "1 while the keys of an external issuer are unreadable, or none is usable",
            labels=("issuer",),
        )
        left_out = GaugeMetricFamily(
            "sidecar_issuer_keys_left_out", "Unusable keys of an external issuer", labels=("issuer",)
        )
        missing = GaugeMetricFamily(
            "sidecar_issuer_accounts_missing", "Accounts of an issuer's entry that do not exist", labels=("issuer",)
        )
        for one in self.health():
            failing.add_metric((one.issuer,), one.failing)
            left_out.add_metric((one.issuer,), one.left_out)
            missing.add_metric((one.issuer,), one.missing)
        yield from (failing, left_out, missing)


class StoreStates(Collector):
    """State of each partition as six series of 0 or 1, and the store warnings. Read at each scrape."""

    def __init__(self) -> None:
        self.states: Callable[[], Mapping[int, str]] = dict
        self.names: Sequence[str] = ()
        self.warnings: Callable[[], Mapping[str, int]] = dict

    def collect(self) -> Iterator[GaugeMetricFamily]:
        states = GaugeMetricFamily(
            "sidecar_store_state", "1 for the current state of a store partition", labels=("partition", "state")
        )
        for partition, current in self.states().items():
            for name in self.names:
                states.add_metric((f"{partition:02d}", name), float(name == current))
        yield states
        warnings = GaugeMetricFamily(
            "sidecar_store_warnings", "Warnings about the store's configuration", labels=("kind",)
        )
        for kind, count in self.warnings().items():
            warnings.add_metric((kind,), count)
        yield warnings


class Metrics:
    """All metrics in their own registry: two sidecars in one process do not share numbers.

    ``process``: add ``process_*``. Not for one of several workers, because their numbers are added up: a sum of start
    times or of limits has no meaning.
    """

    def __init__(self, version: str, *, process: bool = False) -> None:
        self._registry = registry = CollectorRegistry()
        if process:
            ProcessCollector(registry=registry)
        self.checks = CheckCounter()
        registry.register(self.checks)
        self._store(registry)
        self._files(registry)
        self._identity(registry)
        self.requests = RequestCounter()
        registry.register(self.requests)
        self._losses(registry)
        self.ready = Gauge("sidecar_ready", "1 when /readyz returns 200", registry=registry)
        self.connections_refused = Counter(
            "sidecar_connections_refused", "Connections closed at the connection limit", registry=registry
        )
        self._issuers = IssuersCollector()
        registry.register(self._issuers)
        self.task_restarts = Counter(
            "sidecar_task_restarts", "Background tasks restarted after a failure", ["task"], registry=registry
        )
        self._settle: Callable[[], None] = lambda: None
        Info("sidecar_build", "Version of the program", registry=registry).info({"version": version})
        self._watched(registry)
        self.operation = OperatingMetrics(registry)

    def _store(self, registry: CollectorRegistry) -> None:
        """Register the metrics of the store and its feed."""
        self.store_requests = Histogram(
            "sidecar_store_request_duration_seconds",
            "Duration of store requests",
            ["operation"],
            buckets=STORE_BUCKETS,
            registry=registry,
        )
        self.store_errors = Counter(
            "sidecar_store_errors", "Store requests without a response", ["operation"], registry=registry
        )
        self.store_states = StoreStates()
        registry.register(self.store_states)
        self.store_regressions = Counter(
            "sidecar_store_regressions", "Times a store partition returned with older data", registry=registry
        )
        self.store_lag = Gauge(
            "sidecar_store_lag_seconds", "Time since the last message of the change feed", registry=registry
        )

    def _losses(self, registry: CollectorRegistry) -> None:
        """Register the metrics of telemetry that was lost."""
        self.decision_log_dropped = Counter(
            "sidecar_decision_log_dropped", "Decision records dropped because the log was too slow", registry=registry
        )
        self.spans_dropped = Counter(
            "sidecar_spans_dropped", "Spans of traces that were not exported", ["reason"], registry=registry
        )

    def _identity(self, registry: CollectorRegistry) -> None:
        """Register the metrics of sign-ins, second factors and mails."""
        self.logins = Counter("sidecar_logins", "Sign-ins by outcome", ["outcome"], registry=registry)
        self.step_ups = Counter("sidecar_step_ups", "Step-ups of sessions by outcome", ["outcome"], registry=registry)
        factors = "Second factors confirmed or removed, by kind"
        self.factor_changes = Counter("sidecar_factor_changes", factors, ["kind", "change"], registry=registry)
        self.mails = Counter("sidecar_mails", "Mails by source and outcome", ["source", "outcome"], registry=registry)

    def _files(self, registry: CollectorRegistry) -> None:
        """Register the metrics of files that are reloaded while serving."""
        self.policy = Info("sidecar_policy", "The generation in force", registry=registry)
        self.policy_rejected = Gauge(
            "sidecar_policy_rejected", "1 while the policy files on disk are rejected", registry=registry
        )
        self.policy_reloaded = Gauge(
            "sidecar_policy_last_reload_timestamp_seconds", "Activation time of the generation", registry=registry
        )
        self.policy_reverted = Counter(
            "sidecar_policy_reverted", "Activations of an earlier generation", registry=registry
        )
        self.policy_behind = Gauge(
            "sidecar_policy_behind_seconds",
            "Time that another live sidecar has served a newer generation",
            registry=registry,
        )
        self.trusted_issuers_rejected = Gauge(
            "sidecar_trusted_issuers_rejected", "1 while the issuers file on disk is rejected", registry=registry
        )
        self.tls_rejected = Gauge(
            "sidecar_tls_rejected", "1 while the certificate on disk is rejected", registry=registry
        )
        self.store_url_rejected = Gauge(
            "sidecar_store_url_rejected", "1 while the store's URL on disk is rejected", registry=registry
        )

    def _watched(self, registry: CollectorRegistry) -> None:
        """Register metrics that are read at each scrape, so that the measured code does not depend on metrics."""
        self._hash_queue = Gauge("sidecar_hash_queue_depth", "Passwords waiting to be hashed", registry=registry)
        self._record_copies = Gauge("sidecar_record_copies", "Live records cached in memory", registry=registry)
        self._connections = Gauge("sidecar_connections", "Open connections", registry=registry)

    def dropped_spans(self, reason: str, count: int) -> None:
        self.spans_dropped.labels(reason).inc(count)

    def watch_hash_queue(self, depth: Callable[[], int]) -> None:
        self._hash_queue.set_function(depth)

    def watch_record_copies(self, copies: Callable[[], int]) -> None:
        self._record_copies.set_function(copies)

    def watch_connections(self, count: Callable[[], int]) -> None:
        self._connections.set_function(count)

    def watch_issuers(self, health: Callable[[], Iterable[IssuerHealth]]) -> None:
        self._issuers.health = health

    def watch_store_lag(self, lag: Callable[[], float]) -> None:
        self.store_lag.set_function(lag)

    def before_scrape(self, settle: Callable[[], None]) -> None:
        """Call ``settle`` before each scrape, to count checks that are recorded but not counted yet."""
        self._settle = settle

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus text format 0.0.4."""
        self._settle()
        return generate_latest(self._registry)


class WorkersMetrics:
    """Metrics of the supervisor about its workers, beside the workers' own metrics."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.alive = Gauge("sidecar_workers", "Workers that respond", registry=registry)
        self.restarts = Counter(
            "sidecar_worker_restarts", "Workers started after an unexpected exit", registry=registry
        )
        self.pause_left = Gauge(
            "sidecar_worker_restarts_paused_seconds",
            "Seconds until crashed workers are restarted again; 0 when restarts are not paused",
            registry=registry,
        )

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus text format 0.0.4."""
        return generate_latest(self._registry)
