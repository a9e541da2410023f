"""Tracing of one serving process: on while SIDECAR_OTEL_SAMPLE is set. Its parts then replace those without spans.

Without it no part looks at a trace header, and no library of OpenTelemetry is imported.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from secrets import token_hex
from typing import Any, Final

from sidecar import __version__
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
from sidecar.telemetry.app_log import logger
from sidecar.telemetry.check_recorder import CheckRecorder
from sidecar.telemetry.check_spans import TracedCheckRecorder
from sidecar.telemetry.tracing import Tracer

PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP: Final = "http/protobuf"

Dropped = Callable[[str, int], None]

_log = logger("telemetry")


class TracingError(Exception):
    """Tracing is on and cannot start. One sentence with the remedy."""


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


def open_tracing(
    settings: Settings, dropped: Dropped, closing: Callable[[Callable[[], None]], object], env: Mapping[str, str]
) -> Tracing:
    """Start the export if tracing is on. ``closing`` receives its last step. ``env``: the standard variables.

    ``dropped``: receives the reason and the number of lost spans. Raises TracingError.
    """
    if settings.otel_sample is None or switched_off(env):
        return Tracing(settings, None)
    spoken = next((env[name] for name in PROTOCOLS if env.get(name)), HTTP)
    if spoken != HTTP:
        _log.warning("spans are exported over http/protobuf alone: name its endpoint", protocol=spoken[:40])
    otlp = library()
    try:
        queue = otlp.SpanQueue(version=__version__, instance=token_hex(8), env=env, dropped=dropped)
    except (ValueError, OSError) as error:  # its text may contain a header's secret
        raise TracingError(
            f"tracing: the OTEL_EXPORTER_OTLP_… variables cannot be used ({type(error).__name__}): "
            "check the endpoint and the certificate files"
        ) from None
    closing(queue.close)
    for reason in ("queue_full", "export_failed"):  # series from the start, for alerts
        metrics.dropped_spans(reason, 0)
    return Tracing(settings, Tracer(queue.put, share=settings.otel_sample, paths=settings.otel_paths))


def switched_off(env: Mapping[str, str]) -> bool:
    """Return True if a standard variable turns tracing off, whatever the settings are."""
    disabled = env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return disabled or env.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"


def library() -> Any:
    """Import the export code. Raises TracingError when its library is not installed."""
    try:
        return import_module("sidecar.telemetry.otlp")
    except ImportError as error:
        raise TracingError(
            f"tracing: {error.name} is not installed: pip install 'policy-sidecar[otel]', or unset SIDECAR_OTEL_SAMPLE"
        ) from None
