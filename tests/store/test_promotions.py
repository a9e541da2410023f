"""Masters that are replaced while checks go on: the duration of denials, and recovery without an operator.

Real servers, in process. Denials are timed on direct reads and copies of `Records`, as a check uses them.
"""

import asyncio
import contextlib
import time

import pytest
import redis

from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.servers.url_file_watch import PASSWORD, URL, StoreUrlWatch
from tests.ports import free_port
from tests.store.test_topology import (
    BUS,
    CAREFUL,
    DATA,
    OPERATOR,
    knows_all,
    lively,
    living,
    pair,
    servers,
    sooner_or_later,
    watched,
)
from tests.store.test_topology import until as until_

__all__ = ["pair", "servers", "watched"]

pytestmark = pytest.mark.slow

QUICK = (*DATA, *CAREFUL, "--repl-ping-replica-period", "1")


async def until(happens, seconds=20.0):
    """Wait as for a process, while the event loop runs."""
    return await asyncio.to_thread(until_, happens, seconds)


class Denials:
    """Reads of one user, every 20 ms; ``seconds``: the longest time without a reply since ``mark``."""

    def __init__(self, live, user):
        self._live, self._user = live, user
        self.seconds = 0.0
        self.since = None
        self._running = asyncio.create_task(self._run())

    async def _run(self):
        while True:
            now = time.monotonic()
            try:
                await self._live.records.read(self._user)
                self.since = None
            except StoreUnavailableError:
                self.since = self.since or now
            if self.since is not None:
                self.seconds = max(self.seconds, time.monotonic() - self.since)
            await asyncio.sleep(0.02)

    async def end(self):
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


@contextlib.asynccontextmanager
async def denials(live, *users):
    found = [Denials(live, user.id) for user in users]
    try:
        yield found
    finally:
        for one in found:
            await one.end()


def replicas_of(servers, port):
    return (servers.ask(port, "INFO", "replication") or {}).get("min_slaves_good_slaves", 0)


def begin_watched(servers, tmp_path, options=QUICK):
    """A master with two replicas and three Sentinels."""
    master, first, second = ports = [free_port() for _ in range(3)]
    servers.start(master, *options)
    for port in (first, second):
        servers.start(port, *options, "--replicaof", f"127.0.0.1 {master}")
    sentinels = [free_port() for _ in range(3)]
    for port in sentinels:
        file = tmp_path / f"sentinel-{port}.conf"
        file.write_text(
            f"sentinel monitor mymaster 127.0.0.1 {master} 2\n"
            "sentinel down-after-milliseconds mymaster 1000\n"
            "sentinel failover-timeout mymaster 10000\n"
        )
        servers.start(port, str(file), "--sentinel")
    until_(lambda: replicas_of(servers, master) == 2)
    for port in sentinels:
        until_(lambda port=port: len(servers.ask(port, "SENTINEL", "REPLICAS", "mymaster") or ()) == 2)
        until_(lambda port=port: len(servers.ask(port, "SENTINEL", "SENTINELS", "mymaster") or ()) == 2)
    places = ",".join(f"127.0.0.1:{port}" for port in sentinels)
    return ports, sentinels, f"redis+sentinel://{places}/mymaster"


async def test_R49_a_planned_failover_denies_for_under_three_seconds(servers, tmp_path, town_class, entropy):
    (master, *_), sentinels, url = await asyncio.to_thread(begin_watched, servers, tmp_path)
    store = await Store.open(url)
    try:
        assert not any("replica" in warning for warning in await store.check_meta())
        town = town_class(store, entropy)
        admin = await sooner_or_later(town.account)
        async with living(store, lease=1.0) as live:
            await sooner_or_later(lambda: lively(live, admin))
            await asyncio.sleep(1.5)  # Sentinel reads the replicas' offsets once a second
            async with denials(live, admin) as (denied,):
                servers.ask(sentinels[0], "SENTINEL", "FAILOVER", "mymaster")
                await until(lambda: int(servers.ask(sentinels[0], *MASTER)[1]) != master)
                await asyncio.sleep(3.0)  # the old one still reports itself as a master
                assert await sooner_or_later(lambda: town.users.change(OPERATOR, admin.id, name="New"))
                await sooner_or_later(lambda: lively(live, admin))
            assert denied.since is None
            assert denied.seconds < 3.0
    finally:
        await store.close()


class GuardedSentinel:
    """A Sentinel whose default user has passwords; the test has a user of its own."""

    def __init__(self, port, password):
        self._client = redis.Redis(port=port, username="tester", password="t", decode_responses=True)
        with redis.Redis(port=port) as open_to_all:
            open_to_all.execute_command("ACL", "SETUSER", "tester", "on", ">t", "~*", "&*", "+@all")
            open_to_all.execute_command("ACL", "SETUSER", "default", "resetpass", f">{password}")

    def ask(self, *words):
        return self._client.execute_command(*words)

    def close(self):
        self._client.close()


