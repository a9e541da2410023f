"""Start and stop of one serving process. Its wiring is in container.py.

A start that cannot succeed raises ``StartError`` with the lines for the operator and the exit status. An unreachable
store does not end the start: the listeners deny every check until the store responds.
"""

import asyncio
import os
from contextlib import AsyncExitStack, suppress

from sidecar import __version__
from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import API, CHECKS, OPS
from sidecar.config.parsers import PolicySource
from sidecar.config.problems import problems
from sidecar.config.settings import Settings
from sidecar.gateways.fast_path.protocol import FastPathListener
from sidecar.http.context import AppContext
from sidecar.server.connection_limits import shares
from sidecar.server.container import Container, Dependencies
from sidecar.server.container_identity import MailSetupError
from sidecar.server.decision_recording import DecisionLogError, DecisionRecording
from sidecar.server.grpc_listener import GrpcListener
from sidecar.server.issuer_registry import IssuerRegistry
from sidecar.server.listeners import Listener, ListenerError, Slow
from sidecar.server.policy_start import PolicyStartError, policy_of_files, policy_of_store, with_last_good
from sidecar.server.served_certificate import ServedCertificate
from sidecar.server.span_export import TracingError, open_tracer
from sidecar.server.tracing import Tracing
from sidecar.server.workers.worker_context import ALONE, WorkerContext
from sidecar.sources.console_files import ConsoleFilesError
from sidecar.sources.key_files import KeyFileError, load_or_create
from sidecar.sources.trusted_issuers import TrustedIssuersError
from sidecar.store.connection import Store, StoreMismatchError, StoreUnavailableError
from sidecar.store.embedded.embedded import EmbeddedServer
from sidecar.store.last_good_policy import LastGoodPolicy
from sidecar.telemetry.app_log import logger
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.task_supervision import Work, supervised

WRONG = 2
UNREACHABLE = 3
FAULT = 70
RETRY_SECONDS = 0.25
POLL_SECONDS = 0.005
STORE_SECONDS = 1.0
"""Maximum wait for the store before the listeners accept: earlier ones would deny their first checks."""

_WRONG = (
    ConsoleFilesError,
    DecisionLogError,
    KeyFileError,
    ListenerError,
    MailSetupError,
    StoreMismatchError,
    TracingError,
)
_log = logger("server")


class StartError(Exception):
    """The start failed. ``lines``: messages for the operator. ``status``: exit status."""

    def __init__(self, status: int, *lines: str) -> None:
        super().__init__(lines[0] if lines else "")
        self.status = status
        self.lines = lines


