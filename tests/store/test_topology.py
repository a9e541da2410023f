"""Topologies: one server, a Sentinel's master through a fail-over, a Cluster's masters. With real processes."""

import asyncio
import contextlib
import subprocess
import time

import pytest
import redis

from sidecar.domain.users import Actor
from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.errors import StoreMismatchError, StoreUnavailableError
from sidecar.store.live.record_cache import RecordCache
from sidecar.store.live.replica import RecordReplica
from sidecar.store.maintenance.backup import Backup, Restored
from sidecar.store.maintenance.fsck import Fsck
from sidecar.store.servers.connection_pools import Patience
from sidecar.store.servers.topology import FailoverTopology, SingleServer, topology
from tests.ports import free_port

OPERATOR = Actor.operator()


PATIENCE = Patience(0.4, 2.0)


# Addresses ------------------------------------------------------------------------------------------------------------


async def test_every_kind_of_address_has_its_topology():
    for url, kind, watched_over in (
        ("redis://127.0.0.1:6379/2", SingleServer, False),
        ("rediss://user:pw@store.example", SingleServer, False),
        ("unix:///tmp/s?db=1", SingleServer, False),
        ("redis+sentinel://a.example,b.example:26380/mymaster/3", FailoverTopology, True),
        ("rediss+sentinel://a.example/mymaster", FailoverTopology, True),
        ("redis+cluster://user:p%40ss@a.example:7000,[::1]:7001", FailoverTopology, True),
        ("rediss+cluster://a.example", FailoverTopology, True),
    ):
        found = topology(url, patience=PATIENCE)
        assert isinstance(found, kind), url
        assert found.has_failover is watched_over, url
        await found.close()


async def test_what_an_address_says_is_taken_over():
    found = topology(
        "rediss+sentinel://u:p%40ss@a.example/m/3?sentinel_username=w&ssl_cert_reqs=none",
        patience=PATIENCE,
        sentinel_password="secret",
    )
    options = found._pools.client(("a", 1)).connection_pool.connection_kwargs
    assert (options["db"], options["password"], options["username"]) == (3, "p@ss", "u")
    assert (options["ssl_cert_reqs"], options["socket_timeout"]) == ("none", 0.4)
    assert found._pools.client(("a", 1), write=True).connection_pool.connection_kwargs["socket_timeout"] == 2.0
    watcher = found._pools.sentinels[0].connection_pool
    assert (watcher.connection_kwargs["username"], watcher.connection_kwargs["password"]) == ("w", "secret")
    assert watcher.connection_kwargs["ssl_cert_reqs"] == "none"
    await found.close()


def test_an_address_that_cannot_be_is_refused():
    with pytest.raises(StoreMismatchError, match=r"SIDECAR_REDIS_URL \(redis\+sentinel://…\): it names no master"):
        topology("redis+sentinel://:secret@a.example", patience=PATIENCE)


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile"])
def test_a_certificate_that_is_none_is_named_at_the_start(name, tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    for file in ("gone.pem", "empty.pem"):
        with pytest.raises(StoreMismatchError, match=f"{name}=.*{file}"):
            topology(f"rediss://:secret@h?{name}={tmp_path / file}", patience=PATIENCE)


# Real servers ---------------------------------------------------------------------------------------------------------


BUS = 10_000
"""Offset of the cluster bus port of a server."""


class Servers:
    """Server processes of one test."""

    def __init__(self, binary, folder):
        self._binary = binary
        self._folder = folder
        self.processes = {}

    def start(self, port, *more):
        home = self._folder / str(port)
        home.mkdir(exist_ok=True)
        words = [*more, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home)]
        with (home / "log").open("ab") as log:
            process = self.processes[port] = subprocess.Popen([self._binary, *words], stdout=log, stderr=log)
        until(lambda: self.ask(port, "PING") or process.poll() is not None)
        assert process.poll() is None, (home / "log").read_text()

    def ask(self, port, *words):
        with redis.Redis(port=port, decode_responses=True, socket_timeout=2) as client:
            try:
                return client.execute_command(*words)
            except (redis.ConnectionError, redis.TimeoutError):
                return None

    def stop(self):
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(10)


