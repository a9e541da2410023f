"""Metrics of operation: read at each scrape, absent while unknown, and one way of aggregation for each gauge."""

import pytest

from sidecar.server.workers.metrics_aggregation import ADDED, LARGEST, SMALLEST
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.operating_metrics import STORE_BUCKETS, WatchedGauge


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics._registry.get_sample_value(name, labels)


@pytest.mark.parametrize("gauge", WatchedGauge)
def test_a_gauge_is_absent_until_its_value_is_known(gauge: WatchedGauge) -> None:
    metrics, found = Metrics("1"), list[float | None]([None, 2.5])
    assert sample(metrics, gauge.value) is None
    metrics.operation.watch(gauge, lambda: found[0])
    assert sample(metrics, gauge.value) is None
    found.pop(0)
    assert sample(metrics, gauge.value) == 2.5


def test_queued_mails_are_read_by_source() -> None:
    metrics = Metrics("1")
    metrics.operation.watch_mails({"user": lambda: 3, "stranger": lambda: 0})
    assert sample(metrics, "sidecar_mails_waiting", source="user") == 3
    assert sample(metrics, "sidecar_mails_waiting", source="stranger") == 0


def test_requests_have_durations_by_endpoint() -> None:
    metrics = Metrics("1")
    for seconds in (0.0005, 0.003, 7.0):
        metrics.requests.count("/token", 200, seconds)
    metrics.requests.count("/v1/me", 200, 0.001)
    name = "sidecar_http_request_duration_seconds"
    assert sample(metrics, f"{name}_bucket", endpoint="/token", le="0.0005") == 1, "a bound is within its bucket"
    assert sample(metrics, f"{name}_bucket", endpoint="/token", le="0.005") == 2
    assert sample(metrics, f"{name}_bucket", endpoint="/token", le="2.5") == 2
    assert sample(metrics, f"{name}_bucket", endpoint="/token", le="+Inf") == 3
    assert sample(metrics, f"{name}_count", endpoint="/token") == 3
    assert sample(metrics, f"{name}_sum", endpoint="/token") == pytest.approx(7.0035)
    assert sample(metrics, f"{name}_count", endpoint="/v1/me") == 1


def test_store_requests_are_measured_from_100_microseconds() -> None:
    metrics = Metrics("1")
    metrics.store_requests.labels("read").observe(0.00009)
    assert STORE_BUCKETS[0] == 0.0001
    name = "sidecar_store_request_duration_seconds_bucket"
    assert sample(metrics, name, operation="read", le="0.0001") == 1


def test_each_gauge_has_one_way_of_aggregation() -> None:
    gauges = {f"{family.name}{'_info' if family.type == 'info' else ''}" for family in Metrics("1")._registry.collect()
              if family.type in {"gauge", "info"}}  # fmt: skip
    assert gauges == ADDED | LARGEST | SMALLEST
    assert not (ADDED & LARGEST or ADDED & SMALLEST or LARGEST & SMALLEST)
