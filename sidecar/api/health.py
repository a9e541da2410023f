"""Ops listener: liveness, readiness, status and metrics. Read-only, and unreachable for gateways."""

from collections.abc import Collection, Iterator, Mapping

import msgspec

from sidecar.domain.problems import Problem
from sidecar.http.denial_log import DENIAL_LOG
from sidecar.http.endpoint import Endpoint, Require
from sidecar.http.request import Request, Response
from sidecar.pdp.health import HealthCheck, StatusReport

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"


class ReadinessReport(msgspec.Struct, frozen=True):
    """Health. ``checks``: the detail of each check, ``ok`` if it passes. ``failing``: names of the failed ones."""

    status: str
    checks: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    failing: list[str] | msgspec.UnsetType = msgspec.UNSET


class ReadinessQuery(msgspec.Struct, frozen=True):
    """Query of Kubernetes' health endpoints. ``exclude``: names of checks, separated by commas."""

    verbose: str | msgspec.UnsetType = msgspec.UNSET
    exclude: str | msgspec.UnsetType = msgspec.UNSET


async def livez(_call: Request[None]) -> Response:
    """Return 200 while the event loop runs. A failing store is no reason to restart the process."""
    return Response(200, ReadinessReport("ok"))


async def readyz(call: Request[None]) -> Response | Problem:
    """Return 200 if checks of most known users can be decided, else 503 with the failing checks.

    ``?verbose``: text in Kubernetes' format. ``?exclude=NAME[,NAME]``: skip these checks. Other parameters are ignored.
    """
    return readiness(call.app.health.checks(), call.query)


def readiness(checks: Mapping[str, HealthCheck], query: Mapping[str, str]) -> Response:
    """Return the readiness of one sidecar, or of all its workers together."""
    excluded = {name for name in query.get("exclude", "").split(",") if name}
    failing = [name for name, check in checks.items() if not check.ok and name not in excluded]
    headers = (("Retry-After", "1"),) if failing else ()
    if "verbose" in query:
        text = "\n".join([*_verbose(checks, excluded), f"readyz check {'failed' if failing else 'passed'}", ""])
        return Response(503 if failing else 200, text.encode(), (*headers, ("Content-Type", PLAIN)))
    degraded = any(check.degraded for name, check in checks.items() if name not in excluded)
    state = "unavailable" if failing else "degraded" if degraded else "ok"
    details = {name: check.detail for name, check in checks.items()}
    return Response(503 if failing else 200, ReadinessReport(state, details, failing or msgspec.UNSET), headers)


def _verbose(checks: Mapping[str, HealthCheck], excluded: Collection[str]) -> Iterator[str]:
    for name, check in checks.items():
        if name in excluded:
            yield f"[+]{name} excluded: ok"
        elif check.ok:
            yield f"[+]{name} {'degraded: ' + check.detail if check.degraded else 'ok'}"
        else:
            yield f"[-]{name} failed: {check.detail}"
    for name in sorted(excluded - checks.keys()):
        yield f'warn: some health checks cannot be excluded: no matches for "{name[:40]}"'


async def status(call: Request[None]) -> Response:
    """Return one flat object. README, "Watching it", lists its members."""
    report = await call.app.health.report()
    return Response(200, msgspec.structs.replace(report, denials=DENIAL_LOG.recent()))


async def metrics(call: Request[None]) -> Response:
    """Return the metrics in Prometheus' text format."""
    call.app.metrics.ready.set(not call.app.health.failing_checks())
    return Response(200, call.app.metrics.exposition(), (("Content-Type", PROMETHEUS),))


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/livez", Require.OPEN, livez, "Liveness: the event loop runs", response_schema=ReadinessReport),
    Endpoint(
        "GET",
        "/readyz",
        Require.OPEN,
        readyz,
        "Readiness: checks can be decided",
        statuses=(200, 503),
        response_schema=ReadinessReport,
        query=ReadinessQuery,
        text="[+]store ok\n[+]feed ok\nreadyz check passed\n",
    ),
    Endpoint("GET", "/status", Require.OPEN, status, "Version, generation, fleet, store", response_schema=StatusReport),
    Endpoint("GET", "/metrics", Require.OPEN, metrics, "Prometheus metrics"),
)
