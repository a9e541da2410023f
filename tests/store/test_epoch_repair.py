"""After the store went back in time: epochs are raised again, once, and an outage meanwhile is waited out."""

import asyncio
import contextlib

import pytest

from sidecar.store.errors import StoreUnavailableError
from sidecar.store.live.epoch_repair import MAX_WAITING, EpochRepair


@contextlib.asynccontextmanager
async def running(epoch_repair):
    task = asyncio.create_task(epoch_repair.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(condition):
    for _ in range(10_000):
        if await condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


async def test_a_lost_epoch_is_raised_again_and_older_sessions_end(town):
    admin = await town.account()
    await town.signed_in(admin)
    epoch_repair = EpochRepair(town.users)

    async def healed():
        record = await town.users.record(admin.id)
        return record.epoch == 4 and not record.sessions

    async with running(epoch_repair):
        epoch_repair.request(admin.id, 4)
        await until(healed)


async def test_the_highest_epoch_wins_and_is_not_raised_twice(town):
    admin = await town.account()
    epoch_repair = EpochRepair(town.users)

    async def healed():
        return (await town.users.record(admin.id)).epoch == 3

    for epoch in (2, 3, 1, 0):
        epoch_repair.request(admin.id, epoch)
    async with running(epoch_repair):
        await until(healed)
        told = await town.feed()
        epoch_repair.request(admin.id, 3)
        epoch_repair.request("usr_aaaaaaaaaaaa_bbbbbbbbbbbb", 3)
        await asyncio.sleep(0)
    assert await town.feed() == told


async def test_an_outage_is_waited_out(town, monkeypatch):
    admin = await town.account()
    fails, pauses, raise_epoch = [True, True], [], town.users.raise_epoch

    async def flaky(uid, epoch, *, seen):
        if fails:
            fails.pop()
            raise StoreUnavailableError("out")
        return await raise_epoch(uid, epoch, seen=seen)

    async def pause(seconds):
        pauses.append(seconds)

    async def healed():
        return (await town.users.record(admin.id)).epoch == 2

    monkeypatch.setattr(town.users, "raise_epoch", flaky)
    epoch_repair = EpochRepair(town.users, sleep=pause)
    async with running(epoch_repair):
        epoch_repair.request(admin.id, 2)
        await until(healed)
    assert len(pauses) == 2


@pytest.mark.parametrize("count", [MAX_WAITING + 5])
async def test_what_waits_is_bounded(town, count):
    epoch_repair = EpochRepair(town.users)
    for number in range(count):
        epoch_repair.request(f"usr_{number}", 2)
    assert len(epoch_repair._waiting) == MAX_WAITING
