"""The hashing pool: comparisons, priorities, rejections when full, and work outside the event loop."""

import asyncio
import os
import sys
import threading
import time

import argon2
import pytest

from sidecar.domain.users import UserId
from sidecar.identity.hashing import STEP_BACK, SUSPECTS, Hashing, HashParameters, Overloaded, Priority, VerifyResult
from sidecar.tokens.opaque import Pepper

ADA, BOB = UserId("usr_aaaaaaaaaaaa_bbbbbbbbbbbb"), UserId("usr_aaaaaaaaaaaa_cccccccccccc")
PEPPER = Pepper(bytes(range(32)))
CHEAP = HashParameters(time_cost=1, memory_kib=8)


@pytest.fixture
def one_thread():
    hashing = Hashing(PEPPER, parameters=CHEAP, threads=1, places=2)
    yield hashing
    hashing.close()


class Gate:
    """Blocks the hashing thread until it is opened."""

    def __init__(self, monkeypatch, hashing):
        self.entered = threading.Event()
        self.open = threading.Event()
        self.order: list[str] = []
        original = hashing._argon2.hash

        def held(secret):
            self.entered.set()
            assert self.open.wait(10)
            return original(secret)

        monkeypatch.setattr(hashing, "_argon2", type("A", (), {"hash": staticmethod(held)})())

    async def busy(self, hashing):
        task = asyncio.create_task(hashing.hash(Priority.SIGN_IN, ADA, "first"))
        await asyncio.to_thread(self.entered.wait, 10)
        return task


async def test_a_hash_matches_its_own_password_alone(hashing):
    kept = await hashing.hash(Priority.PROVEN, ADA, "otter")
    assert await hashing.compare(Priority.SIGN_IN, ADA, "otter", kept) == VerifyResult(True, False)
    assert await hashing.compare(Priority.SIGN_IN, ADA, "Otter", kept) == VerifyResult(False, False)


@pytest.mark.parametrize(
    "dear",
    [
        HashParameters(time_cost=1, memory_kib=200 * 1024),
        HashParameters(time_cost=40, memory_kib=8),
        HashParameters(1, 128, 16),
    ],
    ids=["memory", "time", "lanes"],
)
async def test_R16_a_hash_with_excessive_cost_is_not_computed(hashing, dear):
    """As in a crafted backup: otherwise the hash of the attempted user would set the cost of a sign-in."""
    made = Hashing(PEPPER, parameters=dear, threads=1)
    kept = await made.hash(Priority.PROVEN, ADA, "otter")
    made.close()
    assert await hashing.compare(Priority.SIGN_IN, ADA, "otter", kept) == VerifyResult(False, False)
    began = time.perf_counter()
    without_end = "$argon2id$v=19$m=4194304,t=100000,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43
    assert await hashing.compare(Priority.SIGN_IN, ADA, "otter", without_end) == VerifyResult(False, False)
    assert time.perf_counter() - began < 1


async def test_R19_a_hash_moved_to_another_user_matches_nothing(hashing):
    kept = await hashing.hash(Priority.PROVEN, ADA, "otter")
    assert (await hashing.compare(Priority.SIGN_IN, BOB, "otter", kept)).matches is False


async def test_R19_without_the_pepper_a_stolen_hash_cannot_be_tried(hashing):
    kept = await hashing.hash(Priority.PROVEN, ADA, "otter")
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(kept, "otter")
    other = Hashing(Pepper(b"x" * 32), parameters=CHEAP, threads=1)
    assert (await other.compare(Priority.SIGN_IN, ADA, "otter", kept)).matches is False
    other.close()


@pytest.mark.parametrize("kept", ["", "not a hash", "$argon2id$v=19$m=8,t=1,p=1$AAAA$", "$2b$12$" + "a" * 53])
async def test_a_damaged_hash_matches_nothing(hashing, kept):
    assert await hashing.compare(Priority.SIGN_IN, ADA, "otter", kept) == VerifyResult(False, False)


async def test_nobody_never_matches(hashing):
    assert (await hashing.verify_dummy(Priority.SIGN_IN, "otter")).matches is False


async def test_weaker_parameters_are_noticed(hashing):
    weaker = Hashing(PEPPER, parameters=HashParameters(1, 8), threads=1)
    today = Hashing(PEPPER, parameters=HashParameters(2, 16), threads=1)
    kept = await weaker.hash(Priority.PROVEN, ADA, "otter")
    assert await today.compare(Priority.SIGN_IN, ADA, "otter", kept) == VerifyResult(True, True)
    weaker.close()
    today.close()


async def test_the_shipped_parameters_are_owasps():
    hashing = Hashing(PEPPER, threads=1)
    kept = await hashing.hash(Priority.PROVEN, ADA, "otter")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    hashing.close()


