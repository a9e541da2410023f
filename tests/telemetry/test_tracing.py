"""W3C trace context, spans and their ids in the log, without a library of OpenTelemetry."""

import asyncio
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from sidecar.telemetry import app_log
from sidecar.telemetry.trace_context import TraceContext, context_of, parse
from sidecar.telemetry.tracing import (
    NO_SPAN,
    Span,
    SpanKind,
    Tracer,
    attach,
    child,
    continuing,
    current,
    detach,
    outgoing_headers,
)

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01".encode()


def tracer(share: float = 0.0) -> tuple[Tracer, list[Span]]:
    ended: list[Span] = []
    return Tracer(ended.append, share=share, chance=lambda: 0.5), ended


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (f"00-{TRACE}-{PARENT}-01", 1),
        (f"00-{TRACE}-{PARENT}-00", 0),
        (f"00-{TRACE}-{PARENT}-ff", 3),
        (f"cc-{TRACE}-{PARENT}-01", 1),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", 1),
    ],
)
def test_a_valid_traceparent(value: str, flags: int) -> None:
    assert parse(value.encode()) == TraceContext(TRACE, PARENT, flags)


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"cc-{TRACE}-{PARENT}-01more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-1",
        f" 00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)
def test_an_invalid_traceparent_starts_a_new_trace(value: str) -> None:
    assert parse(value.encode()) is None


def test_headers_of_any_case_and_one_parent_alone() -> None:
    lines = [(b"TraceParent", SAMPLED), (b"tracestate", b"a=1"), (b"TRACESTATE", b" b=2")]
    assert context_of(lines) == TraceContext(TRACE, PARENT, 1, "a=1,b=2")
    assert context_of([*lines, (b"traceparent", SAMPLED)]) is None
    assert context_of([]) is None


@pytest.mark.parametrize("state", [b"a" * 513, b"a=\x00", b"a=\xff"])
def test_an_unusable_tracestate_is_dropped_whole(state: bytes) -> None:
    assert parse(SAMPLED, state) == TraceContext(TRACE, PARENT, 1)


def test_a_parent_decides_and_the_share_decides_without_one() -> None:
    sampled, unsampled = TraceContext(TRACE, PARENT, 1), TraceContext(TRACE, PARENT, 0)
    for share in (0.0, 1.0):
        follows, _ = tracer(share)
        assert follows.server(sampled) is not None
        assert follows.server(unsampled, always=True) is None
        assert (follows.server(None) is not None) == (share == 1.0)
        assert follows.server(None, always=True) is not None


def test_children_in_the_block_of_their_parent() -> None:
    made, ended = tracer(1.0)
    assert child("outside") is NO_SPAN
    root = made.server(None, "request")
    assert root is not None
    with root:
        with child("inner", SpanKind.CLIENT) as inner:
            assert outgoing_headers()["traceparent"].split("-")[1:3] == [root.context.trace_id, inner.context.span_id]  # type: ignore[union-attr]
        with pytest.raises(KeyError), child("failing"):
            raise KeyError("ada@example.com")
    assert current() is None
    assert [(span.name, span.error) for span in ended] == [("inner", ""), ("failing", "KeyError"), ("request", "")]
    assert [span.parent and span.parent.span_id for span in ended] == [root.context.span_id] * 2 + [None]
    assert "example.com" not in str([span.attributes for span in ended])
    assert all(span.started <= span.ended for span in ended)


def test_a_span_ends_once() -> None:
    made, ended = tracer()
    span = made.root("load")
    span.end()
    span.end()
    assert ended == [span]


async def test_tasks_inherit_the_span_and_queued_work_gets_it() -> None:
    made, _ = tracer()
    with made.root("request") as root:
        inherited = asyncio.create_task(asyncio.to_thread(current))
    assert await inherited is root
    with continuing(root):
        assert current() is root
    assert current() is None


def test_an_unsampled_trace_goes_on_without_spans() -> None:
    token = attach(TraceContext(TRACE, PARENT, 0, "a=1"))
    try:
        with child("fetch") as span:
            assert span is NO_SPAN
            assert span.headers() == {"traceparent": f"00-{TRACE}-{PARENT}-00", "tracestate": "a=1"}
    finally:
        detach(token)
    assert NO_SPAN.headers() == {}


def test_entries_of_the_log_have_the_ids_of_their_span() -> None:
    before, written = structlog.get_config(), io.StringIO()
    try:
        app_log.configure("info", "json")
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(written))
        made, _ = tracer()
        with made.root("load") as span:
            app_log.logger("test").info("inside")
        app_log.logger("test").info("outside")
    finally:
        structlog.configure(**before)
    inside, outside = [json.loads(line) for line in written.getvalue().splitlines()]
    assert (inside["trace_id"], inside["span_id"]) == (span.context.trace_id, span.context.span_id)
    assert "trace_id" not in outside


def test_nothing_imports_the_exporter_without_the_setting() -> None:
    """redis-py imports the API and the SDK by itself where they are installed."""
    words = (
        "import sys, sidecar.server.bootstrap\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.exporter', 'sidecar.telemetry.otlp'))])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"
