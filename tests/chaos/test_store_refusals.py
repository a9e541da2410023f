"""R50: whatever a server or a proxy answers, the sidecars deny, stay, say why once, and come back by themselves."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.chaos.redis_double import RedisDouble
from tests.chaos.rig import FULL, LEASE, RedisServer, Relay
from tests.chaos.test_store_losses import SLACK, UNAVAILABLE, Scene, all_are, stage
from tests.live.support import eventually

__all__ = ["stage"]

pytestmark = pytest.mark.slow

REPLIES = (
    # Redis
    b"-NOAUTH Authentication required.",
    b"-WRONGPASS invalid username-password pair or user is disabled.",
    b"-NOPERM this user has no permissions to run the 'evalsha' command",
    b"-ERR The user executing the script can't run this command or subcommand script: ab",
    b"-ERR unknown command 'EVALSHA', with args beginning with: 'ab' '3' 'sc:{p00}:side'",
    b"-ERR DB index is out of range",
    b"-ERR max number of clients reached",
    b"-ERR wrong number of arguments for 'xread' command",
    b"-ERR invalid DB index",
    b"-ERR syntax error",
    b"-ERR Protocol error: unbalanced quotes in request",
    b"-WRONGTYPE Operation against a key holding the wrong kind of value",
    b"-NOSCRIPT No matching script. Please use EVAL.",
    b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    b"-LOADING Redis is loading the dataset in memory",
    b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    b"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    b"-READONLY You can't write against a read only replica.",
    b"-NOREPLICAS Not enough good replicas to write.",
    b"-OOM command not allowed when used memory > 'maxmemory'.",
    b"-EXECABORT Transaction discarded because of previous errors.",
    b"-UNBLOCKED client unblocked via CLIENT UNBLOCK",
    b"-DENIED Redis is running in protected mode because protected mode is enabled",
    b"-INPROG Failover already in progress",
    b"-CLUSTERDOWN The cluster is down",
    b"-CLUSTERDOWN Hash slot not served",
    b"-CROSSSLOT Keys in request don't hash to the same slot",
    b"-TRYAGAIN Multiple keys request during rehashing of slot",
    b"-MOVED 3999 127.0.0.1:1",
    b"-ASK 3999 127.0.0.1:1",
    b"-IOERR error or timeout writing to client",
    # Envoy's redis_proxy
    b"-upstream failure",
    b"-no upstream host",
    b"-invalid request",
    b"-upstream protocol error",
    b"-request timed out",
    b"-NOAUTH Authentication required. (downstream)",
    # Twemproxy
    b"-ERR Connection refused",
    b"-ERR Connection timed out",
    b"-ERR Host is down",
    b"-SERVER_ERROR unknown",
    # no error at all, and no answer of ours
    b"+OK",
    b":1",
    b"$-1",
    b"*0",
    b"HTTP/1.1 400 Bad Request",
)
SHORT = (3, 6, 11, 18, 31, 40, 41, 44, 45)


@pytest.mark.parametrize(
    "reply", REPLIES if FULL else [REPLIES[number] for number in SHORT], ids=lambda reply: reply[:24]
)
async def test_R50_a_store_that_answers_otherwise_is_an_outage(
    stage: Callable[..., Awaitable[Scene]], redis_server: Callable[..., RedisServer], reply: bytes
) -> None:
    here = redis_server()
    async with Relay(here.port) as relay, RedisDouble(reply) as there:
        scene = await stage(relay.url, here)
        relay.turn_to(there.port)
        await asyncio.sleep(LEASE + SLACK)
        for _ in range(8):
            assert await scene.answers(scene.bob) == [UNAVAILABLE] * 2
            assert scene.ready() == [503, 503]
            await asyncio.sleep(0.1)
        relay.turn_to(here.port)
        await eventually(lambda: all_are(scene, (200, "allowed")), 8)
        await eventually(lambda: scene.ready() == [200, 200], 5)
    for process in scene.processes:
        assert process.popen.poll() is None, process.output()[-2000:]
        assert 1 <= len(scene.lines(process, "store unavailable")) <= 2
        assert "Traceback" not in process.output()