async def test_a_full_lane_is_overloaded_at_once(one_thread, monkeypatch):
    gate = Gate(monkeypatch, one_thread)
    first = await gate.busy(one_thread)
    waiting = [asyncio.create_task(one_thread.hash(Priority.SIGN_IN, ADA, "x")) for _ in range(2)]
    await asyncio.sleep(0)
    assert one_thread.queue_depth == 2
    turned_away = await one_thread.hash(Priority.SIGN_IN, ADA, "x")
    assert isinstance(turned_away, Overloaded)
    assert turned_away.retry_after >= 1
    gate.open.set()
    assert all(isinstance(kept, str) for kept in await asyncio.gather(first, *waiting))
    assert one_thread.queue_depth == 0


async def test_R17_change_and_accept_have_places_of_their_own(one_thread, monkeypatch):
    gate = Gate(monkeypatch, one_thread)
    first = await gate.busy(one_thread)
    crowd = [asyncio.create_task(one_thread.hash(Priority.SIGN_IN, ADA, "x")) for _ in range(10)]
    await asyncio.sleep(0)
    done: list[str] = []
    change = asyncio.create_task(one_thread.hash(Priority.PROVEN, BOB, "y"))
    change.add_done_callback(lambda _: done.append("change"))
    crowd[0].add_done_callback(lambda _: done.append("sign-in"))
    await asyncio.sleep(0)
    gate.open.set()
    outcomes = await asyncio.gather(first, change, *crowd)
    assert sum(isinstance(outcome, Overloaded) for outcome in outcomes) == 8
    assert isinstance(outcomes[1], str)
    assert done == ["change", "sign-in"]  # it did not wait behind the others


async def test_R16_suspects_get_what_is_left(one_thread, monkeypatch):
    gate = Gate(monkeypatch, one_thread)
    first = await gate.busy(one_thread)
    done: list[str] = []

    def start(priority, name):
        task = asyncio.create_task(one_thread.hash(priority, ADA, name))
        task.add_done_callback(lambda _: done.append(name))
        return task

    suspect = start(Priority.SUSPECT, "suspect")
    await asyncio.sleep(0)
    honest = start(Priority.SIGN_IN, "honest")
    await asyncio.sleep(0)
    others = [start(Priority.SUSPECT, "another suspect") for _ in range(SUSPECTS - 1)]
    await asyncio.sleep(0)
    assert isinstance(await one_thread.hash(Priority.SUSPECT, ADA, "x"), Overloaded)
    gate.open.set()
    await asyncio.gather(first, suspect, honest, *others)
    assert done[:2] == ["honest", "suspect"]


async def test_neither_lane_starves(one_thread, monkeypatch):
    gate = Gate(monkeypatch, one_thread)
    first = await gate.busy(one_thread)
    done: list[str] = []
    tasks = []
    for priority in (Priority.PROVEN, Priority.PROVEN, Priority.SIGN_IN, Priority.SIGN_IN):
        task = asyncio.create_task(one_thread.hash(priority, ADA, "x"))
        task.add_done_callback(lambda _, priority=priority: done.append(priority.value))
        tasks.append(task)
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, *tasks)
    assert done == ["proven", "sign_in", "proven", "sign_in"]


async def test_a_caller_that_leaves_gives_its_place_back(one_thread, monkeypatch):
    gate = Gate(monkeypatch, one_thread)
    first = await gate.busy(one_thread)
    leaving = [asyncio.create_task(one_thread.hash(Priority.SIGN_IN, ADA, "x")) for _ in range(2)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    assert one_thread.queue_depth == 0
    first.cancel()  # running already: the thread is busy until it has finished
    await asyncio.gather(first, return_exceptions=True)
    last = asyncio.create_task(one_thread.hash(Priority.SIGN_IN, ADA, "x"))
    await asyncio.sleep(0)
    assert one_thread.queue_depth == 1
    gate.open.set()
    assert isinstance(await last, str)
    assert isinstance(await one_thread.hash(Priority.SIGN_IN, ADA, "x"), str)


async def test_hashing_never_runs_on_the_loop():
    hashing = Hashing(PEPPER, threads=1)
    turns = 0
    work = asyncio.create_task(hashing.hash(Priority.SIGN_IN, ADA, "otter"))
    longest, last = 0.0, time.perf_counter()
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    assert turns > 50
    assert threading.current_thread() is threading.main_thread()
    hashing.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux has a thread a niceness of its own")
async def test_the_threads_step_back_behind_the_loop(one_thread):
    before = os.getpriority(os.PRIO_PROCESS, 0)
    niceness = one_thread._pool.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result()
    assert niceness >= STEP_BACK
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
