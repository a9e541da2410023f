"""Metrics: counted in plain integers, shown as Prometheus text, no label value from a request."""

import sys

import pytest

from sidecar.domain.decision import Decision, Reason
from sidecar.telemetry.metrics import Metrics


def test_checks_are_counted_by_decision_reason_and_duration() -> None:
    metrics = Metrics("1.2.3")
    allowed = metrics.checks.counter("/check", Decision(Reason.ALLOWED, "g"), "billing")
    denied = metrics.checks.counter("/check", Decision(Reason.NO_RULE, "g"), "")
    metrics.checks.count([allowed, denied, allowed], [0.00002, 5.0, 0.003])
    metrics.checks.count([allowed], [0.000025])
    text = metrics.exposition().decode()
    assert 'sidecar_checks_total{decision="allow",endpoint="/check",reason="allowed",section="billing"} 3.0' in text
    assert 'sidecar_checks_total{decision="deny",endpoint="/check",reason="no_rule",section=""} 1.0' in text
    assert 'sidecar_check_duration_seconds_bucket{le="2.5e-05"} 2.0' in text
    assert 'sidecar_check_duration_seconds_bucket{le="0.005"} 3.0' in text
    assert 'sidecar_check_duration_seconds_bucket{le="+Inf"} 4.0' in text
    assert "sidecar_check_duration_seconds_count 4.0" in text
    assert "sidecar_check_duration_seconds_sum 5.003045" in text
    assert 'sidecar_build_info{version="1.2.3"} 1.0' in text


def test_two_sidecars_in_one_process_do_not_share_numbers() -> None:
    first, second = Metrics("1"), Metrics("2")
    first.checks.count([first.checks.counter("/check", Decision(Reason.ALLOWED, "g"), "")], [0.1])
    assert "sidecar_checks_total{" not in second.exposition().decode()


def test_gauges_are_read_when_scraped() -> None:
    metrics = Metrics("1")
    depth = [3]
    metrics.watch_hash_queue(lambda: depth[0])
    assert "sidecar_hash_queue_depth 3.0" in metrics.exposition().decode()
    depth[0] = 7
    assert "sidecar_hash_queue_depth 7.0" in metrics.exposition().decode()


def test_requests_are_counted_by_row_and_status() -> None:
    metrics = Metrics("1")
    for status in (200, 200, 404):
        metrics.requests.count("/v1/me", status, 0.001)
    text = metrics.exposition().decode()
    assert 'sidecar_http_requests_total{endpoint="/v1/me",status="200"} 2.0' in text
    assert 'sidecar_http_requests_total{endpoint="/v1/me",status="404"} 1.0' in text


def test_copies_are_read_when_scraped() -> None:
    metrics = Metrics("1")
    copies = [2]
    metrics.watch_record_copies(lambda: copies[0])
    assert "sidecar_record_copies 2.0" in metrics.exposition().decode()
    copies[0] = 3
    assert "sidecar_record_copies 3.0" in metrics.exposition().decode()


@pytest.mark.skipif(sys.platform != "linux", reason="the library reads /proc")
def test_the_process_is_told_of_only_when_it_is_the_only_one() -> None:
    text = Metrics("1", process=True).exposition().decode()
    for name in ("resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds", "cpu_seconds_total"):
        assert f"\nprocess_{name} " in text
    assert "process_" not in Metrics("1").exposition().decode(), "workers' numbers are added up"
