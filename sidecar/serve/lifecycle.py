"""From start to exit: build, listen, wait for a signal, drain, stop. Exit statuses: README, "Command line".

SIGTERM and SIGINT drain; a second one exits at once. SIGHUP re-reads certificate, policy, keys and trusted issuers.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import uvloop

from sidecar.serve import descriptors
from sidecar.serve.bootstrap import Sidecar, StartProblem
from sidecar.serve.notify import notify
from sidecar.serve.place import ALONE, Place
from sidecar.serve.settings import Settings
from sidecar.telemetry.logs import configure, logger

STOP_SECONDS = 8.0
"""What finishing requests in flight may take after the drain; with the default drain the exit is within 10 s."""

Started = Callable[[Sidecar], Awaitable[None]]

_log = logger("serve")


def run(
    settings: Settings,
    *,
    demo: bool = False,
    place: Place = ALONE,
    started: Started | None = None,
    force_policy: bool = False,
) -> int:
    """Serve until told to stop. ``started`` is awaited once the listeners accept (the demo prints its table there)."""
    prepare(settings)
    return uvloop.run(_serve(lambda: Sidecar(settings, demo=demo, place=place, force_policy=force_policy), started))


def prepare(settings: Settings) -> None:
    """Before anything else speaks: the log, and what the settings gave cause to say."""
    descriptors.allow_all()
    configure(settings.log_level, _log_format(settings))
    for warning in settings.warnings:
        _log.warning(warning)


async def _serve(make: Callable[[], Sidecar], started: Started | None) -> int:
    sidecar = make()
    signals = Signals(sidecar)
    try:
        await sidecar.start()
        _settle_memory()
        if started is not None:
            await started(sidecar)
        notify("READY=1")
        _log.info("serving", **sidecar.addresses())
        await _until_told(signals, sidecar)
        notify("STOPPING=1")
        await asyncio.sleep(sidecar.drain())
    except StartProblem as problem:
        for line in problem.lines:
            print(line, file=sys.stderr)  # noqa: T201 - the last words belong to the terminal
        return problem.status
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(sidecar.stop(), STOP_SECONDS)
        signals.remove()
    _log.info("stopped")
    return 0


def _settle_memory() -> None:
    """What a start has made stays until the end: no collection goes through it again, which would take 25 ms each."""
    gc.collect()
    gc.freeze()


async def _until_told(signals: "Signals", sidecar: Sidecar) -> None:
    """Returns at a signal; raises what made serving on impossible (a store that must not be used)."""
    told = asyncio.create_task(signals.stop.wait())
    failed = asyncio.create_task(sidecar.failed())
    done, pending = await asyncio.wait((told, failed), return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


class Reloads(Protocol):
    """A sidecar, or a supervisor of several."""

    async def reload(self) -> None: ...


class Signals:
    """TERM and INT ask for a drain, once more for the exit; HUP for a fresh look at the files."""

    def __init__(self, sidecar: Reloads) -> None:
        self.stop = asyncio.Event()
        self._sidecar = sidecar
        self._reloads: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def remove(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)

    def _stop(self) -> None:
        if self.stop.is_set():
            os._exit(1)  # asked twice: whoever asks wants no further waiting
        self.stop.set()

    def _reload(self) -> None:
        notify("RELOADING=1")
        task = asyncio.ensure_future(self._sidecar.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloaded)

    def _reloaded(self, task: "asyncio.Task[None]") -> None:
        self._reloads.discard(task)
        notify("READY=1")
        if not task.cancelled() and task.exception() is not None:
            _log.error("the re-read after SIGHUP failed", error=type(task.exception()).__name__)


def _log_format(settings: Settings) -> str:
    if settings.log_format != "auto":
        return str(settings.log_format)
    return "text" if sys.stderr.isatty() else "json"
