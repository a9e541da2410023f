"""Every kind of unsuitable Redis at the start: one short line with the remedy, for each verb and for ``serve``.

Servers are real ones, or a few lines that respond as other programs do.
"""

import asyncio
import contextlib
import re

import pytest

from sidecar.store.connection import Store
from sidecar.store.errors import StoreMismatchError, StoreUnavailableError
from tests.ports import free_port
from tests.store.test_topology import BUS, servers, until

__all__ = ["servers"]


LIBRARY = r"\b(?!StoreUnavailable|StoreMismatch)\w+(?:Error|Response)\b|Errno|Error \d|object at|Traceback|\('"
"""Words of a library's exception."""


@contextlib.asynccontextmanager
async def program(answer, first=b""):
    """A server that responds to every message with ``answer``."""

    async def serve(reader, writer):
        writer.write(first)
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def start_problem(url, **options):
    """Return the error of a verb and of ``serve``: StoreMismatchError or StoreUnavailableError."""
    store = None
    try:
        store = Store.at(url, **options)
        await store.check_meta(issuer="http://127.0.0.1:9181", audience="dashboard")
    except (StoreMismatchError, StoreUnavailableError) as problem:
        assert "\n" not in str(problem)
        assert len(str(problem)) < 420
        assert "S3cret" not in str(problem)
        assert not re.search(LIBRARY, str(problem))
        return problem
    finally:
        if store is not None:
            await store.close()
    raise AssertionError("nothing was wrong")


async def says(url, *parts, misconfigured=None, **options):
    problem = await start_problem(url, **options)
    for part in parts:
        assert part in str(problem)
    if misconfigured is not None:
        assert (isinstance(problem, StoreMismatchError) or problem.misconfigured) is misconfigured


@pytest.mark.parametrize(
    ("scheme", "answer", "first", "remedy"),
    [
        ("redis", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", "another program answers"),
        ("redis", b"", b"220 mail.example ESMTP\r\n", "another program answers"),
        ("redis", b"-ERR unknown command `INFO`\r\n", b"", "use Redis 6.2 or newer"),
        ("redis", b"-upstream failure\r\n", b"", "upstream failure"),
        ("redis", b"-ERR unknown command 'EVALSHA'\r\n", b"", "6.2 or newer"),
        ("redis", b"+OK\r\n", b"", "not Redis"),
        ("redis", b":7\r\n", b"", "not Redis"),
        ("redis", b"*0\r\n", b"", "not Redis"),
        ("redis", b"$-1\r\n", b"", "not Redis"),
        ("redis", b"*1\r\n$1\r\nx\r\n", b"", "not Redis"),
        ("redis", b"$2\r\n\xff\xfe\r\n", b"", "not Redis"),
        ("redis", b"-NOAUTH Authentication required.\r\n", b"", "correct user and password"),
        ("redis", b"-LOADING Redis is loading\r\n", b"", "LOADING"),
        ("rediss", b"-ERR Protocol error\r\n", b"", "the port has no TLS"),
        ("redis+cluster", b"+OK\r\n", b"", "names no masters"),
        ("redis+cluster", b"-ERR This instance has cluster support disabled\r\n", b"", "redis://HOST:PORT/0"),
        ("redis+sentinel", b"+OK\r\n", b"", "names no master"),
        ("redis+sentinel", b"-ERR unknown command `SENTINEL`, with args\r\n", b"", "it is not a Sentinel"),
        ("redis+sentinel", b"*-1\r\n", b"", "correct the master's name"),
        ("redis+sentinel", b"-NOAUTH Authentication required.\r\n", b"", "user and password"),
    ],
)
async def test_R50_another_program_is_one_line_with_the_remedy(scheme, answer, first, remedy):
    tail = "/mymaster" if scheme.endswith("sentinel") else ""
    async with program(answer, first) as port:
        await says(f"{scheme}://127.0.0.1:{port}{tail}", remedy)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "redis+sentinel"])
async def test_a_store_that_is_not_there_is_one_line_with_the_remedy(scheme):
    tail = "/mymaster" if scheme.endswith("sentinel") else ""
    await says(f"{scheme}://:S3cret@127.0.0.1:{free_port()}{tail}", "start the server", misconfigured=False)


async def test_a_missing_host_or_socket_is_one_line_with_a_remedy(tmp_path):
    await says(f"unix://{tmp_path}/none", "start the server", misconfigured=False)
    await says("redis://no-such-host.invalid", "correct the host", misconfigured=False, read_timeout=5.0)


async def test_a_misconfigured_server_is_one_line_with_a_remedy(servers):
    port, cluster = free_port(), free_port(BUS)
    servers.start(port, "--save", "", "--databases", "4", "--appendonly", "yes")
    await says(f"redis://127.0.0.1:{port}/4", "choose a database", misconfigured=True)
    await says(f"redis+cluster://127.0.0.1:{port}", "it is not a Redis Cluster", misconfigured=True)
    await says(f"redis+sentinel://127.0.0.1:{port}/m", "it is not a Sentinel", misconfigured=True)
    await says(f"rediss://127.0.0.1:{port}", "TLS (rediss:// or redis://)", misconfigured=False)
    await says(f"redis://:S3cret@127.0.0.1:{port}", "correct user and password", misconfigured=False)
    servers.ask(port, "ACL", "SETUSER", "side", "on", ">S3cret", "~sc:*", "+ping", "+info", "+config")
    await says(f"redis://side:S3cret@127.0.0.1:{port}", "grant the rights", misconfigured=False)
    await says(f"redis://side:S3cretNot@127.0.0.1:{port}", "WRONGPASS", "correct user", misconfigured=False)
    servers.start(cluster, "--save", "", "--cluster-enabled", "yes")
    servers.ask(cluster, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    until(lambda: "cluster_state:ok" in servers.ask(cluster, "CLUSTER", "INFO"))
    await says(f"redis://127.0.0.1:{cluster}/0", "is a Redis Cluster", misconfigured=True)
    await says(f"redis://127.0.0.1:{cluster}/1", misconfigured=True)  # Valkey 9 has more than one there


async def test_a_sentinel_asked_as_a_store_is_one_line_with_the_remedy(servers, tmp_path):
    port = free_port()
    (tmp_path / "sentinel.conf").write_text("")
    servers.start(port, str(tmp_path / "sentinel.conf"), "--sentinel")
    await says(f"redis://127.0.0.1:{port}", "is a Sentinel", "redis+sentinel://", misconfigured=True)
    await says(f"redis+sentinel://127.0.0.1:{port}/other", "correct the master's name", misconfigured=False)