async def test_R49_the_sentinels_password_is_rotated_while_serving(watched, tmp_path, town_class, entropy, capsys):
    """Redis' way: both passwords for a while. The new one is proven by a fail-over that only the Sentinel tells of."""
    _, _, replica, url = watched
    file, rejected = tmp_path / "sentinel-password", []
    sentinel = GuardedSentinel(int(url.rpartition(":")[2].partition("/")[0]), "old-word")
    file.write_text("old-word\n")
    store = Store.at(url, sentinel_password="old-word")
    store.lone_master = True
    try:
        await store.check_meta()
        town = town_class(store, entropy)
        admin = await sooner_or_later(town.account)
        async with living(store, lease=1.0) as live:
            used = {URL: url, PASSWORD: "old-word"}
            watch = StoreUrlWatch(
                {PASSWORD: file}, used, lone_master=True, take_over=live.take_over, rejected=rejected.append
            )
            await sooner_or_later(lambda: lively(live, admin))
            async with denials(live, admin) as (denied,):
                file.write_text("wrong-word\n")
                await watch.read()
                assert rejected == [1]
                sentinel.ask("ACL", "SETUSER", "default", ">new-word")
                file.write_text("new-word\n")
                await watch.read()
                assert rejected == [1, 0]
                sentinel.ask("ACL", "SETUSER", "default", "<old-word")
                sentinel.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                await asyncio.sleep(1.5)
                assert denied.seconds == 0.0
            sentinel.ask("SENTINEL", "FAILOVER", "mymaster")
            await until(lambda: int(sentinel.ask(*MASTER)[1]) == replica)
            assert await sooner_or_later(lambda: town.users.change(OPERATOR, admin.id, name="New"))
            await sooner_or_later(lambda: lively(live, admin))
            with redis.Redis(port=replica, decode_responses=True) as promoted:
                assert promoted.info("replication")["role"] == "master"
                assert promoted.hget(f"{keys.account(admin.account, 1)}:u:{admin.id}", "name") == "New"
    finally:
        sentinel.close()
        await store.close()
    written = capsys.readouterr()
    assert not [word for word in ("old-word", "new-word", "wrong-word") if word in written.out + written.err]


MASTER = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")


async def test_R49_a_dead_master_denies_only_its_slots_until_failover(servers, town_class, entropy):
    """Three masters; the killed one has two replicas."""
    ports, store = await asyncio.to_thread(begin_cluster, servers), None
    try:
        store = await Store.open(f"redis+cluster://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}")
        store.lone_master = True
        await store.check_meta()
        town = town_class(store, entropy)
        admins = [await sooner_or_later(lambda n=n: town.account(name=f"A{n}")) for n in range(8)]
        slots = {
            admin.id: servers.ask(ports[0], "CLUSTER", "KEYSLOT", keys.account(admin.account, 16)) for admin in admins
        }
        dying = [admin for admin in admins if slots[admin.id] < 16384 // 3]
        others = [admin for admin in admins if admin not in dying]
        assert dying and others
        async with living(store, lease=1.0) as live:
            for admin in admins:
                await sooner_or_later(lambda admin=admin: lively(live, admin))
            async with denials(live, *others) as apart, denials(live, *dying) as concerned:
                servers.processes[ports[0]].kill()
                servers.processes[ports[0]].wait()
                await until(lambda: any(role(servers, port) == "master" for port in ports[3:]))
                for admin in dying:
                    await sooner_or_later(lambda admin=admin: lively(live, admin))
                changed = await sooner_or_later(lambda: town.users.sign_out_everywhere(dying[0].id, OPERATOR))
                assert (await live.fleet.wait_applied(changed.position)).complete
                assert all(one.since is None for one in concerned)
            assert max(one.seconds for one in apart) < 0.5
    finally:
        if store is not None:
            await store.close()


def role(servers, port):
    return (servers.ask(port, "ROLE") or ("",))[0]


def begin_cluster(servers):
    ports = [free_port(BUS) for _ in range(5)]
    cluster = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "1000")
    more = ("--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0")
    for port in ports:
        servers.start(port, *DATA, "--repl-diskless-sync-delay", "0", *cluster, *more)
    for place, port in enumerate(ports):
        if place < 3:
            slots = (str(16384 * place // 3), str(16384 * (place + 1) // 3 - 1))
            servers.ask(port, "CLUSTER", "ADDSLOTSRANGE", *slots)
        servers.ask(port, "CLUSTER", "MEET", "127.0.0.1", str(ports[0]))
    for port in ports:
        until_(lambda port=port: knows_all(servers.ask(port, "CLUSTER", "INFO")))
    first = servers.ask(ports[0], "CLUSTER", "MYID")
    for port in ports[3:]:
        until_(
            lambda port=port: (
                servers.ask(port, "CLUSTER", "NODES") and first in str(servers.ask(port, "CLUSTER", "NODES"))
            )
        )
        servers.ask(port, "CLUSTER", "REPLICATE", first)
    for port in (ports[0], *ports[3:]):
        servers.ask(port, "CONFIG", "SET", "min-replicas-to-write", "1")
        servers.ask(port, "CONFIG", "SET", "min-replicas-max-lag", "5")
    until_(lambda: replicas_of(servers, ports[0]) == 2)
    return ports
