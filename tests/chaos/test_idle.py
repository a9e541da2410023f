"""Bound of an idle sidecar's store calls. It follows from lease, feed block and the checks of each minute."""

import asyncio
import os
from collections.abc import Callable

import pytest
import redis

from tests.chaos.rig import LEASE, RedisServer
from tests.live.conftest import Start

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("SIDECAR_TEST_IDLE", "6"))
"""`SIDECAR_TEST_IDLE=60`: a whole minute, with what is asked once a minute."""
BLOCK = min(0.25, LEASE / 4)
COMPARE = 10.0
"""Seconds between two comparisons of the fleet's policies."""
ONCE_A_MINUTE = 40
"""INFO, CONFIG and the exporter's lease every 5 seconds; counted whole, as any of it may fall into the time."""
AOF_BYTES_A_MINUTE = 1500
"""The exporter's lease, which lasts beyond a restart. Registrations are not logged."""


def _calls(client: "redis.Redis") -> dict[str, int]:
    stats = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()}


async def test_an_idle_sidecar_only_sends_lease_and_feed_commands(
    start: Start, redis_server: Callable[..., RedisServer]
) -> None:
    server = redis_server()
    await asyncio.to_thread(start, REDIS_URL=server.url)
    with server.client() as client:
        await asyncio.sleep(2)
        before, size = _calls(client), client.info("persistence")["aof_current_size"]
        await asyncio.sleep(SECONDS)
        after, grown = _calls(client), client.info("persistence")["aof_current_size"] - size
    asked = {name: count - before.get(name, 0) for name, count in after.items()}
    scripts, reads = asked.get("evalsha", 0) + asked.get("eval", 0), asked.get("xread", 0)
    shown = {name: count for name, count in asked.items() if count}
    due = 2 * SECONDS / LEASE + SECONDS / COMPARE + 2
    assert 0 < scripts <= due, f"a registration twice a lease, and a look at the fleet: {shown}"
    assert 0 < reads <= SECONDS / BLOCK + 2, f"the feed is read once a block: {shown}"
    outside = sum(
        asked.get(name, 0)
        for name in ("info", "config|get", "ping", "set", "hset", "client|setinfo", "scan", "command")
    )
    assert outside <= ONCE_A_MINUTE, shown
    assert grown <= AOF_BYTES_A_MINUTE * max(SECONDS / 60, 0.5), f"the append-only file grew by {grown} bytes"
