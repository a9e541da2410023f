"""Checks over gRPC while tracing is on: Envoy's trace first, the same cached responses, and spans without secrets."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("grpc", reason="the extra [grpc] is not installed")
pytest.importorskip("envoy.service.auth.v3.external_auth_pb2", reason="the extra [grpc] is not installed")

import grpc
from envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationStub

from sidecar.gateways import envoy_grpc
from sidecar.gateways.fast_path import grpc_responder
from sidecar.gateways.fast_path.grpc_responder import GrpcResponder
from sidecar.gateways.fast_path.traced_grpc import METHOD, TracedGrpcResponder
from sidecar.telemetry.tracing import Span, SpanKind, Tracer, current
from tests.checks.test_gateway_grpc import MAX_HEAD, request
from tests.checks.test_traced_checks import World
from tests.pdp_fixture import token

A, B, C = "a" * 32, "b" * 16, "c" * 16


class Context:
    """A call's context, with this metadata."""

    def __init__(self, *metadata: tuple[str, str | bytes]) -> None:
        self._metadata = metadata or None

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
        return self._metadata


class Traced:
    """Service of a `World` whose checks are traced by their parents, and by ``share``."""

    def __init__(self, *, share: float = 0.0, paths: bool = False) -> None:
        self.world = World()
        self.spans: list[Span] = []
        self.tracer = Tracer(self.spans.append, share=share, paths=paths, chance=lambda: 0.5)
        self.responder = TracedGrpcResponder(self.world.app, max_head=MAX_HEAD, tracer=self.tracer)
        self.service = envoy_grpc.TracedAuthorization(self.responder.respond_in_trace)

    async def check(self, context: Context, path: str = "/dashboard/billing/", **headers: str) -> Any:
        sent = request(path, authorization=f"Bearer {token('b')}", **headers).SerializeToString()
        return CheckResponse.FromString(await self.service.Check(sent, context))


def parent(flag: str, span: str = C, trace: str = A) -> str:
    return f"00-{trace}-{span}-0{flag}"


@pytest.mark.parametrize(
    ("metadata", "header", "parents"),
    [("1", "0", ["b"]), ("0", "1", []), (None, "1", ["c"]), (None, "0", []), (None, None, [])],
    ids=["metadata", "metadata-unsampled", "headers", "headers-unsampled", "none"],
)
async def test_a_trace_comes_in_the_metadata_or_the_headers(
    metadata: str | None, header: str | None, parents: list[str]
) -> None:
    """Envoy's own span precedes the one that its client sent."""
    traced = Traced()
    context = (
        Context(("grpc-trace-bin", b"\xff")) if metadata is None else Context(("traceparent", parent(metadata, B)))
    )
    given = {} if header is None else {"traceparent": parent(header)}
    assert (await traced.check(context, **given)).status.code == 0
    assert [span.parent.span_id[0] for span in traced.spans if span.parent] == parents
    assert all((span.name, span.kind, bool(span.ended)) == (METHOD, SpanKind.SERVER, True) for span in traced.spans)


async def test_a_traced_check_has_its_decision_and_its_line() -> None:
    traced = Traced()
    for number in range(4):  # decided twice, then cached
        context = Context(("traceparent", parent("1", trace=f"{number + 1:032x}")), ("tracestate", "v=1"))
        assert (await traced.check(context)).status.code == 0
    assert len(traced.responder.messages) == 1
    assert [(span.context.state, span.attributes) for span in traced.spans] == [
        (
            "v=1",
            {
                "rpc.system.name": "grpc",
                "rpc.method": METHOD,
                "sidecar.decision": "allow",
                "sidecar.reason": "allowed",
                "sidecar.section": "billing",
                "sidecar.action": "view",
                "sidecar.generation": traced.world.app.policy.generation.id,  # type: ignore[union-attr]
            },
        )
    ] * 4
    lines = traced.world.lines().splitlines()
    assert [f'"trace_id":"{number + 1:032x}"'.encode() in line for number, line in enumerate(lines)] == [True] * 4
    assert current() is None


async def test_trace_headers_are_in_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    traced, decided = Traced(), []
    decide = grpc_responder.decide_question
    monkeypatch.setattr(grpc_responder, "decide_question", lambda *given: decided.append(1) or decide(*given))
    contexts = [Context(), Context(("traceparent", parent("1", B))), Context(("traceparent", parent("0", B)))]
    answers = [
        await traced.check(contexts[number % 3], traceparent=parent(str(number % 2), trace=f"{number:032x}"))
        for number in range(1, 12)
    ]
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert len(decided) == 2, "a response is cached at its second occurrence"
    (key,) = list(traced.responder.messages._values)
    assert "trace" not in str(key)


async def test_a_traced_response_equals_an_untraced_one() -> None:
    traced, plain = Traced(share=1.0), GrpcResponder(World().app, max_head=MAX_HEAD)
    for path in ("/dashboard/billing/", "/dashboard/users/", "/login", "/nowhere", "*"):
        sent = request(path, authorization=f"Bearer {token('b')}", traceparent=parent("1")).SerializeToString()
        for _ in range(3):
            assert await traced.service.Check(sent, Context()) == await plain.respond(sent)
    assert len(traced.spans) == 15


async def test_a_path_only_if_the_operator_wants_it() -> None:
    hidden, shown = Traced(share=1.0), Traced(share=1.0, paths=True)
    for traced in (hidden, shown):
        await traced.check(Context(), "/dashboard/billing/?token=secret")
    assert shown.spans[0].attributes["url.path"] == "/dashboard/billing/"
    assert "secret" not in str(shown.spans[0].attributes)
    assert "/dashboard" not in str(hidden.spans[0].attributes)


async def test_a_fault_is_code_7_and_an_error_of_the_span(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_given: object) -> None:
        raise KeyError("ada@example.com")

    traced = Traced(share=1.0)
    monkeypatch.setattr(grpc_responder, "question_of", broken)
    assert (await traced.check(Context())).status.code == 7
    (span,) = traced.spans
    assert (span.error, bool(span.ended)) == ("KeyError", True)
    assert "example" not in str(span.attributes)


async def test_R29_what_is_no_message_is_denied_in_a_trace() -> None:
    traced = Traced(share=1.0)
    answer = CheckResponse.FromString(await traced.service.Check(b"\xff\xff", Context()))
    assert answer.status.code == 7
    assert traced.spans[0].attributes["sidecar.reason"] == "bad_request"


@pytest.fixture
async def channel() -> AsyncIterator[tuple[Any, Traced]]:
    async def healthy() -> bool:
        return True

    traced = Traced()
    server = envoy_grpc.GrpcServer(traced.service, healthy)
    port = await server.start("127.0.0.1:0", None)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened, traced
    await server.stop(0)


async def test_metadata_over_the_wire(channel: tuple[Any, Traced]) -> None:
    stub: Any = AuthorizationStub(channel[0])
    sent = request("/dashboard/billing/", authorization=f"Bearer {token('b')}", traceparent=parent("0"))
    assert (await stub.Check(sent, metadata=(("traceparent", parent("1", B)),))).status.code == 0
    assert (await stub.Check(sent)).status.code == 0
    (span,) = channel[1].spans
    assert span.parent is not None
    assert span.parent.span_id == B


def test_off_no_trace_header_is_read() -> None:
    assert not [name for name in GrpcResponder.wanted if name.startswith("trace")]