class Sidecar:
    """One serving process: its parts, its listeners and its background tasks."""

    def __init__(
        self, settings: Settings, *, demo: bool = False, place: WorkerContext = ALONE, force_policy: bool = False
    ) -> None:
        self._settings = settings
        self._demo = demo
        self._force_policy = force_policy
        self._place = place
        self._stack = AsyncExitStack()
        self._metrics: Metrics | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listeners: list[Listener | GrpcListener] = []
        self._fast: list[FastPathListener] = []
        self._unreachable = False

    async def start(self) -> None:
        """Start, and accept requests. Raises StartError. The caller must call ``stop`` in either case."""
        found = problems(self._settings)
        if found:
            raise StartError(WRONG, *(f"sidecar: {problem}" for problem in found))
        try:
            deps = await self._ground()
            self._assembly = Container(deps, self._stack)
            self._spawn("store proof", lambda: self._prove_store(deps))
            await self._await_store(deps.store)
            await self._listen()
        except _WRONG as problem:
            raise StartError(WRONG, f"sidecar: {problem}") from None
        except PolicyStartError as rejected:
            raise StartError(WRONG, *rejected.lines) from None
        except TrustedIssuersError as found_wrong:
            raise StartError(WRONG, *(f"sidecar: {problem}" for problem in found_wrong.problems)) from None
        except StoreUnavailableError as problem:
            raise StartError(UNREACHABLE, f"sidecar: {problem}") from None
        for name, work in self._assembly.work():
            self._spawn(name, work)

    @property
    def app(self) -> AppContext:
        """Return the parts of a started sidecar."""
        return self._assembly.app

    async def stop(self) -> None:
        """Stop everything in reverse order. A failing step does not prevent the rest."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()
        if not self._failure.cancel() and not self._failure.cancelled():
            self._failure.exception()  # retrieve it, or asyncio logs an exception that was never retrieved

    async def failed(self) -> None:
        """Wait until serving on is impossible, then raise StartError."""
        await asyncio.shield(self._failure)

    async def proven(self) -> None:
        """Wait until the store was reached and verified, for callers that write to it (the demo)."""
        while not self.app.health.proven:
            if self._failure.done():
                self._failure.result()
            await asyncio.sleep(POLL_SECONDS)

    async def reload(self) -> None:
        """Re-read certificate, decision log file, policy, keys, store URL and trusted issuers now (SIGHUP)."""
        self._recording.rotate()
        self._certificate.renew(self._listeners)
        self._assembly.keyring.read()
        self._assembly.trusted.reload()
        await self._assembly.store_url.read()
        await self.app.policy.reload()  # last: its checks query the store, which may be unavailable

    def drain(self) -> float:
        """Report not ready, and close each connection after its next response. Return the drain time in seconds, 0 if
        never ready."""
        seconds = self._settings.drain if self.app.health.proven else 0.0
        _log.info("draining", seconds=seconds)
        self.app.health.draining = True
        for listener in self._fast:
            listener.drain()
        return seconds

    def addresses(self) -> dict[str, str]:
        """Return the bound address of each listener, by name."""
        return {listener.name: listener.bound for listener in self._listeners}

    async def _ground(self) -> Dependencies:
        """Create the dependencies. Every problem with files and with the store's URL is found here."""
        settings = self._settings
        self._metrics = metrics = Metrics(__version__, process=not self._place.shared)
        tracer = open_tracer(settings, metrics.dropped_spans, self._stack.callback, os.environ)
        self._tracing = tracing = Tracing(settings, tracer)
        self._certificate = ServedCertificate(settings, metrics)
        from_files = settings.policy_source is PolicySource.FILES
        policy = await policy_of_files(settings, tracing.activation, force=self._force_policy) if from_files else None
        keys = load_or_create(settings.keys_dir, group_read=settings.keys_group_read)
        trusted = IssuerRegistry(settings)
        self._stack.push_async_callback(trusted.close)
        store = Store.at(await self._store_url(), sentinel_password=settings.redis_sentinel_password)
        store.lone_master = settings.redis_lone_master
        self._stack.push_async_callback(store.close)
        if policy is None:
            policy = await policy_of_store(settings, store, keys.pepper, tracing.store_policy, force=self._force_policy)
        else:
            policy = await with_last_good(policy, LastGoodPolicy(store, keys.pepper))
        self._recording = DecisionRecording(settings, metrics, tracing.recorder, self._stack, self._count_failure)
        recorder = self._recording.recorder
        return Dependencies(settings, metrics, policy, keys, trusted, store, recorder, self._place.folder)

    async def _store_url(self) -> str:
        if self._settings.redis_url is not None:
            return self._settings.redis_url
        embedded = await EmbeddedServer.acquire(self._settings.state_dir)
        if self._metrics is not None:
            embedded.on_restart = self._metrics.operation.embedded_restarts.inc
        self._stack.push_async_callback(embedded.stop)
        self._spawn("embedded store", embedded.watch)
        return embedded.url

    async def _listen(self) -> None:
        settings, app = self._settings, self.app
        apart = settings.check_listen is not None
        limiters = shares(settings.max_connections, 2 if apart else 1, app.metrics.connections_refused.inc)
        app.metrics.watch_connections(lambda: sum([limiter.open() for limiter in limiters]))
        endpoints = API if apart else (*CHECKS, *API)
        public = self._tracing.dispatcher(app, endpoints, checks=not apart, console=self._assembly.console)
        fast = self._fast_path if settings.fast_lane else None
        wanted: list[Listener | GrpcListener] = []
        wanted.append(
            Listener("public", settings.listen, public, settings, None if apart else fast, self._place, limiters[0])
        )
        if settings.check_listen is not None:
            checks = self._tracing.dispatcher(app, CHECKS, checks=True)
            wanted.append(Listener("check", settings.check_listen, checks, settings, fast, self._place, limiters[1]))
        if settings.grpc_listen is not None:
            wanted.append(GrpcListener(settings.grpc_listen, app, settings, self._place, self._tracing.tracer))
        ops = Dispatcher(app, OPS, checks=False, store=False)
        wanted.append(Listener("ops", self._place.ops or settings.ops_listen, ops, settings))
        for listener in wanted:
            await listener.start()
            self._stack.push_async_callback(listener.stop)
            self._listeners.append(listener)

    def _fast_path(self, slow: Slow) -> FastPathListener:
        listener = self._tracing.fast_path(self.app, slow)
        self._fast.append(listener)
        return listener

    async def _await_store(self, store: Store) -> None:
        """Wait at most STORE_SECONDS until each partition is proven or has failed. Raises StartError on a rejection."""
        states = self._assembly.live.states
        with suppress(TimeoutError):
            async with asyncio.timeout(STORE_SECONDS):
                while len(states.all()) < store.partitions or not self._assembly.app.health.checks()["policy"].ok:
                    if self._failure.done() or self._unreachable:
                        break
                    await asyncio.sleep(POLL_SECONDS)
        if self._failure.done():
            self._failure.result()

    async def _prove_store(self, deps: Dependencies) -> None:
        """Check the identity of the store, retrying until it responds. Nothing else is read before (R22, R23)."""
        while not self.app.health.proven:
            try:
                await self._check_store(deps)
            except StoreUnavailableError as problem:
                if problem.misconfigured:
                    self._failure.set_exception(StartError(WRONG, f"sidecar: {deps.store.where}: {problem}"))
                    return
                if not self._unreachable:
                    _log.error("store unavailable; every check is denied until it responds", error=str(problem))
                self._unreachable = True
                await asyncio.sleep(RETRY_SECONDS)
            except StoreMismatchError as problem:
                self._failure.set_exception(StartError(WRONG, f"sidecar: {problem}"))
                return
            except StartError as problem:
                self._failure.set_exception(problem)
                return
        for name, work in self._assembly.work_on_store():
            self._spawn(name, work)

    async def _check_store(self, deps: Dependencies) -> None:
        settings, policy = deps.settings, deps.policy.holder
        warnings = await deps.store.check_meta(
            issuer=settings.issuer,
            audience=settings.audience,
            demo=self._demo,
            pepper=deps.keys.pepper.identity,
        )
        for warning in warnings:
            _log.warning(warning)
        if not await deps.policy.confirm(force=self._force_policy):
            raise StartError(WRONG, *(str(policy.location.shown(one)) for one in policy.diagnostics if one.is_error))
        self.app.health.proven = True

    def _spawn(self, name: str, work: Work) -> None:
        """Run a background task. A failed task is restarted and never ends the process."""
        task = asyncio.create_task(supervised(name, work, failed=self._count_failure))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _count_failure(self, name: str) -> None:
        if self._metrics is not None:
            self._metrics.task_restarts.labels(name).inc()
