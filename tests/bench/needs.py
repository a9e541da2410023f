"""Needs on every cell against none: CPU time of the same checks, and memory with many client addresses."""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import click

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.sources.policy_files import read_policy_files
from tests.bench.load import loading
from tests.bench.policies import Policy
from tests.bench.processes import Server
from tests.bench.table import Measured, Table, one_round, prove
from tests.bench.targets import World
from tests.bench.wire import Request, gateway_check

WITHOUT, WITH = "fast lane, no needs", "fast lane, needs on every cell"
MOST_MICROS = 1.0
"""Largest additional cost of a check."""

ADDRESSES = 10_000
CLIENT = b"203.0.113.7"
"""Address of all requests of the bench, in `office` below."""

CONDITIONS = """
[conditions.recent-sign-in]
signed_in_within = "24h"
[conditions.office]
networks = ["203.0.113.0/24", "10.0.0.0/8"]
[conditions.working-days]
hours = { days = "mon-sun", from = "00:00", to = "23:59", zone = "Europe/Berlin" }
"""
NEEDS = """
needs, *, *,                *, recent-sign-in
needs, *, *,                *, office | working-days
needs, *, account-settings, *, recent-sign-in
"""
ROWS = """
deny, accountant, billing,          view, without recent-sign-in
deny, accountant, billing,          view, without office | working-days
deny, accountant, account-settings, view, without recent-sign-in
"""


def write_needs(policy: Policy, folder: Path) -> Path:
    """Write the files of a policy with needs on every cell, all of them met by the requests of the bench."""
    files = dict(read_policy_files(policy.folder, policy.model).files)
    files |= {"conditions.toml": CONDITIONS.encode(), "needs.csv": NEEDS.encode()}
    files["expectations.csv"] += ROWS.encode()
    compiled = compile_policy(files, proof=ProofScope.NONE)
    if compiled.generation is None:
        raise RuntimeError(f"the bench's needs do not compile: {compiled.diagnostics[:3]}")
    folder.mkdir()
    for name, data in files.items():
        if name != policy.model.name:
            (folder / name).write_bytes(data)
    return folder


@dataclass(frozen=True, slots=True)
class Grown:
    """Bytes of a sidecar after the checks of one address, and after those of `ADDRESSES`."""

    one: int
    many: int


def measure(world: World, *, rounds: int, seconds: int) -> tuple[Table, Grown]:
    """Measure both in turn, then the memory."""
    folder = write_needs(world.policy, world.folder / "policy-with-needs")
    trusted = {"TRUSTED_PROXIES": "127.0.0.1"}
    servers = {
        WITHOUT: world.sidecar("no-needs", **trusted),
        WITH: world.sidecar("needs", POLICY_DIR=str(folder), **trusted),
    }
    requests = [gateway_check(asked) for asked in world.asked]
    table: Table = {name: Measured() for name in servers}
    with ExitStack() as stack:
        load = stack.enter_context(loading(requests))
        for name, server in servers.items():
            prove(name, server.port, requests)
            load.run(server.port, 1)
        for turn in range(rounds):
            for name, server in servers.items():
                one_round(world, server, load, table[name], seconds)
                click.echo(f"round {turn + 1} {name:30} {table[name].micros[-1]:6.1f} µs", err=True)
        return table, _grown(stack, servers[WITH], requests, seconds)


def _grown(stack: ExitStack, server: Server, requests: Sequence[Request], seconds: int) -> Grown:
    one = server.rss()
    load = stack.enter_context(loading(with_addresses(requests)))
    load.run(server.port, max(3, seconds))
    return Grown(one, server.rss())


def with_addresses(requests: Sequence[Request]) -> list[Request]:
    """Return requests of the same users from `ADDRESSES` addresses, each inside the network."""
    first = int(ip_address("10.0.0.1"))
    addresses = (str(ip_address(first + number)).encode() for number in range(ADDRESSES))
    return [
        Request(each.raw.replace(CLIENT, address), each.status, each.body)
        for number, address in enumerate(addresses)
        for each in (requests[number % len(requests)],)
    ]


def lines(table: Table, grown: Grown) -> Iterator[str]:
    """Return Markdown."""
    yield "| policy | CPU µs a request [min–max] |"
    yield "| --- | ---: |"
    for name, found in table.items():
        yield f"| {name} | {found.cost:.1f} [{min(found.micros):.1f}–{max(found.micros):.1f}] |"
    more = statistics.median(a - b for a, b in zip(table[WITH].micros, table[WITHOUT].micros, strict=True))
    verdict = "ok" if more <= MOST_MICROS else "short"
    yield ""
    yield "| | measured | wanted | |"
    yield "| --- | ---: | ---: | --- |"
    yield f"| needs on every cell, additional CPU a check | {more:+.2f} µs | ≤ {MOST_MICROS:g} µs | {verdict} |"
    yield f"| memory after {ADDRESSES:,} client addresses | {(grown.many - grown.one) / 1e6:+.1f} MB | flat | |"
