"""Worker processes: started one after another, replaced when they crash, stopped together.

If a worker rejects the configuration while none serves, all end, because the next one would reject it too. A crashed
worker is replaced after a growing pause; too many crashes pause all restarts (restart_pause.py). A hung worker is
killed and counted as crashed: otherwise the kernel keeps routing connections to it.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from pathlib import Path

from sidecar.config.parsers import UnixAddress
from sidecar.config.settings import Settings
from sidecar.server.bootstrap import FAULT, UNREACHABLE, WRONG, StartError
from sidecar.server.lifecycle import STOP_SECONDS
from sidecar.server.workers.metrics_aggregation import MetricsAggregator
from sidecar.server.workers.restart_pause import CRASH_WINDOW, CRASHES, RestartPause
from sidecar.server.workers.supervisor_ops import fetch, livez
from sidecar.server.workers.worker import BLOCKED, parcel
from sidecar.server.workers.worker_context import WorkerContext, words_of
from sidecar.telemetry.app_log import logger

START_SECONDS = 30.0
PROBE_SECONDS = 1.0
HUNG_SECONDS = 5.0
"""Time of failed probes after which a worker counts as hung.

Each failed probe counts PROBE_SECONDS. A suspended machine therefore fails only one probe.
"""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Pauses between a crash and the next worker, in seconds: doubled each time, reset after CRASH_WINDOW of service."""
END_SECONDS = STOP_SECONDS + 1
"""Time limit of a worker's exit after the drain. The worker itself gives up after STOP_SECONDS."""

SUPERVISORS_OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Only the supervisor notifies systemd."""

_log = logger("server")


@dataclass(eq=False, slots=True)
class Worker:
    """One process, from start to end. ``ops``: its private socket."""

    number: int
    ops: UnixAddress
    process: asyncio.subprocess.Process
    since: float

    def end(self) -> None:
        """Request a drain by closing the pipe. Not by a signal: a second signal ends a worker without a drain, and a
        signal to the whole group may have been the first."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def signal(self, number: int) -> None:
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)


