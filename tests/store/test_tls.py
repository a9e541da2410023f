"""TLS to one server, to Sentinels and their servers, to a Cluster. With real servers that support TLS."""

import shutil
import subprocess
import time

import pytest
import redis

from sidecar.store.connection import Store
from sidecar.store.errors import StoreMismatchError, StoreUnavailableError
from tests.ports import free_port
from tests.server.certificates import make_pair
from tests.store.test_topology import BUS, DATA, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tls_binary(redis_server_binary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    chain, key = make_pair(folder)
    for binary in filter(None, (redis_server_binary, *map(shutil.which, ("redis-server", "valkey-server")))):
        port = free_port()
        with subprocess.Popen([binary, *secured(port, chain, key), "--save", ""], stdout=subprocess.DEVNULL) as process:
            time.sleep(0.3)
            able = process.poll() is None
            process.kill()
        if able:
            return binary
    pytest.skip("no Redis or Valkey with TLS here: install one whose build has it (Debian's redis-server)")


def secured(port, chain, key):
    files = ("--tls-cert-file", str(chain), "--tls-key-file", str(key), "--tls-ca-cert-file", str(chain))
    both = ("--tls-replication", "yes", "--tls-cluster", "yes", "--tls-auth-clients", "no")
    return ("--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", *files, *both)


class Tls:
    """Servers with TLS alone. ``wants_clients``: they require another certificate of clients."""

    def __init__(self, binary, folder):
        self._binary = binary
        self._folder = folder
        self.chain, self.key = make_pair(folder)
        self._processes = []

    def start(self, port, *first, more=()):
        home = self._folder / str(port)
        home.mkdir()
        words = [self._binary, *first, *secured(port, self.chain, self.key), "--dir", str(home), *more]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log)
        self._processes.append(process)
        until(lambda: self.ask(port, "PING") is not None or process.poll() is not None)
        assert process.poll() is None, (home / "log").read_text()
        return port

    def ask(self, port, *words, password=None):
        with redis.Redis(
            port=port,
            ssl=True,
            ssl_ca_certs=str(self.chain),
            ssl_certfile=str(self.chain),
            ssl_keyfile=str(self.key),
            password=password,
            decode_responses=True,
        ) as client:
            try:
                return client.execute_command(*words)
            except redis.AuthenticationError:
                return ""
            except (redis.ConnectionError, redis.TimeoutError):
                return None

    def stop(self):
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait(10)


@pytest.fixture
def tls(tls_binary, tmp_path):
    running = Tls(tls_binary, tmp_path)
    yield running
    running.stop()


async def is_used(url, tls, **options):
    """Assert that the store works with the CA's file, for reads, writes and the feed; without it, one line with the
    remedy.
    """
    asked = "&" if "?" in url else "?"
    store = await Store.open(f"{url}{asked}ssl_ca_certs={tls.chain}", read_timeout=5.0, write_timeout=5.0, **options)
    store.lone_master = True
    try:
        await store.check_meta()
        async with store.listening("sc:{p00}:feed", 5.0) as connection:
            assert await connection.ping()
    finally:
        await store.close()
    with pytest.raises(StoreUnavailableError, match="ssl_ca_certs"):
        await Store.open(url, read_timeout=5.0, **options)


async def test_one_server(tls):
    port = tls.start(free_port(), more=DATA)
    await is_used(f"rediss://127.0.0.1:{port}/0", tls)
    store = await Store.open(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none", read_timeout=5.0)
    await store.close()
    with pytest.raises(StoreUnavailableError, match="rediss://"):
        await Store.open(f"redis://127.0.0.1:{port}/0")


async def test_a_server_that_wants_a_clients_certificate(tls):
    port = tls.start(free_port(), more=(*DATA, "--tls-auth-clients", "yes"))
    url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tls.chain}"
    store = await Store.open(f"{url}&ssl_certfile={tls.chain}&ssl_keyfile={tls.key}", read_timeout=5.0)
    await store.close()
    with pytest.raises(StoreUnavailableError, match="certificate"):
        await Store.open(url, read_timeout=5.0)
    with pytest.raises(StoreMismatchError, match="ssl_keyfile"):
        await Store.open(f"{url}&ssl_certfile={tls.chain}&ssl_keyfile={tls.key}-gone")


async def test_sentinels_with_a_password_of_their_own(tls, tmp_path):
    master, sentinel = tls.start(free_port(), more=DATA), free_port()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"requirepass S3cretWatch\nsentinel monitor mymaster 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds mymaster 5000\n"
    )
    tls.start(sentinel, str(configuration), "--sentinel")
    url = f"rediss+sentinel://127.0.0.1:{sentinel}/mymaster"
    await is_used(url, tls, sentinel_password="S3cretWatch")
    named = f"{url}?sentinel_username=default"
    await is_used(named, tls, sentinel_password="S3cretWatch")
    for password in (None, "S3cretNot"):
        with pytest.raises(StoreUnavailableError, match="SIDECAR_REDIS_SENTINEL_PASSWORD") as caught:
            await Store.open(f"{url}?ssl_ca_certs={tls.chain}", read_timeout=5.0, sentinel_password=password)
        assert "S3cret" not in str(caught.value)


async def test_a_cluster(tls):
    port = tls.start(free_port(BUS), more=(*DATA, "--cluster-enabled", "yes"))
    tls.ask(port, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    until(lambda: "cluster_state:ok" in str(tls.ask(port, "CLUSTER", "INFO")))
    await is_used(f"rediss+cluster://127.0.0.1:{port}", tls)
