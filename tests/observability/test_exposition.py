"""Metrics as Prometheus' own checker reads them, of one process and of a supervisor."""

import subprocess
from pathlib import Path

from sidecar.domain.decision import Decision, Reason
from sidecar.server.workers.metrics_aggregation import MetricsAggregator
from sidecar.telemetry.metrics import IssuerHealth, Metrics
from sidecar.telemetry.operating_metrics import WatchedGauge


def full() -> Metrics:
    """Return metrics in which every family has a sample."""
    metrics = Metrics("1.2.3", process=True)
    counter = metrics.checks.counter("/check", Decision(Reason.ALLOWED, "g"), "billing")
    metrics.checks.count([counter], [0.0001])
    metrics.requests.count("/token", 200, 0.02)
    for labelled in (metrics.store_errors, metrics.logins, metrics.step_ups, metrics.task_restarts):
        labelled.labels("one").inc()
    metrics.store_requests.labels("read").observe(0.0002)
    metrics.factor_changes.labels("totp", "added").inc()
    metrics.mails.labels("user", "sent").inc()
    metrics.spans_dropped.labels("queue_full").inc()
    metrics.policy.info({"generation": "g"})
    metrics.watch_issuers(lambda: [IssuerHealth("https://login.example", failing=True, left_out=2, missing=1)])
    metrics.store_states.names, metrics.store_states.states = ("ok", "out"), lambda: {0: "ok"}
    metrics.store_states.warnings = lambda: {"eviction": 1}
    metrics.operation.watch_mails({"user": lambda: 1})
    for gauge in WatchedGauge:
        metrics.operation.watch(gauge, lambda: 1.5)
    return metrics


def test_every_family_has_a_sample() -> None:
    assert [family.name for family in full()._registry.collect() if not family.samples] == []


def test_promtool_has_no_word_about_the_metrics(promtool: str) -> None:
    one = full().exposition()
    aggregator, worker = MetricsAggregator(), Path("/0.sock")
    aggregator.begins(worker)
    summed = aggregator.exposition([(worker, one.decode())])
    for text in (one, summed):
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