def until(happens, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (found := happens()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


@pytest.fixture
def servers(redis_server_binary, tmp_path):
    running = Servers(redis_server_binary, tmp_path)
    yield running
    running.stop()


DATA = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
CAREFUL = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "5", "--repl-diskless-sync-delay", "0")


@pytest.fixture
def pair(servers):
    """A master and its replica."""
    master, replica = free_port(), free_port()
    servers.start(master, *DATA, *CAREFUL)
    servers.start(replica, *DATA, *CAREFUL, "--replicaof", f"127.0.0.1 {master}")
    until(lambda: servers.ask(master, "INFO", "replication").get("min_slaves_good_slaves") == 1)
    return servers, master, replica


@pytest.fixture
def watched(pair, tmp_path):
    """The pair with a Sentinel that promotes the replica a second after the master is gone."""
    servers, master, replica = pair
    sentinel = free_port()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor mymaster 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds mymaster 1000\n"
        "sentinel failover-timeout mymaster 3000\n"
    )
    servers.start(sentinel, str(configuration), "--sentinel")
    until(lambda: len(servers.ask(sentinel, "SENTINEL", "REPLICAS", "mymaster") or ()) == 1)
    return servers, master, replica, f"redis+sentinel://127.0.0.1:{sentinel}/mymaster"


@contextlib.asynccontextmanager
async def living(store, lease=0.5):
    live = RecordReplica(store, id="one", lease=lease, clock=time.monotonic)
    running = asyncio.create_task(live.run())
    try:
        yield live
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def sooner_or_later(call, seconds=15.0):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := await call():
                return found
        except StoreUnavailableError:
            pass
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_sentinels_master_is_followed_through_a_failover(watched, town_class, entropy):
    servers, master, replica, url = watched
    store = await Store.open(url)
    try:
        await store.check_meta()
        assert store.confirm_replicas == 1
        town = town_class(store, entropy)
        admin = await town.account()
        changed = await town.users.sign_out_everywhere(admin.id, OPERATOR)
        assert changed.position.durable
        async with living(store) as live:
            await sooner_or_later(lambda: lively(live, admin))
            servers.processes[master].kill()

            servers.ask(replica, "CONFIG", "SET", "min-replicas-to-write", "0")  # there is no replica left
            await sooner_or_later(lambda: town.users.change(OPERATOR, admin.id, name="New"))
            await sooner_or_later(lambda: lively(live, admin))
            record = await live.records.read(admin.id)
            assert (record.name, record.epoch) == ("New", 2)
            assert live.fleet._era >= 2  # it has detected that: absence proves nothing for a while
        assert servers.ask(replica, "ROLE")[0] == "master"
    finally:
        await store.close()


async def lively(live, admin):
    await live.records.read(admin.id)
    return live.records.peek(admin.id)


@pytest.mark.slow
async def test_R31_a_sentinel_master_without_min_replicas_is_rejected(watched):
    servers, master, _, url = watched
    servers.ask(master, "CONFIG", "SET", "min-replicas-to-write", "0")
    store = await Store.open(url)
    try:
        with pytest.raises(StoreMismatchError, match="min-replicas-to-write"):
            await store.check_meta()
    finally:
        await store.close()


@pytest.mark.slow
async def test_R31_one_replica_warns_and_a_lone_master_needs_consent(watched):
    servers, master, replica, url = watched
    store = await Store.open(url)
    try:
        said = [warning for warning in await store.check_meta() if "replica" in warning]
        assert len(said) == 1
        assert "has 1 replica: give each master 2" in said[0]

        servers.processes[replica].kill()
        servers.processes[replica].wait()
        servers.ask(master, "CONFIG", "SET", "min-replicas-to-write", "0")
        until(lambda: servers.ask(master, "INFO", "replication")["connected_slaves"] == 0)
        with pytest.raises(StoreMismatchError, match="SIDECAR_REDIS_LONE_MASTER=true"):
            await store.check_meta()
        store.lone_master = True
        said = [warning for warning in await store.check_meta() if "SIDECAR_REDIS_LONE_MASTER permits" in warning]
        assert len(said) == 1
    finally:
        await store.close()


