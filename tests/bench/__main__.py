"""``python -m tests.bench``: everything, or a part of it: ``table``, ``half-load``, ``curves``, ``fleet``, ``start``…"""

import asyncio

import click

from tests.bench import table as tables
from tests.bench.targets import world as make_world


@click.group()
def bench() -> None:
    """Measure the sidecar. Wants wrk, taskset, redis-server; npm for Cerbos, envoy for Envoy."""


@bench.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=3, show_default=True)
@click.option("--only", default="", help="Parts of rows' names, separated by commas.")
def table(rounds: int, seconds: int, only: str) -> None:
    """Every target, alternating, as ratios."""
    parts = [part.strip().lower() for part in only.split(",") if part.strip()]
    rows = [row for row in tables.ROWS if not parts or any(part in row.name.lower() for part in parts)]
    with make_world() as world:
        world.populate(1000)
        asyncio.run(world.make_peps())
        found = tables.measure(world, rows, rounds=rounds, seconds=seconds)
    click.echo("\n".join(tables.lines(found)))


if __name__ == "__main__":
    bench()
