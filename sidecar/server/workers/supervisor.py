"""Supervisor: starts several workers, drains them together, and serves their ops endpoints. Processes: worker_pool.py.

It serves no check and reads no token. It owns the embedded store, if there is one, and the ops listener.
"""

import asyncio
import signal
from contextlib import AsyncExitStack

from sidecar.config.parsers import UnixAddress
from sidecar.config.problems import problems
from sidecar.config.settings import Settings
from sidecar.http.allowed_hosts import host_names
from sidecar.server.bootstrap import FAULT, UNREACHABLE, WRONG, StartError
from sidecar.server.lifecycle import Signals, prepare, say
from sidecar.server.listeners import Listener, ListenerError, SocketName, bind_all, cannot_listen
from sidecar.server.runtime_directory import RuntimeDirectory, RuntimeDirectoryError
from sidecar.server.sd_notify import beat, notify
from sidecar.server.workers.metrics_aggregation import MetricsAggregator
from sidecar.server.workers.supervisor_ops import WorkersOps
from sidecar.server.workers.worker_pool import WorkerPool
from sidecar.store.connection import StoreMismatchError, StoreUnavailableError
from sidecar.store.embedded.embedded import EmbeddedServer
from sidecar.telemetry.app_log import logger

_log = logger("server")


def run_workers(settings: Settings) -> int:
    """Serve with several workers until a signal. Return the exit status."""
    prepare(settings)
    return asyncio.run(_supervise(settings))


async def _supervise(settings: Settings) -> int:
    supervisor = Supervisor(settings)
    signals = Signals(supervisor, at_once=supervisor.kill)
    beating = asyncio.create_task(beat())
    status = 0
    try:
        await supervisor.start()
        notify("READY=1")
        _log.info("serving", workers=settings.workers, ops=supervisor.ops_address)
        signals.begin()
        await _wait_for_shutdown(signals, supervisor)
        notify("STOPPING=1")
    except StartError as problem:
        say(problem)
        status = problem.status
    finally:
        well = await supervisor.stop()
        signals.remove()
        beating.cancel()
    return status if well else status or FAULT


async def _wait_for_shutdown(signals: Signals, supervisor: "Supervisor") -> None:
    """Wait for a signal. Raises the cause when serving on is impossible."""
    ours = [asyncio.create_task(signals.stop.wait()), asyncio.create_task(supervisor.watch())]
    done, _ = await asyncio.wait((*ours, *supervisor.tasks()), return_when=asyncio.FIRST_COMPLETED)
    for task in ours:
        task.cancel()
    for task in done:
        task.result()


class Supervisor:
    """Worker pool and its resources. ``stop`` drains the workers and waits for them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._pool: WorkerPool | None = None
        self._embedded: asyncio.Task[None] | None = None
        self.ops_address = str(settings.ops_listen)

    async def start(self) -> None:
        """Start everything up to accepting requests.

        Raises StartError. The caller must call ``stop`` in either case.
        """
        found = problems(self._settings)
        if found:
            raise StartError(WRONG, *(f"sidecar: {problem}" for problem in found))
        try:
            folder = RuntimeDirectory(self._settings)
            self._stack.callback(folder.remove)
            await self._own_store()
            aggregator = MetricsAggregator()
            pool = self._pool = WorkerPool(self._settings, folder.path, self._claim_addresses(), aggregator)
            await pool.start()
            hosts = host_names(self._settings.public_url, self._settings.allowed_hosts)
            ops = WorkersOps(pool, aggregator, hosts)
            listener = Listener("ops", self._settings.ops_listen, ops, self._settings)
            await listener.start()
            self.ops_address = listener.bound
            self._stack.push_async_callback(listener.stop)
        except (StoreMismatchError, ListenerError, RuntimeDirectoryError) as problem:
            raise StartError(WRONG, f"sidecar: {problem}") from None
        except StoreUnavailableError as problem:
            raise StartError(UNREACHABLE, f"sidecar: {problem}") from None

    async def watch(self) -> None:
        """Wait until serving on is impossible, then raise StartError."""
        if self._pool is not None:
            await self._pool.watch()

    def tasks(self) -> tuple["asyncio.Task[None]", ...]:
        """Return the other tasks that must not end by themselves."""
        return () if self._embedded is None else (self._embedded,)

    async def reload(self) -> None:
        """Send SIGHUP to every worker."""
        self._signal(signal.SIGHUP)

    def kill(self) -> None:
        """Kill every worker without a drain."""
        self._signal(signal.SIGKILL)

    async def stop(self) -> bool:
        """Drain the workers, then stop all else. Return True when every worker exited with status 0."""
        well = self._pool is None or await self._pool.stop()
        if self._embedded is not None:
            self._embedded.cancel()
        await self._stack.aclose()
        return well

    async def _own_store(self) -> None:
        if self._settings.redis_url is None:
            embedded = await EmbeddedServer.acquire(self._settings.state_dir)
            self._stack.push_async_callback(embedded.stop)
            self._embedded = asyncio.create_task(embedded.watch())

    def _claim_addresses(self) -> dict[str, int]:
        """Check that each TCP address is free, and bind each Unix socket. Return descriptors by address.

        With SO_REUSEPORT a second sidecar could share a TCP address unnoticed. All workers accept on the same Unix
        socket.
        """
        inherited: dict[str, int] = {}
        settings = self._settings
        wanted = {"public": settings.listen, "check": settings.check_listen, "grpc": settings.grpc_listen}
        for name, address in wanted.items():
            if address is None or (name == "grpc" and isinstance(address, UnixAddress)):
                continue  # gRPC creates its own Unix socket
            try:
                sockets = bind_all(address)
            except OSError as error:
                raise cannot_listen(name, address, error) from None
            if isinstance(address, UnixAddress):
                inherited[str(address)] = sockets[0].detach()
                self._stack.callback(SocketName(address.path).give_up)
            else:
                for bound in sockets:
                    bound.close()
        return inherited

    def _signal(self, number: int) -> None:
        if self._pool is not None:
            self._pool.signal(number)