@pytest.mark.slow
async def test_a_master_cut_off_from_its_replica_is_not_believed(pair, town_class, entropy):
    servers, master, _ = pair
    store = await Store.open(f"redis://127.0.0.1:{master}/0")
    try:
        await store.check_meta()
        town = town_class(store, entropy)
        admin = await sooner_or_later(town.account)
        async with living(store) as live:
            await sooner_or_later(lambda: lively(live, admin))
            servers.ask(master, "CONFIG", "SET", "min-replicas-to-write", "2")  # as when the other one is out of reach
            await sooner_or_later(lambda: refused(live, admin))
            servers.ask(master, "CONFIG", "SET", "min-replicas-to-write", "1")
            await sooner_or_later(lambda: lively(live, admin))
    finally:
        await store.close()


async def refused(live, admin):
    try:
        await live.records.read(admin.id)
    except StoreUnavailableError as problem:
        return problem.cause == "store_refusing"
    return False


@pytest.fixture
def cluster(servers):
    """Three masters."""
    ports = [free_port(BUS) for _ in range(3)]
    for port in ports:
        servers.start(port, *DATA, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
    for place, port in enumerate(ports):
        slots = range(16384 * place // 3, 16384 * (place + 1) // 3)
        servers.ask(port, "CLUSTER", "ADDSLOTS", *slots)
        servers.ask(port, "CLUSTER", "MEET", "127.0.0.1", ports[0])
    for port in ports:
        until(lambda port=port: knows_all(servers.ask(port, "CLUSTER", "INFO")))
        servers.ask(port, "CONFIG", "SET", "min-replicas-to-write", "0")
    return servers, ports


def knows_all(info):
    return "cluster_state:ok" in info and "cluster_slots_ok:16384" in info


async def lone(url):
    """Three masters without a replica: nothing can be promoted."""
    store = await Store.open(url)
    store.lone_master = True
    return store


@pytest.mark.slow
async def test_a_cluster_is_a_store_like_any_other(cluster, town_class, entropy, tmp_path):
    _servers, ports = cluster
    store = await lone(f"redis+cluster://127.0.0.1:{ports[0]}")
    try:
        await store.check_meta()
        assert store.partitions == 16
        assert len(await store.servers()) == 3
        town = town_class(store, entropy)
        admins = [await town.account(name=f"A{number}", email="ada@example.com") for number in range(6)]
        assert len({keys.partition_of(admin.account, 16) for admin in admins}) > 2
        assert await town.users.accounts_of("ada@example.com") == sorted(admin.account for admin in admins)
        async with living(store) as live:
            for admin in admins:
                await sooner_or_later(lambda admin=admin: lively(live, admin))
                actor = await town.signed_in(admin)
                await town.member(actor, admin.account, "b@example.com")
                changed = await town.users.sign_out_everywhere(admin.id, actor)
                assert (await live.fleet.wait_applied(changed.position)).complete
                assert (await live.records.read(admin.id)).epoch == 2
        assert (await Fsck(store).run()).findings == []
        await Backup(store).save(tmp_path / "backup")
        assert await Backup(store).load(tmp_path / "backup") == Restored(6, 12)
    finally:
        await store.close()


def move(servers, ports, key):
    """Move the slot of ``key``, with its content, to another master. Yields half way: keys, but no slot."""
    ids = {port: servers.ask(port, "CLUSTER", "MYID") for port in ports}
    slot = servers.ask(ports[0], "CLUSTER", "KEYSLOT", key)
    source = next(port for port in ports if servers.ask(port, "CLUSTER", "COUNTKEYSINSLOT", slot))
    target = next(port for port in ports if port != source)
    servers.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    servers.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    for moved in servers.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000):
        servers.ask(source, "MIGRATE", "127.0.0.1", target, moved, 0, 5000)
    yield
    for port in (target, source, *ports):
        servers.ask(port, "CLUSTER", "SETSLOT", slot, "NODE", ids[target])


@pytest.mark.slow
async def test_a_slot_that_moved_is_followed(cluster, town_class, entropy):
    servers, ports = cluster
    store = await lone(f"redis+cluster://127.0.0.1:{ports[0]}")
    try:
        await store.check_meta()
        for _ in move(servers, ports, keys.names()):
            pass

        await town_class(store, entropy).account(name="Moved")
        assert await store.command("HEXISTS", keys.names(), "moved")
    finally:
        await store.close()


@pytest.mark.slow
async def test_records_that_are_read_together_follow_a_slot_that_moves(cluster, town_class, entropy):
    servers, ports = cluster
    store = await lone(f"redis+cluster://127.0.0.1:{ports[0]}")
    try:
        await store.check_meta()
        town = town_class(store, entropy)
        admins = [await town.account(name=f"A{number}") for number in range(12)]
        moving = keys.partition_of(admins[0].account, 16)
        users = RecordCache(store, lease=1.0, clock=time.monotonic)
        for _ in move(servers, ports, keys.account(admins[0].account, 16)):
            half_way = await asyncio.gather(*(users.read(each.id) for each in admins * 3), return_exceptions=True)
            for each, found in zip(admins * 3, half_way, strict=True):
                if keys.partition_of(each.account, 16) == moving:
                    assert isinstance(found, StoreUnavailableError)
                else:
                    assert found == each

        assert await asyncio.gather(*(users.read(each.id) for each in admins * 3)) == admins * 3
    finally:
        await store.close()


@pytest.mark.slow
async def test_R50_an_incomplete_reshard_is_an_outage_of_its_slot(cluster, town_class, entropy):
    """Some keys moved, others not: scripts get TRYAGAIN, ASK or an error of their own."""
    servers, ports = cluster
    store = await lone(f"redis+cluster://127.0.0.1:{ports[0]}")
    try:
        await store.check_meta()
        town = town_class(store, entropy)
        admin = await town.account(name="Moving")
        key = keys.account(admin.account, 16)
        slot = servers.ask(ports[0], "CLUSTER", "KEYSLOT", key)
        source = next(port for port in ports if servers.ask(port, "CLUSTER", "COUNTKEYSINSLOT", slot))
        target = next(port for port in ports if port != source)
        ids = {port: servers.ask(port, "CLUSTER", "MYID") for port in ports}
        servers.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        servers.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        moving = servers.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000)
        for moved in moving[::2]:
            servers.ask(source, "MIGRATE", "127.0.0.1", target, moved, 0, 5000)
        with pytest.raises(StoreUnavailableError):
            await town.users.change(OPERATOR, admin.id, name="Half")
        for moved in moving[1::2]:
            servers.ask(source, "MIGRATE", "127.0.0.1", target, moved, 0, 5000)
        for port in (target, source, *ports):
            servers.ask(port, "CLUSTER", "SETSLOT", slot, "NODE", ids[target])
        assert await town.users.change(OPERATOR, admin.id, name="Whole")
    finally:
        await store.close()


@pytest.mark.slow
async def test_a_cluster_that_lost_a_master_is_out_for_its_slots(cluster):
    servers, ports = cluster
    store = await lone(f"redis+cluster://127.0.0.1:{ports[1]},127.0.0.1:{ports[0]}")
    try:
        await store.check_meta()
        slot = servers.ask(ports[0], "CLUSTER", "KEYSLOT", keys.META)
        owner = next(port for port in ports if servers.ask(port, "CLUSTER", "COUNTKEYSINSLOT", slot))
        servers.processes[owner].kill()
        servers.processes[owner].wait()
        with pytest.raises(StoreUnavailableError):
            await store.ping()
    finally:
        await store.close()
