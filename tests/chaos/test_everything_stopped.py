"""SIGSTOP of every process once: supervisor, workers, a single sidecar, the store. No wrong answer, and all go on."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.rig import FULL, RedisServer
from tests.chaos.scenario import any_of, settle
from tests.chaos.traffic import traffic
from tests.live.conftest import Start
from tests.live.support import Http, Process, eventually

SEED = int(os.environ.get("SIDECAR_TEST_SEED", "20261130"))
STOPPED = 3.0 if FULL else 1.5
"""Seconds, more than a lease and less than the five after which a supervisor replaces a worker."""

pytestmark = pytest.mark.slow


def family(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


async def test_each_process_may_stop_once_and_no_answer_is_wrong(
    start: Start, http: Callable[[Process], Http], redis_server: Callable[..., RedisServer]
) -> None:
    store = redis_server()
    several = start(REDIS_URL=store.url, WORKERS="2")
    single = start(REDIS_URL=store.url)
    api = http(several)
    town = await settle(api, several)
    with store.client() as client:
        server = int(client.info("server")["process_id"])
    everything = [*family(several.popen.pid), *family(single.popen.pid), server]
    assert len(everything) >= 5, "supervisor, two workers, a sidecar, the store"
    random.Random(SEED).shuffle(everything)
    async with traffic(api, [several.url, single.url], any_of(town.questions()), clients=4, seed=SEED) as seen:
        for pid in everything:
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(STOPPED)
            finally:
                os.kill(pid, signal.SIGCONT)
            await eventually(lambda: single.http_status("/readyz") == several.http_status("/readyz") == 200, 20)
        begun = time.monotonic()
        await asyncio.sleep(1.5)
    wrong = [one for one in seen if not one.right and not one.unavailable]
    assert wrong == [], f"{len(wrong)} wrong with seed {SEED}"
    after = [one for one in seen if one.sent > begun + 0.5]
    assert {one.url for one in after} == {several.url, single.url}
    assert [one for one in after if not one.right] == []
    assert (several.popen.poll(), single.popen.poll()) == (None, None)
