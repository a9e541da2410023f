"""Export of spans: bounded, off the path, losses counted, and no secret in the log."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

pytest.importorskip("opentelemetry.sdk.trace", reason="the extra [otel] is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from sidecar.config.settings import load
from sidecar.server import span_export
from sidecar.server.span_export import TracingError, open_tracer
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.otlp import SpanQueue
from sidecar.telemetry.trace_context import TraceContext
from sidecar.telemetry.tracing import Span, SpanKind
from tests.telemetry.otlp_receiver import receiving

FAST = {"OTEL_BSP_SCHEDULE_DELAY": "10"}


class Collector(SpanExporter):
    """An exporter in memory. It waits at ``gate``, and fails while ``failing``."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.failing: Exception | bool = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.gate.wait(10)
        if isinstance(self.failing, Exception):
            raise self.failing
        self.batches.append(len(spans))
        return SpanExportResult.FAILURE if self.failing else SpanExportResult.SUCCESS


def queue(collector: SpanExporter | None, dropped: Counter[str], **env: str) -> SpanQueue:
    def count(reason: str, number: int) -> None:
        dropped[reason] += number

    return SpanQueue(version="1", instance="i", env={**FAST, **env}, dropped=count, exporter=collector)


def put(into: SpanQueue, number: int) -> None:
    for _ in range(number):
        Span(into.put, "GET /check", SpanKind.SERVER, None).end()


def test_a_full_queue_drops_counts_and_never_blocks() -> None:
    collector, dropped = Collector(), Counter[str]()
    collector.gate.clear()
    spans = queue(collector, dropped, OTEL_BSP_MAX_QUEUE_SIZE="8", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4")
    put(spans, 4)
    assert collector.entered.wait(10)
    put(spans, 20)
    assert dropped == {"queue_full": 12}
    collector.gate.set()
    spans.close()
    assert collector.batches == [4, 4, 4]


@pytest.mark.parametrize("failing", [True, RuntimeError("Bearer secret")])
def test_failed_exports_are_counted_and_logged_once(failing: Exception | bool) -> None:
    collector, dropped = Collector(), Counter[str]()
    collector.failing = failing
    with capture_logs() as logs:
        spans = queue(collector, dropped, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="2")
        put(spans, 6)
        spans.close()
    assert dropped == {"export_failed": 6}
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert "secret" not in str(logs)


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_an_invalid_variable_is_a_warning(value: str) -> None:
    with capture_logs() as logs:
        queue(Collector(), Counter(), OTEL_BSP_MAX_QUEUE_SIZE=value).close()
    assert [(entry["log_level"], entry["variable"]) for entry in logs] == [("warning", "OTEL_BSP_MAX_QUEUE_SIZE")]


def test_spans_over_http_with_the_standard_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.version=9")
        spans = queue(None, Counter())
        parent = TraceContext("a" * 32, "b" * 16, 1, "vendor=1")
        with Span(spans.put, "request", SpanKind.SERVER, parent, remote=True) as span:
            span.set("http.response.status_code", 503)
            span.fail("503")
        spans.close()
    (arrived,) = receiver.spans
    assert (arrived.trace, arrived.parent, arrived.state, arrived.error) == ("a" * 32, "b" * 16, "vendor=1", True)
    assert arrived.attributes == {"http.response.status_code": 503, "error.type": "503"}
    assert receiver.headers[0]["x-tenant"] == "acme"
    wanted = {"service.name": "policy-sidecar", "service.version": "9", "service.instance.id": "i"}
    assert {name: arrived.resource[name] for name in wanted} == wanted
    assert arrived.resource["deployment.environment.name"] == "test"


def opened(env: Mapping[str, str], **settings: str) -> Any:
    closing: list[Callable[[], None]] = []
    given = {f"SIDECAR_{name}": value for name, value in settings.items()}
    try:
        return open_tracer(load({}, given), Metrics("0").dropped_spans, closing.append, env)
    finally:
        for close in closing:
            close()


def test_off_unless_the_setting_is_there() -> None:
    assert opened({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}) is None
    assert opened({}, OTEL_SAMPLE="0") is not None


@pytest.mark.parametrize("env", [{"OTEL_SDK_DISABLED": "TRUE"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_the_standard_variables_turn_it_off(env: dict[str, str]) -> None:
    assert opened(env, OTEL_SAMPLE="1") is None


def test_without_the_library_the_start_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ModuleNotFoundError("no", name="opentelemetry")

    monkeypatch.setattr(span_export, "import_module", missing)
    with pytest.raises(TracingError, match=r"opentelemetry is not installed.*policy-sidecar\[otel\].*SIDECAR_OTEL"):
        opened({}, OTEL_SAMPLE="1")


def test_an_overwritten_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """xds-protos contains older files of opentelemetry-proto (measured with 1.85.0)."""

    def older(_name: str) -> None:
        raise ImportError("cannot import name", name="opentelemetry.proto.common.v1.common_pb2")

    monkeypatch.setattr(span_export, "import_module", older)
    with pytest.raises(TracingError, match=r"overwritten opentelemetry\.proto.*--force-reinstall.*SIDECAR_OTEL"):
        opened({}, OTEL_SAMPLE="1")


def test_another_protocol_is_a_warning() -> None:
    with capture_logs() as logs:
        opened({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, OTEL_SAMPLE="1")
    assert [(entry["log_level"], entry["protocol"]) for entry in logs] == [("warning", "grpc")]
