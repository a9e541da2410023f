"""Checks while tracing is on: the same responses, the same cache hits, and spans of sampled requests alone."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.gateways.fast_path import response_cache, traced
from sidecar.gateways.fast_path.protocol import FastPathListener
from sidecar.gateways.fast_path.traced import TracedFastPathListener, cut_context, cut_state, find_context
from sidecar.http.context import AppContext
from sidecar.telemetry.check_spans import TracedCheckRecorder
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import Span, SpanKind, Tracer, current
from tests.checks.test_needs_lanes import ASKED, FORWARDED, KNOWN, PROXY, TRUSTED, Lanes
from tests.checks.test_response_cache import Wire
from tests.needs_world import NeedsWorld
from tests.pdp_fixture import app, at_once, token

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = (f"traceparent: 00-{TRACE}-{PARENT}-{flags}" for flags in ("01", "00"))
PATH = "/dashboard/billing/"


class Log:
    """Keeps the lines in place of a `DecisionLog`."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, block: bytes, _lines: int) -> None:
        self.text += block


class World:
    """One application with a traced and an untraced fast path. ``aiohttp``: bytes handed over."""

    def __init__(self, *, share: float = 0.0, paths: bool = False) -> None:
        self.spans: list[Span] = []
        self.log = Log()
        self.aiohttp: list[bytes] = []
        shared = app()
        recorder = TracedCheckRecorder(Metrics("0"), self.log, call_soon=at_once)  # type: ignore[arg-type]
        given = {name: getattr(shared, name) for name in AppContext.__dataclass_fields__}
        self.app = AppContext(**{**given, "recorder": recorder})
        tracer = Tracer(self.spans.append, share=share, paths=paths, chance=lambda: 0.5)
        self.traced = TracedFastPathListener(self.app, self._slow, max_head=32768, idle=75, tracer=tracer)
        self.plain = FastPathListener(shared, self._slow, max_head=32768, idle=75)

    def _slow(self) -> Any:
        return Handover(self.aiohttp)

    def lines(self) -> bytes:
        self.app.recorder.flush()
        return self.log.text


class Handover(asyncio.Protocol):
    """aiohttp's place: keeps what it gets."""

    def __init__(self, into: list[bytes]) -> None:
        self._into = into

    def data_received(self, data: bytes) -> None:
        self._into.append(data)


class Switchable(Wire):
    """A transport that can be handed over."""

    def set_protocol(self, _protocol: object) -> None: ...

    def is_closing(self) -> bool:
        return False


def head(*lines: str, uri: str = PATH, user: str = "b") -> bytes:
    first = ["GET /check HTTP/1.1", "Host: x", "X-Request-ID: r-1", f"Authorization: Bearer {token(user)}"]
    every = [*first, "X-Forwarded-Method: GET", f"X-Forwarded-Uri: {uri}", *lines]
    return "\r\n".join([*every, "", ""]).encode()


def open_connection(listener: FastPathListener) -> tuple[Any, Switchable]:
    connection, wire = listener(), Switchable()
    connection.connection_made(wire)  # type: ignore[arg-type]
    return connection, wire


def answers(listener: FastPathListener, *heads: bytes) -> list[bytes]:
    connection, wire = open_connection(listener)
    for one in heads:
        connection.data_received(one)
    return [b"\r\n".join(line for line in raw.split(b"\r\n") if not line.startswith(b"Date")) for raw in wire.written]


async def test_a_sampled_check_has_a_span_an_unsampled_one_none() -> None:
    world = World()
    assert len(answers(world.traced, head(SAMPLED, "tracestate: a=1"), head(UNSAMPLED), head())) == 3
    (span,) = world.spans
    assert (span.name, span.kind, span.remote, span.error) == ("GET /check", SpanKind.SERVER, True, "")
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id, span.context.state) == (TRACE, PARENT, "a=1")
    assert span.context.trace_id == TRACE
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/check",
        "http.response.status_code": 200,
        "sidecar.decision": "allow",
        "sidecar.reason": "allowed",
        "sidecar.section": "billing",
        "sidecar.action": "view",
        "sidecar.generation": world.app.policy.generation.id,  # type: ignore[union-attr]
    }
    assert world.lines().count(b'"request_id":"r-1","trace_id":"%b","endpoint"' % TRACE.encode()) == 1


async def test_the_share_is_of_requests_without_a_trace() -> None:
    all_of_them, none = World(share=0.6), World(share=0.4)
    for world in (all_of_them, none):
        answers(world.traced, head(), head(UNSAMPLED))
    assert [span.parent for span in all_of_them.spans] == [None]
    assert none.spans == []


