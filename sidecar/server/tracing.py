"""Tracing of one serving process: on while SIDECAR_OTEL_SAMPLE is set. Its parts then replace those without spans.

Without it no part looks at a trace header, and no library of OpenTelemetry is imported.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from sidecar.api.console import Console
from sidecar.api.dispatcher import Dispatcher
from sidecar.api.traced_dispatcher import TracedDispatcher
from sidecar.config.settings import Settings
from sidecar.gateways.fast_path.protocol import FastPathListener
from sidecar.gateways.fast_path.traced import TracedFastPathListener
from sidecar.http.context import AppContext
from sidecar.http.endpoint import Endpoint
from sidecar.pdp.activation import Activation
from sidecar.pdp.store_activation import StorePolicy
from sidecar.pdp.traced_activation import TracedActivation, TracedStorePolicy
from sidecar.server.listeners import KEEPALIVE_SECONDS, Slow
from sidecar.telemetry.check_recorder import CheckRecorder
from sidecar.telemetry.check_spans import TracedCheckRecorder
from sidecar.telemetry.tracing import Tracer


@dataclass(frozen=True, slots=True)
class Tracing:
    """Factory of the parts that exist with and without spans. ``tracer``: None while tracing is off."""

    settings: Settings
    tracer: Tracer | None

    @property
    def activation(self) -> Callable[..., Activation]:
        return Activation if self.tracer is None else partial(TracedActivation, tracer=self.tracer)

    @property
    def store_policy(self) -> Callable[..., StorePolicy]:
        return StorePolicy if self.tracer is None else partial(TracedStorePolicy, tracer=self.tracer)

    @property
    def recorder(self) -> type[CheckRecorder]:
        return CheckRecorder if self.tracer is None else TracedCheckRecorder

    def dispatcher(
        self, app: AppContext, endpoints: Iterable[Endpoint], *, checks: bool, console: Console | None = None
    ) -> Dispatcher:
        if self.tracer is None:
            return Dispatcher(app, endpoints, checks=checks, console=console)
        traced = TracedDispatcher(app, endpoints, checks=checks, console=console)
        traced.tracer = self.tracer
        return traced

    def fast_path(self, app: AppContext, slow: Slow) -> FastPathListener:
        head = self.settings.max_head
        if self.tracer is None:
            return FastPathListener(app, slow, max_head=head, idle=KEEPALIVE_SECONDS)
        return TracedFastPathListener(app, slow, max_head=head, idle=KEEPALIVE_SECONDS, tracer=self.tracer)
