"""Process lifecycle: build, listen, wait for a signal, drain, stop. Exit statuses: cli/README.md.

SIGTERM and SIGINT drain; a second one exits at once. SIGHUP re-reads policy, keys, trusted issuers and certificate, and
reopens the decision log's file.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

import uvloop

from sidecar.config import fd_limits
from sidecar.config.settings import Settings
from sidecar.server.bootstrap import Sidecar, StartError
from sidecar.server.sd_notify import beat, notify
from sidecar.server.state_files import close_keys_and_state
from sidecar.server.workers.worker_context import ALONE, WorkerContext
from sidecar.telemetry.app_log import configure, logger

STOP_SECONDS = 8.0
"""Time limit for requests in flight after the drain. With the default drain the process exits within 10 s."""

Started = Callable[[Sidecar], Awaitable[None]]
Complain = Callable[[StartError], None]

_log = logger("server")


def run(
    settings: Settings,
    *,
    demo: bool = False,
    place: WorkerContext = ALONE,
    started: Started | None = None,
    force_policy: bool = False,
    until: Callable[[], Coroutine[Any, Any, None]] | None = None,
    complain: Complain | None = None,
) -> int:
    """Serve until a signal, or until ``until`` returns. Return the exit status.

    ``started`` is awaited once the listeners accept (the demo prints its table there). ``complain`` receives the reason
    of a failed start; the default prints it on the terminal.
    """
    prepare(settings)

    def make() -> Sidecar:
        return Sidecar(settings, demo=demo, place=place, force_policy=force_policy)

    return uvloop.run(_serve(make, started, until or _never, complain or say))


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


def say(problem: StartError) -> None:
    for line in problem.lines:
        print(line, file=sys.stderr)  # noqa: T201 - the last words belong to the terminal


def prepare(settings: Settings) -> None:
    """Configure the log before all else, and log the warnings of the settings."""
    fd_limits.allow_all()
    configure(settings.log_level, _log_format(settings))
    for warning in (*settings.warnings, *settings.doubts, *close_keys_and_state(settings)):
        _log.warning(warning)


async def _serve(
    make: Callable[[], Sidecar],
    started: Started | None,
    until: Callable[[], Coroutine[Any, Any, None]],
    complain: Complain,
) -> int:
    sidecar = make()
    signals = Signals(sidecar)
    beating = asyncio.create_task(beat())
    try:
        await sidecar.start()
        _settle_memory()
        if started is not None:
            await started(sidecar)
        notify("READY=1")
        _log.info("serving", **sidecar.addresses())
        signals.begin()
        await _wait_for_shutdown(signals.stop.wait(), sidecar.failed(), until())
        notify("STOPPING=1")
        await asyncio.sleep(sidecar.drain())
    except StartError as problem:
        complain(problem)
        return problem.status
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(sidecar.stop(), STOP_SECONDS)
        signals.remove()
        beating.cancel()
    _log.info("stopped")
    return 0


def _settle_memory() -> None:
    """Exclude the objects of the start from garbage collection, which would take 25 ms each time."""
    gc.collect()
    gc.freeze()


async def _wait_for_shutdown(*reasons: Coroutine[Any, Any, object]) -> None:
    """Wait for the first of ``reasons``. Raises its exception, such as a store that must not be used."""
    waiting = [asyncio.create_task(reason) for reason in reasons]
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


class Reloads(Protocol):
    """Target of SIGHUP: a sidecar, or the supervisor of several workers."""

    async def reload(self) -> None: ...


class Signals:
    """Signal handlers. SIGTERM and SIGINT request a drain, a second one exits. SIGHUP re-reads the files."""

    def __init__(self, sidecar: Reloads, *, at_once: Callable[[], None] | None = None) -> None:
        """``at_once`` is called before an exit without a drain."""
        self._at_once = at_once
        self.stop = asyncio.Event()
        self._sidecar = sidecar
        self._begun = asyncio.Event()
        self._reloads: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def begin(self) -> None:
        """Run the reloads requested during the start: a file may have changed after it was read."""
        self._begun.set()

    def remove(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)

    def _stop(self) -> None:
        if self.stop.is_set():
            if self._at_once is not None:
                self._at_once()
            os._exit(1)  # second signal: exit without further waiting
        self.stop.set()

    def _reload(self) -> None:
        task = asyncio.create_task(self._read_again())
        self._reloads.add(task)
        task.add_done_callback(self._reloaded)

    async def _read_again(self) -> None:
        await self._begun.wait()
        notify("RELOADING=1")
        try:
            await self._sidecar.reload()
        finally:
            notify("READY=1")

    def _reloaded(self, task: "asyncio.Task[None]") -> None:
        self._reloads.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("reload after SIGHUP failed", error=type(task.exception()).__name__)


def _log_format(settings: Settings) -> str:
    if settings.log_format != "auto":
        return str(settings.log_format)
    return "text" if sys.stderr.isatty() else "json"
