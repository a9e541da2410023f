"""``python -m tests.bench.restore``: seconds of a backup and a restore of many accounts, on a server of its own.

The restore is of an empty store, then of the same store again. CPU seconds are of this process and of the server: with
other work on the machine, read those.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import click

from sidecar.domain.users import Actor
from sidecar.store.accounts import Accounts
from sidecar.store.connection import Store
from sidecar.store.errors import gather_all
from sidecar.store.invitations import Invitations
from sidecar.store.maintenance.backup import Backup
from sidecar.tokens.ids import new_account_id, new_user_id
from tests.chaos.rig import RedisServer

T = TypeVar("T")
AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds."""

    wall: float
    cpu: float
    server: float


async def measured(store: Store, work: Callable[[], Awaitable[T]]) -> tuple[T, Cost]:
    wall, cpu, server = time.perf_counter(), time.process_time(), await server_cpu(store)
    done = await work()
    return done, Cost(time.perf_counter() - wall, time.process_time() - cpu, await server_cpu(store) - server)


def client(store: Store) -> Any:
    """Return the store's own client; there is one, for a server without Sentinel or Cluster."""
    assert store.client is not None
    return store.client


async def server_cpu(store: Store) -> float:
    used = await client(store).info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


async def populate(store: Store, accounts: int) -> None:
    """An administrator and two invited users per account, so eight audit rows or so."""
    every, invitations = Accounts(store), Invitations(store)

    async def make(number: int) -> None:
        account = new_account_id(os.urandom(17))
        operator, domain = Actor.operator(), f"a{number}.example"
        await every.create(
            account=account,
            name=f"Account {number}",
            cap=5,
            admin=new_user_id(account, os.urandom(17)),
            email=f"ada@{domain}",
            admin_name="Ada",
            password_hash="h" * 97,
            actor=operator,
        )
        for name in ("bob", "eve"):
            await invitations.invite(
                operator,
                account=account,
                uid=new_user_id(account, os.urandom(17)),
                email=f"{name}@{domain}",
                name=name,
                role="marketer",
                digest="d" * 43,
                ttl=7 * 86400.0,
            )

    for start in range(0, accounts, AT_ONCE):
        await gather_all(*(make(number) for number in range(start, min(start + AT_ONCE, accounts))))


async def run(url: str, accounts: int, folder: Path) -> dict[str, Cost]:
    store, file = await Store.open(url, read_timeout=10, write_timeout=10), folder / "backup"
    try:
        await store.check_meta()
        await populate(store, accounts)
        written, backup = await measured(store, lambda: Backup(store).save(file))
        assert written.accounts == accounts
        await client(store).flushall()
        await store.check_meta()
        found = {"backup": backup}
        for name in ("restore, empty store", "restore, same store"):
            restored, found[name] = await measured(store, lambda: Backup(store).load(file))
            assert restored.accounts == accounts
        return found
    finally:
        await store.close()


@click.command()
@click.option("--accounts", default=10_000, show_default=True, help="Of three users each.")
@click.option("--server", default="/usr/bin/redis-server", show_default=True, help="Redis or Valkey server.")
def main(accounts: int, server: str) -> None:
    """Measure backup and restore. Wants redis-server."""
    redis_server = RedisServer(server, "--appendfsync", "everysec")
    try:
        with TemporaryDirectory() as folder:
            found = asyncio.run(run(redis_server.start().url, accounts, Path(folder)))
    finally:
        redis_server.close()
    click.echo(f"{accounts:,} accounts; load of the machine {os.getloadavg()[0]:.1f}")
    click.echo("| | seconds | CPU seconds here | CPU seconds of the server |\n| --- | ---: | ---: | ---: |")
    for name, cost in found.items():
        click.echo(f"| {name} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.server:.1f} |")


if __name__ == "__main__":
    main()
