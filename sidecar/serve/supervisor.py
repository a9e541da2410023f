"""Several workers as one sidecar: start them, replace one that crashes, drain them together, answer for all of them.

The supervisor serves no check and reads no token. It owns the embedded store, if there is one, and the ops listener.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections import deque
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from sidecar.edge.host import host_names
from sidecar.serve.bootstrap import UNREACHABLE, WRONG, StartProblem
from sidecar.serve.lifecycle import STOP_SECONDS, Signals, prepare
from sidecar.serve.listeners import Listener, ListenerProblem, bind
from sidecar.serve.notify import notify
from sidecar.serve.place import Place
from sidecar.serve.settings import Settings, problems
from sidecar.serve.values import Address, UnixAddress
from sidecar.serve.worker import parcel
from sidecar.serve.workers_ops import WorkersOps, livez
from sidecar.store.connection import StoreRefused, StoreUnavailable
from sidecar.store.embedded import EmbeddedServer
from sidecar.telemetry.logs import logger

START_SECONDS = 30.0
CRASHES = 10
CRASH_WINDOW = 30.0
"""More crashes than that in that time, and the supervisor gives up: a service manager then sees it."""

_log = logger("serve")


def run_workers(settings: Settings) -> int:
    """Serve with several workers until told to stop; the exit status."""
    prepare(settings)
    return asyncio.run(_supervise(settings))


async def _supervise(settings: Settings) -> int:
    supervisor = Supervisor(settings)
    signals = Signals(supervisor)
    try:
        await supervisor.start()
        notify("READY=1")
        _log.info("serving", workers=settings.workers, ops=supervisor.ops_address)
        told = asyncio.create_task(signals.stop.wait())
        failed = asyncio.create_task(supervisor.watch())
        done, _ = await asyncio.wait((told, failed, *supervisor.tasks()), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        notify("STOPPING=1")
    except StartProblem as problem:
        for line in problem.lines:
            print(line, file=sys.stderr)  # noqa: T201 - the last words belong to the terminal
        return problem.status
    finally:
        await supervisor.stop()
        signals.remove()
    return 0


class Supervisor:
    """Workers by number. ``stop`` drains them all, and waits."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._workers: dict[int, asyncio.subprocess.Process] = {}
        self._inherited: dict[str, int] = {}
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._embedded: asyncio.Task[None] | None = None
        self._stopping = False
        self.ops_address = str(settings.ops_listen)

    async def start(self) -> None:
        """The first worker alone, for what is wrong with the settings is said once; then the others and ops."""
        found = problems(self._settings)
        if found:
            raise StartProblem(WRONG, *(f"sidecar: {problem}" for problem in found))
        self._folder = Path(tempfile.mkdtemp(prefix="sidecar-"))
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        try:
            await self._own_store()
            self._claim_addresses()
            for number in range(self._settings.workers):
                await self._spawn(number)
                await self._until_alive(number)
            sockets = [self._ops_of(number).path for number in range(self._settings.workers)]
            ops = WorkersOps(sockets, host_names(self._settings.public_url, self._settings.allowed_hosts))
            listener = Listener("ops", self._settings.ops_listen, ops, self._settings)
            await listener.start()
            self.ops_address = listener.bound
            self._stack.push_async_callback(listener.stop)
        except (StoreRefused, ListenerProblem) as problem:
            raise StartProblem(WRONG, f"sidecar: {problem}") from None
        except StoreUnavailable as problem:
            raise StartProblem(UNREACHABLE, f"sidecar: {problem}") from None

    async def watch(self) -> None:
        """Replace workers that end unasked. Raises StartProblem when they do nothing but crash."""
        while True:
            ended = {asyncio.create_task(worker.wait()): number for number, worker in self._workers.items()}
            done, pending = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            for task in done:
                await self._replace(ended[task], task.result())

    def tasks(self) -> tuple["asyncio.Task[None]", ...]:
        """What else must not end by itself."""
        return () if self._embedded is None else (self._embedded,)

    async def reload(self) -> None:
        """SIGHUP goes to every worker."""
        self._signal(signal.SIGHUP)

    async def stop(self) -> None:
        """Every worker drains at the same time; who does not end is ended."""
        self._stopping = True
        self._signal(signal.SIGTERM)
        ending = asyncio.gather(*(worker.wait() for worker in self._workers.values()))
        with suppress(TimeoutError):
            await asyncio.wait_for(ending, self._settings.drain + STOP_SECONDS)
        self._signal(signal.SIGKILL)
        if self._embedded is not None:
            self._embedded.cancel()
        await self._stack.aclose()

    async def _own_store(self) -> None:
        if self._settings.redis_url is None:
            embedded = await EmbeddedServer.acquire(self._settings.state_dir)
            self._stack.push_async_callback(embedded.stop)
            self._embedded = asyncio.create_task(embedded.watch())

    def _claim_addresses(self) -> None:
        """A TCP address must be free, for with SO_REUSEPORT a second sidecar would take part unnoticed. A Unix socket
        is made once, here, and accepted on by all."""
        for name in ("listen", "check_listen", "grpc_listen"):
            address: Address | None = getattr(self._settings, name)
            if address is None or (name == "grpc_listen" and isinstance(address, UnixAddress)):
                continue  # gRPC makes its Unix socket itself
            try:
                bound = bind(address)
            except OSError as error:
                raise ListenerProblem(f"cannot listen on {address}: {error.strerror or error}") from None
            if isinstance(address, UnixAddress):
                self._inherited[str(address)] = bound.detach()
                self._stack.callback(address.path.unlink, missing_ok=True)
            else:
                bound.close()

    async def _spawn(self, number: int) -> None:
        place = Place(number, self._settings.workers, self._ops_of(number), self._inherited)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "sidecar.serve.worker"),  # -P: nothing of the working folder's
            stdin=asyncio.subprocess.PIPE,
            pass_fds=tuple(self._inherited.values()),
            env=environment,
        )
        self._workers[number] = worker
        if worker.stdin is not None:
            worker.stdin.write(parcel(self._settings, place))
            with suppress(ConnectionError):  # it has ended already; whoever waits for it sees why
                await worker.stdin.drain()

    async def _until_alive(self, number: int) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not await livez(self._ops_of(number).path):
            status = self._workers[number].returncode
            if status is not None:
                raise StartProblem(status or 1)  # it has said why
            if asyncio.get_running_loop().time() > deadline:
                raise StartProblem(UNREACHABLE, f"sidecar: worker {number} does not start within {START_SECONDS:.0f} s")
            await asyncio.sleep(0.02)

    async def _replace(self, number: int, status: int) -> None:
        if self._stopping:
            return
        now = asyncio.get_running_loop().time()
        _log.error("a worker ended unasked and is replaced", worker=number, status=status)
        if len(self._crashes) == CRASHES and now - self._crashes[0] < CRASH_WINDOW:
            raise StartProblem(70, f"sidecar: workers crashed {CRASHES} times in {CRASH_WINDOW:.0f} s: giving up")
        self._crashes.append(now)
        self._ops_of(number).path.unlink(missing_ok=True)
        await self._spawn(number)

    def _ops_of(self, number: int) -> UnixAddress:
        return UnixAddress(self._folder / f"{number}.sock")

    def _signal(self, number: int) -> None:
        for worker in self._workers.values():
            if worker.returncode is None:
                with suppress(ProcessLookupError):
                    worker.send_signal(number)
