"""Several workers as one sidecar: start them, drain them together, answer for all of them. Their processes: crew.py.

The supervisor serves no check and reads no token. It owns the embedded store, if there is one, and the ops listener.
"""

import asyncio
import signal
from contextlib import AsyncExitStack

from sidecar.config.parsers import UnixAddress
from sidecar.config.settings import Settings, problems
from sidecar.http.allowed_hosts import host_names
from sidecar.server.bootstrap import FAULT, UNREACHABLE, WRONG, StartProblem
from sidecar.server.lifecycle import Signals, prepare, say
from sidecar.server.listeners import Listener, ListenerProblem, SocketName, bind, cannot_listen
from sidecar.server.runtime_directory import RunFolder, RunFolderError
from sidecar.server.sd_notify import beat, notify
from sidecar.server.workers.metrics_aggregation import Ledger
from sidecar.server.workers.supervisor_ops import WorkersOps
from sidecar.server.workers.worker_pool import Crew
from sidecar.store.connection import StoreRefused, StoreUnavailable
from sidecar.store.embedded.embedded import EmbeddedServer
from sidecar.telemetry.app_log import logger

_log = logger("server")


def run_workers(settings: Settings) -> int:
    """Serve with several workers until told to stop; the exit status."""
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
        await _until_told(signals, supervisor)
        notify("STOPPING=1")
    except StartProblem as problem:
        say(problem)
        status = problem.status
    finally:
        well = await supervisor.stop()
        signals.remove()
        beating.cancel()
    return status if well else status or FAULT


async def _until_told(signals: Signals, supervisor: "Supervisor") -> None:
    """Returns at a signal; raises what made serving on impossible."""
    ours = [asyncio.create_task(signals.stop.wait()), asyncio.create_task(supervisor.watch())]
    done, _ = await asyncio.wait((*ours, *supervisor.tasks()), return_when=asyncio.FIRST_COMPLETED)
    for task in ours:
        task.cancel()
    for task in done:
        task.result()


class Supervisor:
    """A crew, and what it needs. ``stop`` drains all, and waits."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._crew: Crew | None = None
        self._embedded: asyncio.Task[None] | None = None
        self.ops_address = str(settings.ops_listen)

    async def start(self) -> None:
        """Everything up to accepting requests. Raises StartProblem; ``stop`` cleans up in either case."""
        found = problems(self._settings)
        if found:
            raise StartProblem(WRONG, *(f"sidecar: {problem}" for problem in found))
        try:
            folder = RunFolder(self._settings)
            self._stack.callback(folder.remove)
            await self._own_store()
            ledger = Ledger()
            crew = self._crew = Crew(self._settings, folder.path, self._claim_addresses(), ledger)
            await crew.start()
            hosts = host_names(self._settings.public_url, self._settings.allowed_hosts)
            ops = WorkersOps(crew, ledger, hosts)
            listener = Listener("ops", self._settings.ops_listen, ops, self._settings)
            await listener.start()
            self.ops_address = listener.bound
            self._stack.push_async_callback(listener.stop)
        except (StoreRefused, ListenerProblem, RunFolderError) as problem:
            raise StartProblem(WRONG, f"sidecar: {problem}") from None
        except StoreUnavailable as problem:
            raise StartProblem(UNREACHABLE, f"sidecar: {problem}") from None

    async def watch(self) -> None:
        """Of one that has started: waits until serving on is of no use, then raises StartProblem."""
        if self._crew is not None:
            await self._crew.watch()

    def tasks(self) -> tuple["asyncio.Task[None]", ...]:
        """What else must not end by itself."""
        return () if self._embedded is None else (self._embedded,)

    async def reload(self) -> None:
        """SIGHUP goes to every worker."""
        self._signal(signal.SIGHUP)

    def kill(self) -> None:
        """Now, without a drain."""
        self._signal(signal.SIGKILL)

    async def stop(self) -> bool:
        """The workers drain, then all else ends. True when every worker ended well."""
        well = self._crew is None or await self._crew.stop()
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
        """A TCP address must be free, for with SO_REUSEPORT a second sidecar would take part unnoticed. A Unix socket
        is made once, here, and accepted on by all: its descriptor by address."""
        inherited: dict[str, int] = {}
        settings = self._settings
        wanted = {"public": settings.listen, "check": settings.check_listen, "grpc": settings.grpc_listen}
        for name, address in wanted.items():
            if address is None or (name == "grpc" and isinstance(address, UnixAddress)):
                continue  # gRPC makes its Unix socket itself
            try:
                bound = bind(address)
            except OSError as error:
                raise cannot_listen(name, address, error) from None
            if isinstance(address, UnixAddress):
                inherited[str(address)] = bound.detach()
                self._stack.callback(SocketName(address.path).give_up)
            else:
                bound.close()
        return inherited

    def _signal(self, number: int) -> None:
        if self._crew is not None:
            self._crew.signal(number)