async def test_another_trace_hits_the_same_cached_response(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    decided: list[object] = []
    judge = world.app.pdp.check_now
    monkeypatch.setattr(world.app.pdp, "check_now", lambda question: decided.append(question) or judge(question))
    heads = [head(f"traceparent: 00-{number:032x}-{number:016x}-{number % 2:02x}") for number in range(1, 30)]
    assert len(set(answers(world.traced, *heads))) == 1
    assert len(decided) == 2  # a response is cached at its second occurrence
    assert len(world.spans) == 15


ODD = [
    "traceparent: 00-x",
    "traceparent: ",
    f"traceparent:00-{TRACE}-{PARENT}-01",
    f"TraceParent: 00-{TRACE}-{PARENT}-01",
    f"traceparent: 00-{'0' * 32}-{PARENT}-01",
    f"traceparent: ff-{TRACE}-{PARENT}-01",
    f"{SAMPLED}\r\n{UNSAMPLED}",
    f"{SAMPLED}\r\nTraceparent: 00-{TRACE}-{PARENT}-01",
    f"{SAMPLED}\r\ntracestate: {'a' * 600}",
    f"{SAMPLED}\r\n folded",
    f"{SAMPLED}\r\ntracestate: a\r\n\tb",
    f"traceparent: 00-{TRACE}-{PARENT}-01\nEvil: 1",
    f"traceparent: 00-{TRACE}-{PARENT}-0\x00",
    f"tracestate: a=1\r\n{SAMPLED}",
    f"{UNSAMPLED}\r\nX-HTTP-Method-Override: POST",
    f"{SAMPLED}\r\nAuthorization: Bearer x",
]


@pytest.mark.parametrize("lines", ODD)
async def test_R33_every_head_is_answered_as_without_tracing(lines: str) -> None:
    world = World()
    heads = [head(lines)] * 3
    responses = answers(world.traced, *heads), list(world.aiohttp)
    world.aiohttp.clear()
    assert responses == (answers(world.plain, *heads), world.aiohttp)


@settings(deadline=None)
@given(st.lists(st.sampled_from([*ODD, SAMPLED, UNSAMPLED, "tracestate: a=1", "X-Other: traceparent: 1"]), max_size=5))
def test_what_is_cut_out_of_a_head_are_whole_lines(lines: list[str]) -> None:
    before = head(*lines)
    at = find_context(before)
    bare, _ = cut_state(cut_context(before, at)[0] if at >= 0 else before, at)
    missing = [line for line in before.split(b"\r\n") if line not in bare.split(b"\r\n")]
    assert all(line.lower().startswith((b"traceparent: ", b"tracestate: ")) for line in missing)


async def test_a_pending_check_ends_its_span_with_its_response() -> None:
    """The next requests of the connection do not inherit its span."""
    world = World()
    connection, wire = open_connection(world.traced)
    connection.data_received(head(SAMPLED, user="f") + head(UNSAMPLED) + head(SAMPLED.replace(TRACE, "a" * 32)))
    assert wire.written == []
    await connection.waiting
    assert len(wire.written) == 3
    assert [span.context.trace_id for span in world.spans] == [TRACE, "a" * 32]
    assert [b"trace_id" in line for line in world.lines().splitlines()] == [True, False, True]
    assert current() is None


async def test_a_path_only_if_the_operator_wants_it() -> None:
    uri = f"{PATH}?token=secret"
    hidden, shown = World(), World(paths=True)
    for world in (hidden, shown):
        answers(world.traced, head(SAMPLED, uri=uri))
    assert shown.spans[0].attributes["url.path"] == PATH
    assert "secret" not in str(shown.spans[0].attributes)
    assert PATH not in str(hidden.spans[0].attributes.values())


async def test_names_of_the_request_do_not_become_attributes() -> None:
    """Sections and actions that the policy does not define are the client's text."""
    world = World(share=1.0)
    raw = head().replace(b"GET /check ", b"GET /check/sections/billing/ada%40example.com ")
    other = head().replace(b"GET /check ", b"GET /check/sections/ada%40example.com ")
    answers(world.traced, raw, other)
    assert [span.attributes["sidecar.reason"] for span in world.spans] == ["unknown_action", "unknown_section"]
    assert "example" not in str([span.attributes for span in world.spans])


async def test_off_no_head_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[bytes] = []
    monkeypatch.setattr(traced, "find_context", lambda head, _at=0: searched.append(head) or -1)
    world = World()
    assert len(answers(world.plain, head(SAMPLED), head())) == 2
    assert searched == []
    assert len(answers(world.traced, head(), head(), head(), head())) == 4
    assert len(searched) == 2  # a cached response needs no search


async def test_a_connection_may_mix_requests_with_and_without_a_trace() -> None:
    world = World()
    heads = [head()] * 3 + [head(SAMPLED)] + [head()] * 3 + [head(UNSAMPLED), head(SAMPLED), head(), head(SAMPLED)]
    assert len(set(answers(world.traced, *heads))) == 1
    assert [span.parent and span.parent.span_id for span in world.spans] == [PARENT] * 3


def keys_of(cache: Any) -> list[object]:
    return list(cache._values if hasattr(cache, "_values") else cache)


@pytest.mark.parametrize("alias_every", [1, response_cache.ALIAS_EVERY])
async def test_R40_traced_heads_share_classes_and_aliases(alias_every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a trusted proxy, a head is found by its class of networks, or by its alias. Neither has a trace."""
    monkeypatch.setattr(response_cache, "ALIAS_EVERY", alias_every)
    lanes, spans = Lanes(NeedsWorld("office", trusted=TRUSTED)), list[Span]()
    tracer = Tracer(spans.append, share=0.0)
    traced = TracedFastPathListener(
        lanes.world.app, lambda: pytest.fail("slow"), max_head=32768, idle=75, tracer=tracer
    )
    lanes.fast = traced
    for turn in range(6):
        for number, lines in enumerate(FORWARDED):
            value = f"00-{turn * 100 + number + 1:032x}-{PARENT}-0{number % 2}".encode()
            carried = ((b"traceparent", value),) if (turn + number) % 3 else ()
            for asked in ((*lines, *carried, *ASKED), (*carried, *ASKED, *lines), (*ASKED, *lines, *carried)):
                assert lanes.status(PROXY, asked) == (200 if number in KNOWN else 403), (lines, carried)
    cache = traced.responder.cache
    assert len(cache.aliases)
    keys = [key for kept in (cache.responses, cache.templates, cache.aliases) for key in keys_of(kept)]
    assert [key for key in keys if "trace" in str(key)] == []
    sampled = [1 for turn in range(6) for number in range(len(FORWARDED)) if (turn + number) % 3 and number % 2]
    assert len(spans) == 3 * len(sampled)
    assert all(span.ended and span.attributes["http.response.status_code"] in (200, 403) for span in spans)
