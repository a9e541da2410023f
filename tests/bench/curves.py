"""Cost as a function of size: a curve per quantity, each point against the first one in alternating rounds."""

import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import click

from tests.bench import policies, users
from tests.bench.load import Load, loading
from tests.bench.processes import Server
from tests.bench.table import Measured, one_round, prove
from tests.bench.targets import World, world
from tests.bench.wire import Request, gateway_check

TOKENS_ASKING = 1_000
MOST = 1.1
"""Bound of a bounded curve: its last point relative to its first."""


@dataclass(frozen=True, slots=True)
class Point:
    """``cost`` in CPU microseconds per request; ``ratio`` of it to the first point's, the median of the rounds."""

    x: int
    cost: float
    ratio: float
    p99: float


@dataclass(frozen=True, slots=True)
class Curve:
    """``bounded``: the last point must be within MOST of the first."""

    name: str
    unit: str
    points: tuple[int, ...]
    bounded: bool = False


RULES = Curve("rules", "rules in the policy", (24, 100, 1_000, 5_000, 20_000), bounded=True)
USERS = Curve("users", "users in the store", (5, 1_000, 10_000, 100_000, 1_000_000), bounded=True)
SECTIONS = Curve("sections", "sections beside the shipped ones", (6, 100, 1_000, 4_000))
CONNECTIONS = Curve("connections", "connections", (1, 8, 32, 128, 512, 1_000))
TOKENS = Curve("token-size", "bytes added to the token", (0, 500, 1_000, 2_000, 4_000, 8_000))
ACTIVE = Curve("active", "users in rotation, a token each", (5, 100, 1_000, 5_000, 15_000))
CURVES = {curve.name: curve for curve in (RULES, USERS, SECTIONS, CONNECTIONS, TOKENS, ACTIVE)}


@dataclass(frozen=True, slots=True)
class Setup:
    """Servers and settings of a measured point."""

    world: World
    server: Server
    load: Load
    connections: int = 32


def measure(curve: Curve, *, rounds: int, seconds: int, most: int) -> list[Point]:
    """Measure points up to ``most``."""
    place = _PLACES[curve.name]
    found: list[Point] = []
    with ExitStack() as stack:
        first = place(stack, curve.points[0])
        _warm(first)
        for x in curve.points:
            if x > most:
                break
            with ExitStack() as own:
                here = first if x == curve.points[0] else place(own, x, first)
                _warm(here)
                found.append(_point(x, first, here, rounds, seconds))
            last = found[-1]
            click.echo(f"{curve.name} {x:9,} {last.cost:7.1f} µs {last.ratio:5.2f}× p99 {last.p99:.2f} ms", err=True)
    return found


def _point(x: int, first: Setup, here: Setup, rounds: int, seconds: int) -> Point:
    base, own = Measured(), Measured()
    for _ in range(rounds):
        for place, measured in ((first, base), (here, own)):
            one_round(place.world, place.server, place.load, measured, seconds, connections=place.connections)
    ratio = statistics.median(high / low for high, low in zip(own.micros, base.micros, strict=True))
    return Point(x, own.cost, ratio, statistics.median(run.p99 for run in own.runs))


def _warm(place: Setup) -> None:
    """Send each request at least twice, the first one with an uncached token."""
    place.load.run(place.server.port, 2 + place.load.count // 2_000, connections=place.connections)


def _asking(stack: ExitStack, here: World, requests: Sequence[Request], server: Server, **how: int) -> Setup:
    prove("the sidecar", server.port, requests)
    return Setup(here, server, stack.enter_context(loading(requests)), **how)


def _with_policy(shape: Callable[[int], policies.Shape]) -> Callable[..., Setup]:
    def place(stack: ExitStack, x: int, _first: Setup | None = None) -> Setup:
        here = stack.enter_context(world(shape(x)))
        here.populate(1000)
        return _asking(stack, here, [gateway_check(asked) for asked in here.asked], here.sidecar(f"policy-{x}"))

    return place


def _with_users(stack: ExitStack, x: int, _first: Setup | None = None) -> Setup:
    """Requests with a thousand tokens, of a thousand users or of all; the others are only stored."""
    here = stack.enter_context(world())
    here.populate(x)
    askers = [asked.person for asked in here.asked]
    asked = users.questions(askers * (TOKENS_ASKING // len(askers)), here.policy, here.mint)
    return _asking(stack, here, [gateway_check(each) for each in asked], here.sidecar(f"users-{x}"))


def _with_connections(stack: ExitStack, x: int, first: Setup | None = None) -> Setup:
    if first is not None:
        return Setup(first.world, first.server, first.load, x)
    here = stack.enter_context(world())
    here.populate(1000)
    requests = [gateway_check(asked) for asked in here.asked]
    return _asking(stack, here, requests, here.sidecar("connections"), connections=x)


def _with_tokens(stack: ExitStack, x: int, first: Setup | None = None) -> Setup:
    if first is None:
        here = stack.enter_context(world())
        here.populate(1000)
        server = here.sidecar("tokens")
    else:
        here, server = first.world, first.server
    askers = [asked.person for asked in here.asked]
    asked = users.questions(askers, here.policy, here.mint, padding=x * 3 // 4)
    return _asking(stack, here, [gateway_check(each) for each in asked], server)


def _with_active(stack: ExitStack, x: int, first: Setup | None = None) -> Setup:
    if first is None:
        here = stack.enter_context(world())
        here.populate(ACTIVE.points[-1], active=ACTIVE.points[-1])
        server = here.sidecar("active")
    else:
        here, server = first.world, first.server
    asked = random.Random(x).sample(here.asked, x)
    return _asking(stack, here, [gateway_check(each) for each in asked], server)


_PLACES: dict[str, Callable[..., Setup]] = {
    "rules": _with_policy(policies.of_rules),
    "sections": _with_policy(policies.of_sections),
    "users": _with_users,
    "connections": _with_connections,
    "token-size": _with_tokens,
    "active": _with_active,
}


def lines(curve: Curve, points: Sequence[Point]) -> Iterator[str]:
    yield f"| {curve.unit} | CPU µs a request | to the first | p99 ms |"
    yield "| ---: | ---: | ---: | ---: |"
    for point in points:
        yield f"| {point.x:,} | {point.cost:.1f} | {point.ratio:.2f}× | {point.p99:.2f} |"
    if curve.bounded and points:
        last = points[-1]
        verdict = "ok" if last.ratio <= MOST else "short"
        yield ""
        yield f"{last.x:,} against {points[0].x:,}: {last.ratio:.2f}×, wanted ≤ {MOST}×: {verdict}."
