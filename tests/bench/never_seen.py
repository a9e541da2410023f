"""New tokens, each of another user: signature and live record every time, against the naive baseline, which does both
on every request anyway.
"""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack

import click

from tests.bench.load import Load, Run, loading
from tests.bench.processes import Server
from tests.bench.table import Measured, Ratio, Table, one_round
from tests.bench.targets import World
from tests.bench.wire import gateway_check

RATIO = Ratio("afternoon / fast lane, never-seen tokens", "afternoon, new tokens", "fast lane, new tokens", least=2)
MOST_A_SECOND = 9_000
"""More than any server here can verify, so that no token is repeated."""


def people_for(seconds: int) -> int:
    return MOST_A_SECOND * seconds


def measure(world: World, *, rounds: int, seconds: int) -> Table:
    """Measure. ``world`` has a user per request. The sidecar starts anew each round; the other one has no cache."""
    table: Table = {RATIO.cheaper: Measured(), RATIO.dearer: Measured()}
    afternoon = world.afternoon()
    with ExitStack() as stack:
        load = stack.enter_context(loading([gateway_check(asked) for asked in world.asked[1:]]))
        for turn in range(rounds):
            sidecar = world.sidecar(f"new-{turn}")
            for name, server in ((RATIO.cheaper, sidecar), (RATIO.dearer, afternoon)):
                _once(world, server, load, table[name], seconds)
                run = table[name].runs[-1]
                click.echo(f"round {turn + 1} {name:24} {run.rate:8.0f}/s {table[name].micros[-1]:7.1f} µs", err=True)
            sidecar.stop()
    return table


def _once(world: World, server: Server, load: Load, measured: Measured, seconds: int) -> None:
    one_round(world, server, load, measured, seconds, once=True)
    if _refused(measured.runs[-1]) > 0.1:
        raise RuntimeError(f"{_refused(measured.runs[-1]):.0%} refused: more than the policy denies")


def _refused(run: Run) -> float:
    return run.refused / run.requests


def lines(table: Table) -> Iterator[str]:
    yield "| never-seen tokens | requests/s | CPU µs a request | store's CPU µs | p99 ms |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, found in table.items():
        p99 = statistics.median(run.p99 for run in found.runs)
        store = statistics.median(found.store)
        yield f"| {name} | {found.rate:,.0f} | {found.cost:.0f} | {store:.0f} | {p99:.1f} |"
