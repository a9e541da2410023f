"""Ops listener of a supervisor. Each response combines the workers' responses on their private sockets.

Alive when all are alive, ready when all are ready, metrics added up (metrics_aggregation.py). A worker that does not
respond counts as not ready.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

from sidecar.api.dispatcher import reply_answer
from sidecar.api.health import PROMETHEUS, readiness
from sidecar.http.allowed_hosts import NOT_OUR_NAME, is_ours
from sidecar.http.problems import problem_answer
from sidecar.http.response import RawResponse
from sidecar.http.server.connection import http_response
from sidecar.pdp.health import HealthCheck
from sidecar.server.workers.metrics_aggregation import MetricsAggregator

if TYPE_CHECKING:
    from sidecar.server.workers.worker_pool import WorkerPool

FETCH_SECONDS = 2.0
MAX_QUERY: Final = 1024
"""Characters of a probe's query that are read."""


class WorkersOps:
    """Handler for ``aiohttp.web.Server``: ``Server(WorkersOps(pool, aggregator))``."""

    def __init__(self, pool: "WorkerPool", aggregator: MetricsAggregator, hosts: frozenset[str] = frozenset()) -> None:
        self._pool = pool
        self._aggregator = aggregator
        self._hosts = hosts
        self._counting = asyncio.Lock()
        self._answers: dict[str, Callable[[Mapping[str, str]], Awaitable[RawResponse]]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/status": self._status,
            "/metrics": self._metrics,
        }

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if not is_ours(request.headers.get("Host"), self._hosts):
            return http_response(problem_answer(NOT_OUR_NAME))
        path, _, query = request.raw_path.partition("?")
        answer = self._answers.get(path)
        if answer is None or request.method not in ("GET", "HEAD"):
            return http_response(_json(HTTPStatus.NOT_FOUND, {"detail": "/livez /readyz /status /metrics"}))
        return http_response(await answer(dict(parse_qsl(query[:MAX_QUERY], keep_blank_values=True))))

    async def _fetch_all(self, path: str) -> list[tuple[int, str]]:
        return await asyncio.gather(*(fetch(socket, path) for socket in self._pool.sockets()))

    async def _livez(self, _query: Mapping[str, str]) -> RawResponse:
        """Return 200 when every worker is alive. While restarts are paused, only running workers count.

        A failed liveness probe would restart the running workers too, and end the pause.
        """
        if self._pool.pause_left() > 0:
            alive = await asyncio.gather(*(livez(socket) for socket in self._pool.running()))
        else:
            alive = [status == HTTPStatus.OK for status, _ in await self._fetch_all("/livez")]
        if all(alive):
            return _json(HTTPStatus.OK, {"status": "ok"})
        return _json(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable", "failing": _names(alive)})

    async def _readyz(self, query: Mapping[str, str]) -> RawResponse:
        """Return the checks of all workers. A check passes when it passes in every worker; a silent worker is a failed
        check."""
        output = await self._fetch_all("/readyz")
        checks: dict[str, HealthCheck] = {}
        for _, text in output:
            report = json.loads(text) if text else {}
            for name, detail in report.get("checks", {}).items():
                ok = name not in report.get("failing", ())
                found = HealthCheck(ok, detail, degraded=ok and detail != HealthCheck(True).detail)
                if name not in checks or (checks[name].ok, not checks[name].degraded) > (ok, not found.degraded):
                    checks[name] = found
        for name in _names(status != 0 for status, _ in output):
            checks[name] = HealthCheck(False, "no response")
        if any(status == 0 for status, _ in output) and (left := self._pool.pause_left()) > 0:
            checks["worker_restarts_paused"] = HealthCheck(False, f"after repeated crashes, for {left:.0f} s more")
        return reply_answer(readiness(checks, query))

    async def _status(self, _query: Mapping[str, str]) -> RawResponse:
        """Return the status of the worker in the worst state."""
        output = [json.loads(text) for status, text in await self._fetch_all("/status") if status == HTTPStatus.OK]
        if not output:
            return _json(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable"})
        worst = min(output, key=lambda report: (report["store"] == "ok", report["state"] == "current"))
        denials = merged_denials(report.get("denials", ()) for report in output)
        return _json(HTTPStatus.OK, {**worst, "denials": denials, "workers": len(output)})

    async def _metrics(self, _query: Mapping[str, str]) -> RawResponse:
        async with self._counting:  # one at a time: an overtaken response would decrease the counters
            sockets = self._pool.sockets()
            output = await asyncio.gather(*(fetch(socket, "/metrics") for socket in sockets))
            texts = [text if status == HTTPStatus.OK else "" for status, text in output]
            body = self._aggregator.exposition(zip(sockets, texts, strict=True), pause_left=self._pool.pause_left())
        return RawResponse(HTTPStatus.OK, (("Content-Type", PROMETHEUS), ("Cache-Control", "no-store")), body)


def merged_denials(reports: Iterable[Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the last denial of each kind in any worker, with the number of all, the newest first."""
    found: dict[str, dict[str, Any]] = {}
    for one in (denial for report in reports for denial in report):
        known = found.get(one["kind"])
        newer = one if known is None or one["age_s"] < known["age_s"] else known
        found[one["kind"]] = {**newer, "count": one["count"] + (known["count"] if known else 0)}
    return sorted(found.values(), key=lambda one: float(one["age_s"]))


async def livez(socket: Path, seconds: float = FETCH_SECONDS) -> bool:
    status, _ = await fetch(socket, "/livez", seconds)
    return status == HTTPStatus.OK


async def fetch(socket: Path, path: str, seconds: float = FETCH_SECONDS) -> tuple[int, str]:
    """Return status and text of a GET; status 0 without a response."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=timeout) as session,
            session.get(f"http://worker{path}") as response,
        ):
            return response.status, await response.text()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return 0, ""


def _names(well: Iterable[bool]) -> list[str]:
    return [f"worker-{number}" for number, fine in enumerate(well) if not fine]


def _json(status: int, body: dict[str, Any]) -> RawResponse:
    headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
    return RawResponse(status, headers, json.dumps(body).encode())
