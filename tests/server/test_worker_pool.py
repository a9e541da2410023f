"""The worker pool, with fake processes: workers that are replaced, workers that are not, and the end of all of them."""

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from sidecar.config.parsers import UnixAddress
from sidecar.config.settings import load
from sidecar.server.bootstrap import StartError
from sidecar.server.workers import supervisor_ops, worker_pool
from sidecar.server.workers.metrics_aggregation import MetricsAggregator
from sidecar.server.workers.restart_pause import CRASHES, FIRST_LONG_PAUSE
from sidecar.server.workers.supervisor_ops import WorkersOps
from sidecar.server.workers.worker_context import words_of
from sidecar.server.workers.worker_pool import Worker, WorkerPool


class Pipe:
    """A worker's standard input; ``closed`` is the worker's reaction."""

    def __init__(self, closed: Callable[[], None]) -> None:
        self.close = closed


class FakeProcess:
    """Exits when a test or a kill ends it, and on a signal unless it is deaf."""

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.deaf = False
        self._ended = asyncio.Event()
        self.stdin = Pipe(lambda: None if self.deaf else self.end(0))

    def end(self, status: int) -> None:
        if self.returncode is None:
            self.returncode = status
            self._ended.set()

    def send_signal(self, number: int) -> None:
        if number == signal.SIGKILL:
            self.end(-number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


class FakeWorkerPool(WorkerPool):
    """A worker pool with fake workers."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self.now = 1000.0
        settings = load({"workers": str(workers), "drain": "0s"}, {})
        super().__init__(settings, folder, {}, MetricsAggregator(), clock=lambda: self.now)
        self.made: list[Worker] = []
        self.refused: list[OSError] = []

    async def _spawn(self, number: int) -> Worker:
        if self.refused:
            raise self.refused.pop()
        ops = UnixAddress(self._folder / f"{number}-{next(self._spawn_ids)}.sock")
        process = cast("asyncio.subprocess.Process", FakeProcess())
        worker = self._workers[number] = Worker(number, ops, process, asyncio.get_running_loop().time())
        self.made.append(worker)
        return worker

    def end(self, worker: Worker, status: int) -> None:
        cast("FakeProcess", worker.process).end(status)

    async def until(self, made: int) -> None:
        while len(self.made) < made:
            await turn(0.001)


turn = asyncio.sleep
"""The function before a test replaced the clock."""


@dataclass
class Probes:
    """Probes of the pool to its workers; the test sets those without a response, and how often."""

    silent: dict[Path, int] = field(default_factory=dict)
    asks: Counter[Path] = field(default_factory=Counter)

    async def livez(self, socket: Path, *_: float) -> bool:
        self.asks[socket] += 1
        self.silent[socket] = left = self.silent.get(socket, 0) - 1
        return left < 0

    async def until(self, worker: Worker, times: int) -> None:
        seen = self.asks[worker.ops.path]
        while self.asks[worker.ops.path] < seen + times:
            await turn(0.001)


@pytest.fixture
def asked() -> Probes:
    return Probes()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch, asked: Probes) -> list[float]:
    """Pauses without waiting; records the seconds between a crash and the next worker."""
    found: list[float] = []

    async def sleep(seconds: float, *_: Any) -> None:
        if sys._getframe(1).f_code.co_name == "_another":
            found.append(seconds)
        await turn(0.001)

    monkeypatch.setattr(worker_pool.asyncio, "sleep", sleep)
    monkeypatch.setattr(worker_pool, "livez", asked.livez)
    return found


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[FakeWorkerPool]:
    pool = FakeWorkerPool(tmp_path)
    await pool.start()
    yield pool
    await pool.stop()


async def test_a_crashed_worker_is_replaced_on_a_socket_of_its_own(pool: FakeWorkerPool) -> None:
    first, second = pool.made
    pool.end(first, -9)
    await pool.until(3)
    assert pool.made[2].number == first.number
    assert pool.sockets() == [pool.made[2].ops.path, second.ops.path]
    assert pool.made[2].ops != first.ops


async def crash(pool: FakeWorkerPool, times: int, *, number: int = 0) -> None:
    for _ in range(times):
        made = len(pool.made)
        pool.end(pool._workers[number], 1)
        await pool.until(made + 1)


async def answers(pool: FakeWorkerPool, monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[str, Any], int]:
    """Status and text of /readyz, and the status of /livez; running workers are healthy."""

    async def ask(socket: Path, path: str, seconds: float = 1.0) -> tuple[int, str]:
        return (200, "{}") if socket in pool.running() else (0, "")

    monkeypatch.setattr(supervisor_ops, "fetch", ask)
    ops = WorkersOps(pool, MetricsAggregator())
    ready, alive = await ops._readyz({}), await ops._livez({})
    return ready.status, json.loads(ready.body), alive.status


async def test_pauses_between_a_crash_and_the_next_worker_grow(pool: FakeWorkerPool, pauses: list[float]) -> None:
    pauses.clear()
    await crash(pool, 8)
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


async def test_ten_crashes_pause_restarts_and_do_not_end_the_sidecar(
    pool: FakeWorkerPool, pauses: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watching = asyncio.create_task(pool.watch())
    for seconds in (30, 60, 120, 240, 300, 300):
        await crash(pool, CRASHES - 1)
        made = len(pool.made)
        pauses.clear()
        pool.end(pool._workers[0], 1)
        while len(pauses) < 20:
            await turn(0.001)
        assert pauses[1:20] == [seconds] * 19, "waits for the pause's end, and probes again before it starts a worker"
        assert len(pool.made) == made
        status, body, alive = await answers(pool, monkeypatch)
        assert (status, body["failing"]) == (503, ["worker-0", "worker_restarts_paused"])
        assert alive == 200, "the other one runs, and a new start would end it"
        pool.now += seconds
        await pool.until(made + 1)
        assert pool.pause_left() == 0
        assert await answers(pool, monkeypatch) == (200, {"status": "ok", "checks": {}}, 200)
    assert not watching.done()
    watching.cancel()
    said = capsys.readouterr().out
    assert said.count("worker restarts paused") == 6
    assert said.count("worker restarts resumed") == 6


async def test_a_pause_is_of_all_workers_and_those_that_are_left_go_on(pool: FakeWorkerPool) -> None:
    await crash(pool, CRASHES // 2)
    await crash(pool, CRASHES // 2 - 1, number=1)
    made = len(pool.made)
    pool.end(pool._workers[1], 1)
    while pool.pause_left() == 0:
        await turn(0.001)
    pool.end(pool._workers[0], 1)
    await turn(0.05)
    assert (len(pool.made), pool.running()) == (made, [])
    pool.now += FIRST_LONG_PAUSE
    await pool.until(made + 2)
    assert len(pool.running()) == 2


async def test_the_end_does_not_wait_for_a_pause(tmp_path: Path) -> None:
    pool = FakeWorkerPool(tmp_path)
    await pool.start()
    await crash(pool, CRASHES - 1)
    pool.end(pool._workers[0], 1)
    while pool.pause_left() == 0:
        await turn(0.001)
    made = len(pool.made)
    async with asyncio.timeout(2):
        assert await pool.stop(), "the remaining worker drained successfully"
    assert len(pool.made) == made


async def test_a_wrong_configuration_is_final(pool: FakeWorkerPool) -> None:
    watching = asyncio.create_task(pool.watch())
    words_of(pool.made[1].ops).write_text("sidecar: it is another's store")
    pool.end(pool.made[1], 2)
    with pytest.raises(StartError) as caught:
        await watching
    assert (caught.value.status, caught.value.lines) == (2, ("sidecar: it is another's store",))
    assert len(pool.made) == 2


async def test_an_invalid_new_configuration_ends_no_serving_worker(
    pool: FakeWorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ready(*_: object) -> tuple[int, str]:
        return 200, ""

    monkeypatch.setattr(worker_pool, "fetch", ready)
    first, second = pool.made
    pool.end(first, 2)
    await pool.until(3)
    assert (pool.made[2].number, second.process.returncode) == (first.number, None)


async def test_a_worker_that_fails_to_spawn_is_started_later(pool: FakeWorkerPool) -> None:
    pool.refused = [OSError(11, "Resource temporarily unavailable")] * 2
    pool.end(pool.made[0], 1)
    await pool.until(3)
    assert pool.refused == []


async def test_it_ended_well_when_every_worker_did(tmp_path: Path) -> None:
    pool = FakeWorkerPool(tmp_path)
    await pool.start()
    assert await pool.stop()
    assert [worker.process.returncode for worker in pool.made] == [0, 0]


async def test_a_worker_that_ignores_the_stop_is_killed_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "END_SECONDS", 0.05)
    pool = FakeWorkerPool(tmp_path)
    await pool.start()
    cast("FakeProcess", pool.made[1].process).deaf = True
    assert not await pool.stop()
    assert pool.made[1].process.returncode == -9


async def test_nobody_is_replaced_while_all_end(tmp_path: Path) -> None:
    pool = FakeWorkerPool(tmp_path)
    await pool.start()
    pool.end(pool.made[0], -9)
    await pool.stop()
    await turn(0.01)
    assert len(pool.made) == 2


async def test_a_worker_that_answers_no_more_is_ended_and_replaced(pool: FakeWorkerPool, asked: Probes) -> None:
    first, second = pool.made
    await asked.until(first, 2)
    asked.silent[first.ops.path] = 5
    await pool.until(3)
    assert first.process.returncode == -9
    assert second.process.returncode is None


async def test_a_worker_that_comes_not_alive_is_replaced(pool: FakeWorkerPool, asked: Probes) -> None:
    asked.silent[pool._folder / "0-2.sock"] = 30
    pool.end(pool.made[0], 1)
    await pool.until(4)
    assert pool.made[2].process.returncode == -9


async def test_asks_that_fail_are_counted_and_not_the_time(
    pool: FakeWorkerPool, asked: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an hour's pause of the host the workers are healthy: few probes failed meanwhile."""
    first = pool.made[0]
    await asked.until(first, 2)
    loop = asyncio.get_running_loop()
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + 3600)
    asked.silent[first.ops.path] = 4
    await asked.until(first, 10)
    assert first.process.returncode is None
