"""The operator's listener: is it alive, may it be asked, what is it doing. Read-only; no gateway can reach it."""

import asyncio
from typing import Any

from sidecar.edge import shapes
from sidecar.edge.call import Call, Endpoint, Gate, Reply
from sidecar.vocabulary.problems import Problem

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
READY_SECONDS = 1.0


async def livez(_call: Call[None]) -> Reply:
    """200 while the loop turns: a failing store is no reason to restart the process."""
    return Reply(200, {"status": "ok"})


async def readyz(call: Call[None]) -> Reply | Problem:
    """200 only with a policy in force and the store answering; 503 names what is missing."""
    failing = await call.parts.vitals.failing()
    if failing:
        return Reply(503, {"status": "unavailable", "failing": failing}, (("Retry-After", "1"),))
    return Reply(200, {"status": "ok"})


async def status(call: Call[None]) -> Reply:
    """One flat object: README, "Watching it"."""
    report: dict[str, Any] = await call.parts.vitals.report()
    return Reply(200, report)


async def metrics(call: Call[None]) -> Reply:
    """Prometheus text."""
    call.parts.metrics.ready.set(await _ready(call))
    return Reply(200, call.parts.metrics.exposition(), (("Content-Type", PROMETHEUS),))


async def _ready(call: Call[None]) -> bool:
    """As /readyz. A store that hangs must not take the metrics with it."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            return not await call.parts.vitals.failing()
    except TimeoutError:
        return False


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/livez", Gate.OPEN, livez, "The loop turns", answer=shapes.Health),
    Endpoint("GET", "/readyz", Gate.OPEN, readyz, "It can answer checks", statuses=(200, 503), answer=shapes.Health),
    Endpoint("GET", "/status", Gate.OPEN, status, "Version, generation, fleet, store", answer=shapes.StatusReport),
    Endpoint("GET", "/metrics", Gate.OPEN, metrics, "Prometheus metrics"),
)
