"""Cost of a large policy, alone and beside checks.

First the curve: seconds to compile that many rules over 200 roles and 500 sections, whose 100,000 tests are most of the
smallest one's cost: without the proof, and with that of an edit. Then a sidecar on the largest of them, with checks at
a steady rate from another process, alternately idle and during edits. A response time counts from when the check was
due, so that a pause of the sidecar counts for all waiting checks.
"""

import asyncio
import gc
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import aiohttp
import click

from sidecar.pdp.compile.protocol import generation_of
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import pack
from tests.live.policy_support import Policy, launch
from tests.live.support import Http, found_account

CONNECTIONS = 8
RATE = 2000.0
RULES = (1_000, 2_500, 5_000, 10_000, 20_000)
EDITS = 8
EVERY = 4.0
"""Seconds between edits; most of that time is idle."""


def grown(shipped: Mapping[str, bytes], *, roles: int, sections: int, rules: int) -> dict[str, bytes]:
    """The shipped policy grown to that many of each, and a test of every cell."""
    chance = random.Random(rules)
    teams = [f"team-{n}" for n in range(roles - 5)]
    areas = [f"area-{n}" for n in range(sections - 12)]
    pairs = [(team, area) for team in teams for area in areas]
    given = set(chance.sample(pairs, min(len(pairs), rules - 11)))
    parts: dict[str, list[str]] = {name: [shipped[name].decode()] for name in shipped}
    for team in teams:
        parts["roles.toml"].append(f'[roles.{team}]\ntitle = "{team}"\n')
        parts["policy.csv"].append(f"g, {team}, member\n")
    for area in areas:
        route = f'{{ path = "/dashboard/{area}/**", methods = ["GET"], action = "view" }}'
        parts["sections.toml"].insert(
            0, f'[sections.{area}]\ntitle = "{area}"\nactions = ["view"]\nroutes = [{route}]\n'
        )
        parts["routes.csv"].append(f"{area}/view, GET, /dashboard/{area}\n")
    parts["policy.csv"] += [f"p, {team}, {area}, view, allow\n" for team, area in sorted(given)]
    old = compile_policy(shipped, proof=ProofScope.NONE).generation
    assert old is not None
    cells = [(section.id, action) for section in old.sections.values() for action in section.actions]
    parts["expectations.csv"] += list(_expectations(teams, areas, given, cells))
    return {name: "".join(texts).encode() for name, texts in parts.items()}


def _expectations(
    teams: list[str], areas: list[str], given: set[tuple[str, str]], cells: list[tuple[str, str]]
) -> Iterator[str]:
    for team in teams:
        for section, action in cells:
            yield f"{'allow' if section == 'account-settings' else 'deny'}, {team}, {section}, {action}\n"
        for area in areas:
            yield f"{'allow' if (team, area) in given else 'deny'}, {team}, {area}, view\n"
    for role in ("account-administrator", "accountant", "developer", "marketer"):
        for area in areas:
            yield f"{'allow' if role == 'account-administrator' else 'deny'}, {role}, {area}, view\n"


def curve(shipped: Mapping[str, bytes]) -> Iterator[str]:
    """Return Markdown."""
    yield "| rules | files KiB | compile s | µs for each more | with the proof of an edit s | unpacked ms |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    first: float | None = None
    for rules in RULES:
        files = grown(shipped, roles=200, sections=500, rules=rules)
        gc.collect()
        plain, proved, again = (
            _seconds(lambda: compile_policy(files, proof=ProofScope.NONE)),  # noqa: B023 - called here
            _seconds(lambda: compile_policy(files, proof=ProofScope.EDIT)),  # noqa: B023
            _seconds(_unpacking(files)),
        )
        size = sum(map(len, files.values())) / 1024
        first = plain if first is None else first
        more = (plain - first) / (rules - 1_000) * 1e6 if rules > 1_000 else 0.0
        click.echo(f"{rules:6d} rules {plain:5.2f} s, with the proof {proved:5.2f} s", err=True)
        yield f"| {rules:,} | {size:,.0f} | {plain:.2f} | {more:.0f} | {proved:.2f} | {again * 1000:.2f} |"


