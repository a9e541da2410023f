"""The operator's listener: is it alive, may it be asked, what is it doing. Read-only; no gateway can reach it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from sidecar.domain.problems import Problem
from sidecar.http.request import Call, Endpoint, Gate, Reply
from sidecar.pdp.health import Check

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"


class Health(msgspec.Struct, frozen=True):
    """``checks``: each check's detail, ``ok`` when it passes. ``failing``: those that fail, by name."""

    status: str
    checks: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    failing: list[str] | msgspec.UnsetType = msgspec.UNSET


class StatusReport(msgspec.Struct, frozen=True):
    version: str
    uptime_s: float
    generation: str | None
    state: str
    loaded_at: str | None
    diagnostics: list[dict[str, Any]]
    fleet: list[dict[str, Any]]
    store: str
    store_address: str
    store_state: str
    store_reason: str
    warnings: list[str]
    lag_s: float | None


class ReadinessQuery(msgspec.Struct, frozen=True):
    """As Kubernetes' own health endpoints have it. ``exclude``: names of checks, separated by commas."""

    verbose: str | msgspec.UnsetType = msgspec.UNSET
    exclude: str | msgspec.UnsetType = msgspec.UNSET


async def livez(_call: Call[None]) -> Reply:
    """200 while the loop turns: a failing store is no reason to restart the process."""
    return Reply(200, {"status": "ok"})


async def readyz(call: Call[None]) -> Reply | Problem:
    """200 only when most known users' checks would be answered; 503 names what fails.

    ``?verbose``: text in Kubernetes' form. ``?exclude=NAME[,NAME]``: without those checks. Others are ignored.
    """
    return readiness(call.parts.vitals.checks(), call.query)


def readiness(checks: Mapping[str, Check], query: Mapping[str, str]) -> Reply:
    """Of one sidecar, or of the workers of one as a whole."""
    excluded = {name for name in query.get("exclude", "").split(",") if name}
    failing = [name for name, check in checks.items() if not check.ok and name not in excluded]
    headers = (("Retry-After", "1"),) if failing else ()
    if "verbose" in query:
        text = "\n".join([*_verbose(checks, excluded), f"readyz check {'failed' if failing else 'passed'}", ""])
        return Reply(503 if failing else 200, text.encode(), (*headers, ("Content-Type", PLAIN)))
    degraded = any(check.degraded for name, check in checks.items() if name not in excluded)
    state = "unavailable" if failing else "degraded" if degraded else "ok"
    body: dict[str, Any] = {"status": state, "checks": {name: check.detail for name, check in checks.items()}}
    return Reply(503 if failing else 200, {**body, "failing": failing} if failing else body, headers)


def _verbose(checks: Mapping[str, Check], excluded: Collection[str]) -> Iterator[str]:
    for name, check in checks.items():
        if name in excluded:
            yield f"[+]{name} excluded: ok"
        elif check.ok:
            yield f"[+]{name} {'degraded: ' + check.detail if check.degraded else 'ok'}"
        else:
            yield f"[-]{name} failed: {check.detail}"
    for name in sorted(excluded - checks.keys()):
        yield f'warn: some health checks cannot be excluded: no matches for "{name[:40]}"'


async def status(call: Call[None]) -> Reply:
    """One flat object: README, "Watching it"."""
    report: dict[str, Any] = await call.parts.vitals.report()
    return Reply(200, report)


async def metrics(call: Call[None]) -> Reply:
    """Prometheus text."""
    call.parts.metrics.ready.set(not call.parts.vitals.failing())
    return Reply(200, call.parts.metrics.exposition(), (("Content-Type", PROMETHEUS),))


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/livez", Gate.OPEN, livez, "The loop turns", answer=Health),
    Endpoint(
        "GET",
        "/readyz",
        Gate.OPEN,
        readyz,
        "It can answer checks",
        statuses=(200, 503),
        answer=Health,
        query=ReadinessQuery,
        text="[+]store ok\n[+]feed ok\nreadyz check passed\n",
    ),
    Endpoint("GET", "/status", Gate.OPEN, status, "Version, generation, fleet, store", answer=StatusReport),
    Endpoint("GET", "/metrics", Gate.OPEN, metrics, "Prometheus metrics"),
)
