"""The ops listener: readiness as a status, as JSON, as Kubernetes' text and as a metric."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import to_builtins

from sidecar.api import health
from sidecar.pdp.health import HealthCheck
from sidecar.telemetry.metrics import Metrics

FINE = {"store": HealthCheck(True), "policy": HealthCheck(True)}


@pytest.mark.parametrize(("found", "ready"), [([], 1.0), (["store"], 0.0), (["draining"], 0.0)])
async def test_the_metric_is_what_readyz_answers(found: list[str], ready: float) -> None:
    call: Any = SimpleNamespace(
        app=SimpleNamespace(metrics=Metrics("1"), health=SimpleNamespace(failing_checks=lambda: found))
    )
    body = (await health.metrics(call)).body
    assert isinstance(body, bytes)
    assert f"\nsidecar_ready {ready}\n" in body.decode()


def test_R49_ready_is_200_and_names_every_check() -> None:
    reply = health.readiness(FINE, {})
    assert (reply.status, to_builtins(reply.body)) == (200, {"status": "ok", "checks": {"store": "ok", "policy": "ok"}})


def test_R49_a_failing_check_is_503_with_its_name_and_detail() -> None:
    reply = health.readiness({**FINE, "store": HealthCheck(False, "partition 00 store_out: no answer")}, {})
    assert reply.status == 503
    assert to_builtins(reply.body) == {
        "status": "unavailable",
        "checks": {"store": "partition 00 store_out: no answer", "policy": "ok"},
        "failing": ["store"],
    }
    assert ("Retry-After", "1") in reply.headers


def test_R49_a_minority_without_an_answer_is_degraded_and_200() -> None:
    reply = health.readiness(
        {**FINE, "store": HealthCheck(True, "partition 03 store_out: no answer", degraded=True)}, {}
    )
    assert (reply.status, to_builtins(reply.body)["status"]) == (200, "degraded")


def test_R49_verbose_is_kubernetes_text() -> None:
    checks = {
        "store": HealthCheck(False, "partition 00 store_changed: it is empty"),
        "feed": HealthCheck(True, "behind in partition 01", degraded=True),
        "policy": HealthCheck(True),
    }
    reply = health.readiness(checks, {"verbose": "", "exclude": "policy,moon"})
    assert isinstance(reply.body, bytes)
    assert reply.body.decode() == (
        "[-]store failed: partition 00 store_changed: it is empty\n"
        "[+]feed degraded: behind in partition 01\n"
        "[+]policy excluded: ok\n"
        'warn: some health checks cannot be excluded: no matches for "moon"\n'
        "readyz check failed\n"
    )
    assert ("Content-Type", "text/plain; charset=utf-8") in reply.headers


def test_R49_an_excluded_check_does_not_fail_the_probe() -> None:
    reply = health.readiness({**FINE, "store": HealthCheck(False, "out")}, {"exclude": "store"})
    assert (reply.status, json.dumps(to_builtins(reply.body))) == (
        200,
        '{"status": "ok", "checks": {"store": "out", "policy": "ok"}}',
    )