def _unpacking(files: Mapping[str, bytes]) -> Callable[[], object]:
    """Return the sidecar's own cost of an edit that changes policy.csv alone."""
    generation = compile_policy(files, proof=ProofScope.NONE).generation
    assert generation is not None
    packed = pack(generation)
    return lambda: generation_of(packed, files, generation)


def _seconds(work: Callable[[], object]) -> float:
    """Return the best of three, without garbage collection, as in the compile process."""
    took = []
    gc.disable()
    for _ in range(3):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    gc.enable()
    return min(took)


# -- beside checks -----------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """``due`` on the machine's clock; ``wait``: seconds from then until the answer."""

    due: float
    wait: float
    generation: bytes


async def beside_checks(folder: Path) -> list[str]:
    """Return Markdown."""
    policy = Policy(folder / "edited")
    files = grown(policy.shipped, roles=200, sections=500, rules=RULES[-1])
    edits = [files["policy.csv"] + f"# {number}\n".encode() for number in range(EDITS)]
    generations = [policy.generation_of({**files, "policy.csv": edit}).encode() for edit in edits]
    policy.write(files)
    process = launch(folder, apart=True, **policy.settings)
    written = []
    try:
        process.wait_ready(60)
        found_account(process)
        async with aiohttp.ClientSession() as session:
            token = (await Http(session, process.url).sign_in("ada@example.com")).access
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(apart, asked, process.url, token, 2.0)
            asking = loop.run_in_executor(apart, asked, process.url, token, EVERY * (EDITS + 1))
            for edit in edits:
                await asyncio.sleep(EVERY)
                written.append(time.perf_counter())
                policy.write({"policy.csv": edit})
            answers = await asking
    finally:
        process.stop()
    in_force = [min(one.due for one in answers if one.generation == generation) for generation in generations]
    return list(_compared(answers, list(zip(written, in_force, strict=True))))


def _compared(answers: list[Answer], spans: list[tuple[float, float]]) -> Iterator[str]:
    """Compare. ``spans``: from the write of an edit to its activation."""
    judging = [one.wait for one in answers if any(began <= one.due <= ended for began, ended in spans)]
    idle = [one.wait for one in answers if not any(began <= one.due <= ended + 0.5 for began, ended in spans)]
    yield f"| {RATE:,.0f} checks a second over {CONNECTIONS} connections | checks | p50 ms | p90 | p99 | max |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    yield shown("idle, between the edits", idle)
    yield shown(f"while edits of {RULES[-1]:,} rules are judged", judging)
    yield ""
    yield f"From an edit to its being in force: {', '.join(f'{ended - began:.1f}' for began, ended in spans)} s."


def asked(url: str, token: str, seconds: float) -> list[Answer]:
    """Send checks from a separate process, which does nothing else."""
    return sorted(asyncio.run(steady(url, token, seconds)))


async def steady(url: str, token: str, seconds: float) -> list[Answer]:
    """Send checks at `RATE`."""
    host, _, port = url.removeprefix("http://").partition(":")
    request = (
        f"GET /check HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /dashboard/users\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()
    answers: list[Answer] = []

    async def ask(number: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        period = CONNECTIONS / RATE
        due = time.perf_counter() + period * number / CONNECTIONS
        end = due + seconds
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            began = max(due, time.perf_counter()) if due > time.perf_counter() - 0.002 else due
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            answers.append(Answer(due, time.perf_counter() - began, _generation_in(head)))
            due += period
        writer.close()

    await asyncio.gather(*(ask(number) for number in range(CONNECTIONS)))
    return answers


def _generation_in(head: bytes) -> bytes:
    assert head.startswith(b"HTTP/1.1 200"), head
    return head.lower().partition(b"x-auth-generation: ")[2][:32]


def shown(what: str, waits: list[float]) -> str:
    ordered = sorted(waits)

    def at(share: float) -> str:
        return f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000:.2f}"

    return f"| {what} | {len(waits):,} | {at(0.5)} | {at(0.9)} | {at(0.99)} | {at(1)} |"


def measure() -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shipped").mkdir()
        grows = list(curve(Policy(folder / "shipped" / "policy").shipped))
        return [*grows, "", *asyncio.run(beside_checks(folder))]