class WorkerPool:
    """Workers by number."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        inherited: Mapping[str, int],
        aggregator: MetricsAggregator,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``folder``: directory of the supervisor and its workers. ``inherited``: see Place. ``aggregator``: updated
        when workers start and end. ``clock``: monotonic seconds, for the pause of restarts."""
        self._settings = settings
        self._aggregator = aggregator
        self._folder = folder
        self._inherited = dict(inherited)
        self._workers: dict[int, Worker] = {}
        self._monitors: list[asyncio.Task[None]] = []
        self._clock = clock
        self._pause = RestartPause()
        self._spawn_ids = count()

    async def start(self) -> None:
        """Start the first worker alone, so that a problem with the settings is reported once; then the others."""
        for number in range(self._settings.workers):
            worker = await self._spawn(number)
            self._aggregator.begins(worker.ops.path)
            await self._until_alive(worker)
            self._monitors.append(asyncio.create_task(self._keep(worker)))

    async def watch(self) -> None:
        """Wait until serving on is impossible, then raise StartError."""
        done, _ = await asyncio.wait(self._monitors, return_when=asyncio.FIRST_COMPLETED)
        for monitor in done:
            monitor.result()

    def sockets(self) -> list[Path]:
        """Return the private sockets of the current workers, ordered by number."""
        return [self._workers[number].ops.path for number in sorted(self._workers)]

    def running(self) -> list[Path]:
        """Return the private sockets of the workers whose process has not ended."""
        return [worker.ops.path for _, worker in sorted(self._workers.items()) if worker.process.returncode is None]

    def pause_left(self) -> float:
        """Return the seconds until crashed workers are restarted again, 0 when restarts are not paused."""
        return self._pause.remaining(self._clock())

    def signal(self, number: int) -> None:
        for worker in self._workers.values():
            worker.signal(number)

    async def stop(self) -> bool:
        """Drain all workers at once, then kill the remaining ones. Return True when all exited with status 0."""
        for monitor in self._monitors:
            monitor.cancel()
        await asyncio.gather(*self._monitors, return_exceptions=True)
        ending = [worker for worker in self._workers.values() if worker.process.returncode is None]
        waiting = [asyncio.create_task(worker.process.wait()) for worker in ending]
        for worker in ending:
            worker.end()
        if waiting:
            await asyncio.wait(waiting, timeout=self._settings.drain + END_SECONDS)
        self.signal(signal.SIGKILL)
        statuses = await asyncio.gather(*waiting)
        for worker, status in zip(ending, statuses, strict=True):
            if status != 0:
                _log.error("worker exited with an error", worker=worker.number, status=status)
        return not any(statuses)

    async def _spawn(self, number: int) -> Worker:
        ops = UnixAddress(self._folder / f"{number}-{next(self._spawn_ids)}.sock")
        place = WorkerContext(number, self._settings.workers, ops, self._inherited)
        environment = {name: value for name, value in os.environ.items() if name not in SUPERVISORS_OWN}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        with _signals_blocked():
            process = await asyncio.create_subprocess_exec(
                # -P: ignore modules in the working directory
                *(sys.executable, "-P", "-m", "sidecar.server.workers.worker"),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=tuple(self._inherited.values()),
                env=environment,
                process_group=0,  # Ctrl-C is for the supervisor; no session: pdp/compile/process.py
            )
        worker = Worker(number, ops, process, asyncio.get_running_loop().time())
        self._workers[number] = worker
        if process.stdin is not None:
            process.stdin.write(parcel(self._settings, place))
            with suppress(ConnectionError):  # already ended; the code that waits for it reports the cause
                await process.stdin.drain()
        return worker

    async def _until_alive(self, worker: Worker) -> None:
        """Wait for the first successful probe. During startup, the exit of any worker ends the start."""
        deadline = worker.since + START_SECONDS
        while not await livez(worker.ops.path):
            for monitor in self._monitors:
                if monitor.done():
                    monitor.result()
            status = worker.process.returncode
            if status is not None:
                raise StartError(status if status > 0 else FAULT, *_failure_message(worker))
            if asyncio.get_running_loop().time() > deadline:
                late = f"sidecar: worker {worker.number} did not start within {START_SECONDS:.0f} s"
                raise StartError(UNREACHABLE, late)
            await asyncio.sleep(0.02)

    async def _keep(self, worker: Worker) -> None:
        """Replace the worker each time it ends. Raises StartError when a replacement would fail too."""
        pause = FIRST_PAUSE
        while True:
            listening = asyncio.create_task(self._listen(worker))
            try:
                status = await worker.process.wait()
            finally:
                listening.cancel()
            await self._reap(worker, status)
            if asyncio.get_running_loop().time() - worker.since > CRASH_WINDOW:
                pause = FIRST_PAUSE
            worker, pause = await self._another(worker.number, pause)

    async def _listen(self, worker: Worker) -> None:
        """Kill the worker when it does not become alive, or stops responding."""
        silent, patience = 0.0, START_SECONDS
        clock = asyncio.get_running_loop().time
        while silent < patience:
            started = clock()
            if await livez(worker.ops.path, PROBE_SECONDS):
                silent, patience = 0.0, HUNG_SECONDS
            else:
                silent += PROBE_SECONDS
            await asyncio.sleep(max(0.0, started + PROBE_SECONDS - clock()))
        _log.error("hung worker killed", worker=worker.number, seconds=patience)
        worker.signal(signal.SIGKILL)

    async def _reap(self, worker: Worker, status: int) -> None:
        worker.ops.path.unlink(missing_ok=True)
        self._aggregator.ends(worker.ops.path)
        output = _failure_message(worker)
        if status == WRONG and not await self._any_ready():
            raise StartError(WRONG, *output)
        _log.error("worker crashed; it is replaced", worker=worker.number, status=status, error=" ".join(output))
        seconds = self._pause.record_crash(self._clock())
        if seconds is not None:
            _log.critical(
                "worker restarts paused: too many crashes; the log lines above give each cause",
                crashes=CRASHES,
                window=CRASH_WINDOW,
                seconds=seconds,
                running=len(self.running()),
            )

    async def _any_ready(self) -> bool:
        """Return True when a worker is ready. Such workers go on after the configuration became invalid (a half-written
        file)."""
        responses = await asyncio.gather(
            *(fetch(worker.ops.path, "/readyz", PROBE_SECONDS) for worker in self._workers.values())
        )
        return any(status == HTTPStatus.OK for status, _ in responses)

    async def _another(self, number: int, pause: float) -> tuple[Worker, float]:
        """Return a new worker, and the pause before the next one."""
        while True:
            await asyncio.sleep(pause)
            while (left := self.pause_left()) > 0:  # noqa: ASYNC110 (the clock sets no event)
                await asyncio.sleep(left)
            if self._pause.resume(self._clock()):
                _log.warning("worker restarts resumed")
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                worker = await self._spawn(number)
            except OSError as error:  # no process or descriptor is left, which is temporary
                _log.error("worker start failed", worker=number, error=error.strerror or str(error))
            else:
                self._aggregator.begins(worker.ops.path, anew=True)
                return worker, pause


def _failure_message(worker: Worker) -> list[str]:
    """Return the worker's startup error, if it wrote one. Only the supervisor prints it, so it appears once."""
    try:
        return words_of(worker.ops).read_text().splitlines()
    except OSError:
        return []


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block signals around the spawn. The child inherits the mask, so no signal ends it before it installs its
    handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
