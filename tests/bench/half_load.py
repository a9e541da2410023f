"""p50 and p99 at half of a server's full rate, as in production. Sixty-four connections, random pauses."""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import click

from tests.bench.load import Load, Run, loading
from tests.bench.processes import Server
from tests.bench.table import ROWS, Row, prove, start_servers
from tests.bench.targets import World

CONNECTIONS = 64
WANTED_MS = 2.0
NAMES = ("fast lane", "aiohttp lane", "AuthZEN", "afternoon", "Envoy jwt + RBAC")
PACED = ("fast lane",)
"""Targets of the threshold."""


@dataclass(frozen=True, slots=True)
class Paced:
    """Rates in requests per second: at full load, and as achieved; latencies of the median round, in ms."""

    name: str
    full: float
    rate: float
    p50: float
    p99: float


def rows() -> list[Row]:
    return [row for row in ROWS if row.name in NAMES]


def measure(world: World, *, rounds: int, seconds: int) -> list[Paced]:
    found = []
    wanted = rows()
    servers = start_servers(world, {row.server for row in wanted})
    with ExitStack() as stack:
        for row in wanted:
            requests = row.ask(world)
            prove(row.name, servers[row.server].port, requests)
            load = stack.enter_context(loading(requests))
            found.append(_at_half(row.name, servers[row.server], load, rounds, seconds))
            click.echo(f"{row.name:18} p50 {found[-1].p50:.2f} p99 {found[-1].p99:.2f} ms", err=True)
    return found


def _at_half(name: str, server: Server, load: Load, rounds: int, seconds: int) -> Paced:
    load.run(server.port, 1)
    full = statistics.median(load.run(server.port, seconds).rate for _ in range(3))
    pause = CONNECTIONS / (full / 2) * 1000
    runs: Sequence[Run] = [load.run(server.port, seconds, connections=CONNECTIONS, pause=pause) for _ in range(rounds)]
    middle = {what: statistics.median(getattr(run, what) for run in runs) for what in ("rate", "p50", "p99")}
    return Paced(name, full, middle["rate"], middle["p50"], middle["p99"])


def lines(found: Sequence[Paced]) -> Iterator[str]:
    yield f"| at half load, {CONNECTIONS} connections | requests/s (of full) | p50 ms | p99 ms | wanted | |"
    yield "| --- | ---: | ---: | ---: | ---: | --- |"
    for one in found:
        wanted = f"< {WANTED_MS:g} ms" if one.name in PACED else "–"
        verdict = ("ok" if one.p99 < WANTED_MS else "short") if one.name in PACED else ""
        share = f"{one.rate:,.0f} ({one.rate / one.full:.0%} of {one.full:,.0f})"
        yield f"| {one.name} | {share} | {one.p50:.2f} | {one.p99:.2f} | {wanted} | {verdict} |"
