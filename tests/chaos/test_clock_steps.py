"""Clock steps of an hour, both ways: of one sidecar, and of the store. No denied request is allowed by one, and when
the clock is right again, so is every answer.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.rig import FULL, RedisServer
from tests.chaos.scenario import any_of, settle
from tests.chaos.stepped_clock import NoCompilerError, SteppedClock
from tests.chaos.traffic import Seen, traffic
from tests.live.conftest import Start
from tests.live.support import Http, Process, eventually

HOUR = 3600.0
STEPS = (HOUR, 0.0, -HOUR, 0.0, HOUR, -HOUR, 0.0)
SECONDS = 5.0 if FULL else 1.0
"""Time after each step."""

BY_CLOCK = {(401, "expired"), (401, "not_yet_valid")}
"""Denials of a sidecar whose clock is wrong: tokens live 15 minutes."""

pytestmark = pytest.mark.slow


def clock_of(folder: Path) -> SteppedClock:
    try:
        return SteppedClock(folder, "stepped")
    except NoCompilerError as missing:
        pytest.skip(str(missing))


async def test_an_hours_step_of_a_sidecar_allows_nothing_denied(
    start: Start, http: Callable[[Process], Http], real_redis_url: str, tmp_path: Path
) -> None:
    clock = clock_of(tmp_path)
    right = start(REDIS_URL=real_redis_url)
    with clock.applied():
        stepped = await asyncio.to_thread(start, own=True, REDIS_URL=real_redis_url)
    api = http(right)
    town = await settle(api, right)
    seen: list[Seen]
    async with traffic(api, [right.url, stepped.url], any_of(town.questions()), clients=2) as seen:
        for seconds in STEPS:
            clock.step(seconds)
            await asyncio.sleep(SECONDS)
            changed = await api.ask("PATCH", "/v1/me", token=town.ada.access, json={"name": f"Ada {seconds}"})
            assert (changed.status, stepped.popen.poll()) == (200, None), changed
        since = len(seen)
        await asyncio.sleep(SECONDS)
    assert [one for one in seen if one.url == right.url and not one.right] == []
    others = [one for one in seen if one.url == stepped.url and not one.right and not one.unavailable]
    assert {(one.status, one.reason) for one in others} <= BY_CLOCK
    assert (401, "expired") in {(one.status, one.reason) for one in others}, "no step was noticed"
    settled = [one for one in seen[since:] if one.sent > seen[since].received + 0.5]
    assert settled
    assert [one for one in settled if not one.right] == []


async def test_an_hours_step_of_the_store_is_ridden_out(
    start: Start,
    http: Callable[[Process], Http],
    redis_server: Callable[..., RedisServer],
    tmp_path: Path,
) -> None:
    """Sign-ins and acknowledged changes work within seconds of each step (R52), and no answer is wrong."""
    clock = clock_of(tmp_path)
    with clock.applied():
        store = redis_server()
    processes = [start(REDIS_URL=store.url), start(REDIS_URL=store.url)]
    api = http(processes[0])
    town = await settle(api, processes[0])
    eve = await api.join(town.ada, "eve@example.com", "marketer")

    async def works() -> bool:
        form = {"grant_type": "password", "username": "eve@example.com", "password": "five green bottles on a wall"}
        signed_in = await api.ask("POST", "/token", data=form)
        name = {"role": "developer" if chance() else "marketer"}
        changed = await api.ask("PATCH", f"/v1/users/{eve.id}", token=town.ada.access, json=name)
        return signed_in.status == changed.status == 200 and changed.body["revocation"]["complete"]

    turn = iter(range(10**6))

    def chance() -> bool:
        return next(turn) % 2 == 0

    async with traffic(api, [one.url for one in processes], any_of(town.questions()), clients=2) as seen:
        for seconds in STEPS:
            clock.step(seconds)
            await eventually(works, 20)
            await asyncio.sleep(SECONDS)
    assert [one for one in seen if not one.right and not one.unavailable] == []
    assert [process.popen.poll() for process in processes] == [None, None]
    assert all(process.http_status("/readyz") == 200 for process in processes)
