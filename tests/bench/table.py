"""The table: every target in turn, round after round in one run, CPU time per request, as ratios with medians."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

import click

from tests.bench import grpc_load, wire
from tests.bench.grpc_load import GrpcLoad, GrpcRequest
from tests.bench.load import CONNECTIONS, Load, Run, loading
from tests.bench.processes import Server
from tests.bench.targets import World
from tests.bench.users import CheckCase
from tests.bench.wire import Request

BATCH = 100
TURNS = 40
"""Repetitions of a thousand users: more requests than any response cache holds."""


@dataclass(frozen=True, slots=True)
class Row:
    """One target: a server, and the kind of request."""

    name: str
    about: str
    server: str
    ask: Callable[[World], Sequence[Request]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """``dearer`` costs that many times the ``cheaper`` one, in the same round."""

    name: str
    dearer: str
    cheaper: str
    least: float | None = None
    most: float | None = None

    def verdict(self, value: float) -> str:
        if self.least is not None:
            return "ok" if value >= self.least else "short"
        if self.most is not None:
            return "ok" if value <= self.most else "short"
        return ""

    @property
    def wanted(self) -> str:
        if self.least is not None:
            return f"≥ {self.least:g}×"
        return f"≤ {self.most:g}×" if self.most is not None else "–"


def _gateway(world: World) -> list[Request]:
    return [wire.gateway_check(asked) for asked in world.asked]


def _never_the_same(world: World) -> list[Request]:
    """The same users and tokens with a new path each time: a cache of whole requests has no hit."""
    return [wire.gateway_check(asked) for asked in _with_new_paths(world, TURNS)]


def _with_new_paths(world: World, turns: int) -> Iterator[CheckCase]:
    for turn in range(turns):
        for asked in world.asked:
            yield replace(asked, spot=replace(asked.spot, path=f"{asked.spot.path}&turn={turn}"))


def _envoy(world: World) -> list[Request]:
    return [grpc_load.envoy_check(asked) for asked in world.asked]


def _envoy_never_the_same(world: World) -> list[Request]:
    return [grpc_load.envoy_check(asked) for asked in _with_new_paths(world, 10)]


def _envoy_bare(world: World) -> list[Request]:
    """The bare server allows everything."""
    return [grpc_load.envoy_check(asked) for asked in world.asked if asked.allowed]


def _in_traces(world: World) -> list[Request]:
    """The same requests in traces of the gateway: one in a hundred is sampled."""
    numbered = enumerate(asked for _ in range(TURNS) for asked in world.asked)
    return [
        wire.gateway_check(asked, traceparent=f"00-{number + 1:032x}-{number + 1:016x}-{number % 100 == 0:02x}")
        for number, asked in numbered
    ]


def _many(world: World) -> list[Request]:
    """Return a hundred requests of the same user: the menu of a dashboard."""
    asked = world.asked
    return [
        wire.json_check_many(each, [asked[(at + further) % len(asked)] for further in range(1, BATCH)])
        for at, each in enumerate(asked[:200])
    ]


ROWS = (
    Row("fast lane", "GET /check", "fast", _gateway),
    Row("fast lane, silent", "without decision log and check metrics", "quiet", _gateway),
    Row("fast lane, new paths", "GET /check, no path twice", "new", _never_the_same),
    Row("fast lane, traced", "SIDECAR_OTEL_SAMPLE=0.01, no trace header", "traced", _gateway),
    Row("fast lane, in traces", "traceparent, 1 % sampled", "in-traces", _in_traces),
    Row("fast lane, in shadow", "SIDECAR_POLICY_SOURCE=store, a candidate in its shadow", "shadow", _gateway),
    Row("fast lane, 2 workers", "GET /check, both cores", "fast-2", _gateway),
    Row("aiohttp lane", "GET /check, SIDECAR_FAST_LANE=false", "slow", _gateway),
    Row("gRPC", "Envoy's Authorization/Check", "grpc", _envoy),
    Row("gRPC, new paths", "Authorization/Check, no path twice", "grpc-new", _envoy_never_the_same),
    Row("gRPC, bare", "grpc.aio, one answer, nothing decided", "grpc-bare", _envoy_bare),
    Row(
        "/v1/check of 1",
        "POST, user's token",
        "api",
        lambda world: [wire.json_check(asked) for asked in world.asked],
    ),
    Row("/v1/check of 100", "POST, a hundred answers", "api", _many),
    Row(
        "AuthZEN",
        "evaluation, PEP key, live record",
        "api",
        lambda world: [wire.authzen(asked, world.peps[asked.person.account]) for asked in world.asked],
    ),
    Row("afternoon", "aiohttp + PyJWT + redis.asyncio + pycasbin", "afternoon", _gateway),
    Row(
        "Cerbos",
        "CheckResources, no token",
        "cerbos",
        lambda world: [wire.cerbos_check(asked, token=False) for asked in world.asked],
    ),
    Row(
        "Cerbos, JWT",
        "CheckResources, EdDSA token verified",
        "cerbos",
        lambda world: [wire.cerbos_check(asked, token=True) for asked in world.asked],
    ),
    Row(
        "Cerbos, AuthZEN",
        "evaluation, no caller, no record",
        "cerbos",
        lambda world: [wire.cerbos_authzen(asked) for asked in world.asked],
    ),
    Row(
        "Envoy jwt + RBAC",
        "token cache, no live record",
        "envoy",
        lambda world: [wire.direct(asked) for asked in world.asked],
    ),
)

RATIOS = (
    Ratio("Cerbos with JWT / aiohttp lane", "Cerbos, JWT", "aiohttp lane", least=8),
    Ratio("afternoon / aiohttp lane", "afternoon", "aiohttp lane", least=8),
    Ratio("Envoy jwt + RBAC with cache / fast lane", "Envoy jwt + RBAC", "fast lane", least=1.5),
    Ratio("Cerbos AuthZEN / AuthZEN", "Cerbos, AuthZEN", "AuthZEN", least=3),
    Ratio("Envoy jwt + RBAC with cache / fast lane, new paths", "Envoy jwt + RBAC", "fast lane, new paths"),
    Ratio("log and metrics on / off", "fast lane", "fast lane, silent", most=1.15),
    Ratio("in shadow / off", "fast lane, in shadow", "fast lane", most=1.1),
    Ratio("1 % traced / off", "fast lane, traced", "fast lane", most=1.05),
    Ratio("in traces, 1 % sampled / off", "fast lane, in traces", "fast lane", most=1.05),
    Ratio("Cerbos with JWT / fast lane", "Cerbos, JWT", "fast lane"),
    Ratio("Cerbos without a token / fast lane", "Cerbos", "fast lane"),
    Ratio("afternoon / fast lane", "afternoon", "fast lane"),
    Ratio("afternoon / POST /v1/check of 1", "afternoon", "/v1/check of 1"),
    Ratio("2 workers / 1, CPU a request", "fast lane, 2 workers", "fast lane"),
    Ratio("gRPC / a bare answer", "gRPC", "gRPC, bare", most=1.25),
    Ratio("gRPC, new paths / a bare answer", "gRPC, new paths", "gRPC, bare"),
    Ratio("gRPC / fast lane", "gRPC", "fast lane"),
    Ratio("POST /v1/check of 1 / aiohttp lane", "/v1/check of 1", "aiohttp lane", most=1.5),
    Ratio("AuthZEN / aiohttp lane", "AuthZEN", "aiohttp lane", most=1.5),
)


@dataclass
class Measured:
    """Results of the rounds of one row."""

    micros: list[float] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    store: list[float] = field(default_factory=list)
    rss: int = 0

    @property
    def cost(self) -> float:
        """Return CPU microseconds per request, the median round."""
        return statistics.median(self.micros)

    @property
    def rate(self) -> float:
        return statistics.median(run.rate for run in self.runs)


Table = dict[str, Measured]


def start_servers(world: World, wanted: set[str]) -> dict[str, Server]:
    starts: dict[str, Callable[[], Server]] = {
        "shadow": partial(world.shadowed, "shadow"),  # the first: it waits for each sidecar that is registered
        # One server per row, so that no row pays for the cache of another.
        **{name: partial(world.sidecar, name) for name in ("fast", "new", "api")},
        "fast-2": lambda: world.sidecar("fast-2", cores="0,1", WORKERS="2"),
        **{name: partial(world.traced, name) for name in ("traced", "in-traces")},
        "slow": lambda: world.sidecar("slow", FAST_LANE="false"),
        **{name: partial(world.grpc_sidecar, name) for name in ("grpc", "grpc-new")},
        "grpc-bare": world.bare_grpc,
        "quiet": lambda: world.sidecar("quiet", module="tests.bench.quiet", DECISION_LOG="off"),
        "afternoon": world.afternoon,
        "cerbos": world.cerbos,
        "envoy": world.envoy,
    }
    return {name: start() for name, start in starts.items() if name in wanted}


def measure(world: World, rows: Sequence[Row], *, rounds: int, seconds: int) -> Table:
    """Measure in turn: no target is measured twice before every other was."""
    servers = start_servers(world, {row.server for row in rows})
    table: Table = {row.name: Measured() for row in rows}
    with ExitStack() as stack:
        loads = {}
        for row in rows:
            requests = row.ask(world)
            prove(row.name, servers[row.server].port, requests)
            make = GrpcLoad if isinstance(requests[0], GrpcRequest) else Load
            loads[row.name] = stack.enter_context(loading(requests, make))
            loads[row.name].run(servers[row.server].port, 1)
        for turn in range(rounds):
            for row in rows:
                one_round(world, servers[row.server], loads[row.name], table[row.name], seconds)
                click.echo(f"round {turn + 1} {row.name:22} {_said(table[row.name])}", err=True)
    return table


def prove(name: str, port: int, requests: Sequence[Request], sample: int = 40) -> None:
    """Raise for a target with a wrong response, so that it is not measured."""
    for request in requests[:: max(1, len(requests) // sample)]:
        status, body = (grpc_load if isinstance(request, GrpcRequest) else wire).answer(port, request)
        if not wire.is_right(request, status, body):
            raise RuntimeError(f"{name} answers {status} {body[:300]!r}; right is {request.status} {request.body!r}")


def one_round(
    world: World,
    server: Server,
    load: Load,
    measured: Measured,
    seconds: int,
    *,
    connections: int = CONNECTIONS,
    once: bool = False,
) -> None:
    cpu, store = server.cpu(), world.store.cpu()
    run = load.run(server.port, seconds, connections=connections, once=once)
    spent, store_spent = server.cpu() - cpu, world.store.cpu() - store
    if run.failed or not run.requests:
        raise RuntimeError(f"{run.failed} of {run.requests} requests failed")
    measured.runs.append(run)
    measured.micros.append(spent / run.requests * 1e6)
    measured.store.append(store_spent / run.requests * 1e6)
    measured.rss = server.rss()


def _said(measured: Measured) -> str:
    run = measured.runs[-1]
    return f"{run.rate:9.0f}/s {measured.micros[-1]:7.1f} µs  p50 {run.p50:6.2f}  p99 {run.p99:6.2f} ms"


def ratio(table: Table, wanted: Ratio) -> float | None:
    """Return the median of the rounds' ratios; None if one of the two was not measured."""
    if wanted.dearer not in table or wanted.cheaper not in table:
        return None
    dearer, cheaper = table[wanted.dearer].micros, table[wanted.cheaper].micros
    return statistics.median(above / below for above, below in zip(dearer, cheaper, strict=True))


def lines(table: Table) -> Iterator[str]:
    """Return Markdown."""
    yield "| target | requests/s of one core | CPU µs a request [min–max] | p50 ms | p99 ms | RSS MB |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    about = {row.name: row.about for row in ROWS}
    for name, found in table.items():
        p50, p99 = (statistics.median(getattr(run, which) for run in found.runs) for which in ("p50", "p99"))
        spread = f"{found.cost:.1f} [{min(found.micros):.1f}–{max(found.micros):.1f}]"
        named = f"{name}: {about[name]}" if name in about else name
        yield f"| {named} | {found.rate:,.0f} | {spread} | {p50:.2f} | {p99:.2f} | {found.rss / 1e6:.0f} |"
    yield ""
    yield from ratio_lines(table, RATIOS)


def ratio_lines(table: Table, ratios: Sequence[Ratio]) -> Iterator[str]:
    yield "| ratio of CPU time a request | measured | wanted | |"
    yield "| --- | ---: | ---: | --- |"
    for each in ratios:
        value = ratio(table, each)
        if value is not None:
            yield f"| {each.name} | {value:.2f}× | {each.wanted} | {each.verdict(value)} |"
