"""R31: a sidecar that has died, or hangs, holds a revocation up no longer than its lease; then nothing old is left."""

import asyncio
import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.chaos.rig import LEASE
from tests.live.conftest import Start
from tests.live.support import Answer, Http, Person, Process, eventually, found_account

BILLING = "/dashboard/billing/x"
MARGIN = 0.2
"""What a registration outlives its lease by."""

SLACK = 0.5

pytestmark = pytest.mark.slow


async def two(start: Start, http: Callable[[Process], Http], url: str) -> tuple[list[Process], Http, Person, Person]:
    """Two sidecars that have both heard of eve, an accountant."""
    processes = [start(REDIS_URL=url), start(REDIS_URL=url)]
    found_account(processes[0])
    api = http(processes[0])
    ada = await api.sign_in("ada@example.com")
    eve = await api.join(ada, "eve@example.com", "accountant")
    await asyncio.sleep(LEASE + MARGIN)  # a fleet that has only just met proves nothing by silence
    for process in processes:
        assert (await api.check(BILLING, token=eve.access, url=process.url)).status == 200
    return processes, api, ada, eve


async def give(api: Http, ada: Person, eve: Person, role: str) -> tuple[Answer, float]:
    began = time.monotonic()
    done = await api.ask("PATCH", f"/v1/users/{eve.id}", token=ada.access, json={"role": role})
    assert done.status == 200, done
    return done, time.monotonic() - began


async def test_R31_with_everybody_there_a_change_is_complete_at_once(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    processes, api, ada, eve = await two(start, http, real_redis_url)
    for role, status in (("marketer", 403), ("accountant", 200)):
        done, took = await give(api, ada, eve, role)
        assert (done.body["revocation"]["complete"], done.body["revocation"]["sidecars"]) == (True, 2)
        assert done.headers["X-Sidecar-Revocation"] == "complete"
        assert took < LEASE / 2
        for process in processes:
            assert (await api.check(BILLING, token=eve.access, url=process.url)).status == status


async def test_R31_a_dead_sidecar_is_awaited_once_until_its_lease_ends(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    processes, api, ada, eve = await two(start, http, real_redis_url)
    processes[1].popen.kill()
    processes[1].popen.wait(10)
    done, took = await give(api, ada, eve, "marketer")
    revocation = done.body["revocation"]
    assert revocation["complete"] is True
    assert LEASE / 2 - MARGIN < took < LEASE + MARGIN + SLACK
    assert abs(revocation["waited_ms"] / 1000 - took) < SLACK
    assert (await api.check(BILLING, token=eve.access)).status == 403
    done, took = await give(api, ada, eve, "accountant")
    assert (done.body["revocation"]["complete"], done.body["revocation"]["sidecars"]) == (True, 1)
    assert took < LEASE / 2


async def test_R31_a_resumed_sidecar_has_no_stale_response(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    processes, api, ada, eve = await two(start, http, real_redis_url)
    hung = processes[1]
    os.kill(hung.popen.pid, signal.SIGSTOP)
    try:
        done, took = await give(api, ada, eve, "marketer")
        assert done.body["revocation"]["complete"] is True
        assert took < LEASE + MARGIN + SLACK
        # Asked while it hangs, so that these are the first it sees when it goes on, before any word of the feed.
        waiting = [asyncio.create_task(api.check(BILLING, token=eve.access, url=hung.url)) for _ in range(20)]
        await asyncio.sleep(0.1)
    finally:
        os.kill(hung.popen.pid, signal.SIGCONT)
    answers = await asyncio.gather(*waiting)
    assert {(answer.status, answer.body["reason"]) for answer in answers} <= {
        (403, "no_rule"),
        (403, "store_unavailable"),
    }

    async def knows() -> bool:
        return (await api.check(BILLING, token=eve.access, url=hung.url)).body["reason"] == "no_rule"

    await eventually(knows, 2)


async def test_R30_a_named_revision_shows_the_change_everywhere(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    processes, api, ada, eve = await two(start, http, real_redis_url)
    there = processes[1].url
    question = {"section": "billing", "action": "view"}
    revision = 0
    for turn in range(20):
        role = ("marketer", "accountant")[turn % 2]
        done, _ = await give(api, ada, eve, role)
        assert int(done.headers["X-Sidecar-Revision"]) > revision
        revision = int(done.headers["X-Sidecar-Revision"])
        headers = {"X-Sidecar-At-Least": str(revision)}
        answer = await api.ask("POST", "/v1/check", token=eve.access, url=there, json=question, headers=headers)
        assert (answer.status, answer.body["decision"]) == (200, role == "accountant")
    beyond = {"X-Sidecar-At-Least": str(revision + 1)}
    answer = await api.ask("POST", "/v1/check", token=eve.access, url=there, json=question, headers=beyond)
    assert (answer.status, answer.body["code"]) == (400, "bad_request")
