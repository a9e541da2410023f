"""Memory and start of a sidecar: bytes per cached user and token, cold start to first response."""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import click

from tests.bench import users
from tests.bench.load import loading
from tests.bench.processes import Server
from tests.bench.targets import World
from tests.bench.wire import Request, answer, gateway_check

FEW, MANY = 1_000, 16_000
"""Within the token cache's bytes, so that no entry was evicted before the measurement."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: with nothing cached, and for each further user or token."""

    empty: int
    user: float
    token: float


def memory(world: World) -> Memory:
    """Measure. ``world`` has MANY active users."""
    with ExitStack() as stack:
        by_user = world.sidecar("memory-users")
        empty = by_user.rss()
        asked = [gateway_check(each) for each in world.asked]
        few, many = _weighed(stack, by_user, asked[:FEW]), _weighed(stack, by_user, asked)
        user = (many - few) / (len(asked) - FEW)
        by_user.stop()
        askers = [each.person for each in world.asked[:FEW]]
        tokens = world.sidecar("memory-tokens")
        first = [gateway_check(each) for each in users.questions(askers, world.policy, world.mint)]
        more = [
            gateway_check(each)
            for turn in range(1, MANY // FEW)
            for each in users.questions(askers, world.policy, world.mint, seed=7 + turn)
        ]
        few, many = _weighed(stack, tokens, first), _weighed(stack, tokens, [*first, *more])
        return Memory(empty, user, (many - few) / len(more))


def _weighed(stack: ExitStack, server: Server, requests: Sequence[Request]) -> int:
    """Return the bytes after each of ``requests`` was sent at least once."""
    load = stack.enter_context(loading(requests))
    load.run(server.port, max(3, len(requests) // 3_000))
    return server.rss()


def starts(world: World, rounds: int) -> dict[str, list[float]]:
    """Return seconds from the command to its first right response."""
    found: dict[str, list[float]] = {"sidecar": [], "sidecar, 2 workers": [], "afternoon": []}
    request = next(gateway_check(each) for each in world.asked if each.allowed)
    for turn in range(rounds):
        for name, start in (
            ("sidecar", lambda: world.sidecar(f"cold-{turn}")),  # noqa: B023 - called at once
            ("sidecar, 2 workers", lambda: world.sidecar(f"cold-2-{turn}", cores="0,1", WORKERS="2")),  # noqa: B023
            ("afternoon", world.afternoon),
        ):
            server = start()  # type: ignore[no-untyped-call]
            server.until(lambda: _is_allowed(server.port, request))  # noqa: B023
            found[name].append(time.monotonic() - server.started)
            server.stop()
        click.echo(" ".join(f"{name} {values[-1]:.2f} s" for name, values in found.items()), err=True)
    return found


def _is_allowed(port: int, request: Request) -> bool:
    return answer(port, request)[0] == 200


def lines(memory: Memory, starts: dict[str, list[float]]) -> Iterator[str]:
    yield "| memory | |"
    yield "| --- | ---: |"
    yield f"| a sidecar with nothing cached | {memory.empty / 1e6:.0f} MB |"
    yield f"| each user with a token | {memory.user:,.0f} B |"
    yield f"| each further token of a user | {memory.token:,.0f} B |"
    yield ""
    yield "| cold start to the first answer | median s | [min–max] |"
    yield "| --- | ---: | ---: |"
    for name, values in starts.items():
        yield f"| {name} | {statistics.median(values):.2f} | [{min(values):.2f}–{max(values):.2f}] |"
