"""The store freezes, or dies and comes back from its file, under load: no wrong answer, nothing to be done by hand."""

import asyncio
import time
from collections.abc import Callable, Sequence

import pytest

from tests.chaos.rig import FULL, LEASE, RedisServer
from tests.chaos.scenario import Scenario, any_of, settle
from tests.chaos.traffic import Seen, traffic
from tests.live.conftest import Start
from tests.live.support import Http, Process, eventually

OUT = 10.0 if FULL else 2.0
SLACK = 0.25
"""Of a loaded machine: between a signal, the processes that notice it, and the clocks that we read."""

ANSWER = 1.0 + SLACK
RECOVERY = 1.0

pytestmark = pytest.mark.slow


def judge(seen: Sequence[Seen], urls: Sequence[str], down: float, up: float) -> None:
    """``down`` and ``up``: when the store went and when it was back."""
    wrong = [one for one in seen if not one.right and not one.unavailable]
    assert wrong == []
    early = [one for one in seen if one.received < down and one.unavailable]
    assert early == []
    stale = [one for one in seen if down + LEASE + SLACK < one.sent and one.received < up and not one.unavailable]
    assert stale == []
    slow = [one for one in seen if one.sent < up and one.received - one.sent > ANSWER]
    assert slow == []
    late = [one for one in seen if one.sent > up + RECOVERY and not one.right]
    assert late == []
    for url in urls:
        own = [one for one in seen if one.url == url]
        used = [one for one in own if down < one.sent < down + LEASE / 2 and one.right]
        refused = [one for one in own if down + LEASE < one.sent < up]
        back = min(one.received for one in own if one.right and one.sent > up)
        assert used, "the copy was not used while the lease lasted"
        assert refused, "nobody asked meanwhile"
        assert back < up + RECOVERY


async def settled(
    start: Start, http: Callable[[Process], Http], store: RedisServer
) -> tuple[Http, Scenario, list[str], list[Process]]:
    processes = [start(REDIS_URL=store.url), start(REDIS_URL=store.url)]
    api = http(processes[0])
    town = await settle(api, processes[0])
    return api, town, [process.url for process in processes], processes


async def test_a_frozen_store_is_ridden_out(
    start: Start, http: Callable[[Process], Http], redis_server: Callable[..., RedisServer]
) -> None:
    store = redis_server()
    api, town, urls, processes = await settled(start, http, store)
    async with traffic(api, urls, any_of(town.questions())) as seen:
        await asyncio.sleep(0.5)
        down = time.monotonic()
        store.freeze()
        await asyncio.sleep(OUT / 2)
        assert [process.http_status("/readyz") for process in processes] == [503, 503]
        assert [process.http_status("/livez") for process in processes] == [200, 200]
        await asyncio.sleep(OUT / 2)
        store.thaw()
        up = time.monotonic()
        await asyncio.sleep(RECOVERY + 0.5)
    judge(seen, urls, down, up)
    assert [process.http_status("/readyz") for process in processes] == [200, 200]


async def test_a_killed_store_restores_every_acknowledged_write(
    start: Start, http: Callable[[Process], Http], redis_server: Callable[..., RedisServer]
) -> None:
    store = redis_server()
    api, town, urls, _ = await settled(start, http, store)
    bob = await api.join(town.ada, "bob@example.com", "accountant")
    changed = await api.ask("PATCH", f"/v1/users/{bob.id}", token=town.ada.access, json={"role": "marketer"})
    assert changed.status == 200
    async with traffic(api, urls, any_of(town.questions())) as seen:
        await asyncio.sleep(0.5)
        down = time.monotonic()
        store.kill()
        await asyncio.sleep(OUT)
        store.start()
        up = time.monotonic()
        await asyncio.sleep(RECOVERY + 0.5)
    judge(seen, urls, down, up)
    for url in urls:
        answer = await api.check("/dashboard/billing/x", token=bob.access, url=url)
        assert (answer.status, answer.body["reason"]) == (403, "no_rule")
        assert (await api.check("/dashboard/media-library/x", token=bob.access, url=url)).status == 200


async def test_changes_around_a_kill_hold_if_they_were_acknowledged(
    start: Start, http: Callable[[Process], Http], redis_server: Callable[..., RedisServer]
) -> None:
    """Another role again and again, into the kill: the one that was acknowledged last holds, or the one under way."""
    store = redis_server()
    api, town, urls, _ = await settled(start, http, store)
    target = town.people["accountant"]
    acknowledged = "accountant"
    found: set[tuple[int, str]] = set()

    async def answered() -> bool:
        answers = [await api.check("/dashboard/billing/x", token=target.access, url=url) for url in urls]
        found.clear()
        found.update((answer.status, answer.headers["X-Auth-Reason"]) for answer in answers)
        return (403, "store_unavailable") not in found

    for turn in range(3 if not FULL else 10):
        killer = asyncio.get_running_loop().call_later(0.05 + 0.017 * turn, store.kill)
        while True:
            wanted = "marketer" if acknowledged == "accountant" else "accountant"
            path = f"/v1/users/{target.id}"
            done = await api.ask("PATCH", path, token=town.ada.access, json={"role": wanted})
            if done.status != 200:
                assert (done.status, done.body["code"]) == (503, "store_unavailable"), done
                break
            acknowledged = wanted
        assert killer.when() < asyncio.get_running_loop().time()
        store.start()
        await eventually(answered, RECOVERY)
        assert len(found) == 1, "two sidecars, one truth"
        truth = {(200, "allowed"): "accountant", (403, "no_rule"): "marketer"}[found.pop()]
        assert truth in {acknowledged, wanted}
        acknowledged = truth
