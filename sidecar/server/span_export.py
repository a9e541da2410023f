"""Start of the export of spans: on while SIDECAR_OTEL_SAMPLE is set. Otherwise no library is imported for it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from secrets import token_hex
from typing import Any, Final

from sidecar import __version__
from sidecar.config.settings import Settings
from sidecar.telemetry.app_log import logger, silent
from sidecar.telemetry.tracing import NO_SPAN, Tracer

PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP: Final = "http/protobuf"

Dropped = Callable[[str, int], None]

_log = logger("telemetry")


class TracingError(Exception):
    """Tracing is on and cannot start. One sentence with the remedy."""


def open_tracer(
    settings: Settings, dropped: Dropped, closing: Callable[[Callable[[], None]], object], env: Mapping[str, str]
) -> Tracer | None:
    """Start the export if tracing is on. ``closing`` receives its last step. ``env``: the standard variables.

    ``dropped``: receives the reason and the number of lost spans. Raises TracingError.
    """
    if settings.otel_sample is None or switched_off(env):
        return None
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
        dropped(reason, 0)
    return Tracer(queue.put, share=settings.otel_sample, paths=settings.otel_paths)


@contextmanager
def traced_command(
    settings: Settings, name: str, env: Mapping[str, str], warn: Callable[[str], None]
) -> Iterator[None]:
    """Run the block of an operator's command in a trace of its own, if tracing is on. It ends with the export.

    A trace that cannot start, and spans that are not exported, are warnings: the command runs.
    """
    if settings.otel_sample is None:
        yield
        return
    lost: Counter[str] = Counter()

    def report() -> None:
        if lost.total():
            warn(f"{lost.total()} spans not exported: check OTEL_EXPORTER_OTLP_ENDPOINT and the collector")

    with silent(), ExitStack() as closing:
        closing.callback(report)
        try:
            tracer = open_tracer(settings, lambda reason, count: lost.update({reason: count}), closing.callback, env)
        except TracingError as problem:
            warn(f"not traced: {problem}")
            tracer = None
        with NO_SPAN if tracer is None else tracer.root(name):
            yield


def switched_off(env: Mapping[str, str]) -> bool:
    """Return True if a standard variable turns tracing off, whatever the settings are."""
    disabled = env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return disabled or env.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"


def library() -> Any:
    """Import the export code. Raises TracingError when its library is not installed, or overwritten.

    xds-protos, which the extra ``[grpc]`` needs, contains older files of ``opentelemetry.proto`` (measured: 1.85.0).
    """
    try:
        return import_module("sidecar.telemetry.otlp")
    except ModuleNotFoundError as error:
        raise TracingError(
            f"tracing: {error.name} is not installed: pip install 'policy-sidecar[otel]', or unset SIDECAR_OTEL_SAMPLE"
        ) from None
    except ImportError as error:
        raise TracingError(
            f"tracing: another package has overwritten {error.name}: pip install --force-reinstall --no-deps "
            "opentelemetry-proto, or unset SIDECAR_OTEL_SAMPLE"
        ) from None
