"""Envoy's gRPC API: request, response, and a denial in ``status.code`` unless the sidecar allows."""

import asyncio
from collections.abc import AsyncIterator
from time import thread_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("grpc", reason="the extra [grpc] is not installed")
pytest.importorskip("envoy.service.auth.v3.external_auth_pb2", reason="the extra [grpc] is not installed")

import grpc
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationStub
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.domain.access import RequestPath
from sidecar.domain.decision import Decision, Reason, Verdict
from sidecar.gateways import envoy_grpc
from sidecar.gateways.fast_path import grpc_responder
from sidecar.gateways.fast_path.grpc_responder import GrpcResponder
from sidecar.gateways.protobuf import SHORT
from sidecar.http.response import IDENTITY, RawResponse, gateway_response
from tests.pdp_fixture import app, token

MAX_HEAD = 32 * 1024
MEDIA = "/dashboard/media-library/"


def request(path: str = MEDIA, method: str = "GET", **headers: str) -> CheckRequest:
    asked = CheckRequest()
    http = asked.attributes.request.http
    http.method, http.path = method, path
    for name, value in headers.items():
        http.headers[name.replace("_", "-")] = value
    return asked


def raw_request(*lines: tuple[str, bytes]) -> CheckRequest:
    """As with ``encode_raw_headers: true``."""
    asked = request()
    for key, value in lines:
        asked.attributes.request.http.header_map.headers.add(key=key, raw_value=value)
    return asked


def test_the_path_holds_the_query() -> None:
    call = envoy_grpc.call_of(request("/dashboard/billing?a=/b?c", "POST"))
    assert (call.method, call.path, call.query) == ("POST", "/dashboard/billing", "a=/b?c")
    assert envoy_grpc.read(call) == RequestPath("POST", "/dashboard/billing")
    assert envoy_grpc.uri(call) == "/dashboard/billing?a=/b?c"


def test_CVE_2026_32811_an_encoded_question_mark_ends_no_path() -> None:
    call = envoy_grpc.call_of(request("/dashboard/media-library%3f/../billing"))
    assert envoy_grpc.read(call) == RequestPath("GET", "/dashboard/media-library%3f/../billing")


@pytest.mark.parametrize("asked", [CheckRequest(), request(""), request("", ""), request(MEDIA, ""), request("*")])
def test_what_is_no_request_is_a_bad_one(asked: CheckRequest) -> None:
    assert envoy_grpc.read(envoy_grpc.call_of(asked)) is Reason.BAD_REQUEST


def test_raw_headers_keep_their_bytes_and_their_number() -> None:
    call = envoy_grpc.call_of(raw_request(("cookie", b"a=\xff"), ("cookie", b"b=2")))
    assert call.headers == ((b"cookie", b"a=\xff"), (b"cookie", b"b=2"))


STAND = GrpcResponder(app(), max_head=MAX_HEAD)


async def check(asked: CheckRequest, by: envoy_grpc.Respond = STAND.respond) -> Any:
    sent = asked.SerializeToString()
    return CheckResponse.FromString(await envoy_grpc.Authorization(by).Check(sent, None))


async def test_an_allow_sets_the_identity_and_removes_what_is_empty() -> None:
    answer = await check(request(authorization=f"Bearer {token('c')}", cookie="a=1; sidecar=x"))
    assert answer.status.code == 0
    headers = {one.header.key: one.header.value for one in answer.ok_response.headers}
    assert headers == {
        "x-auth-user": "usr_aaaaaaaaaaaa_cccccccccccc",
        "x-auth-email": "c@example.com",
        "x-auth-role": "marketer",
        "x-auth-account": "acc_aaaaaaaaaaaa",
        "x-auth-section": "media-library",
        "x-auth-action": "view",
        "cookie": "a=1",
    }
    assert list(answer.ok_response.headers_to_remove) == []


async def test_a_public_path_removes_the_whole_identity() -> None:
    answer = await check(request("/login"))
    assert answer.status.code == 0
    assert list(answer.ok_response.headers) == []
    assert list(answer.ok_response.headers_to_remove) == [*(name.lower() for name in IDENTITY), "cookie"]


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.verdict is not Verdict.ALLOW])
@pytest.mark.parametrize("unavailable", [403, 503])
def test_the_code_says_no_and_the_status_is_never_a_yes(reason: Reason, unavailable: int) -> None:
    answer: Any = envoy_grpc.response_of(gateway_response(Decision(reason, "g"), unavailable=unavailable))
    assert answer.status.code == (16 if reason.verdict is Verdict.UNAUTHENTICATED else 7)
    assert answer.denied_response.status.code in (401, 403, unavailable)
    assert not answer.HasField("ok_response")
    told = {one.header.key: one.header.value for one in answer.denied_response.headers}
    assert told["x-auth-reason"] == reason
    assert not {name.lower() for name in IDENTITY} & set(told)
    assert reason.value in answer.denied_response.body


async def test_a_fault_is_code_7_and_not_a_grpc_error() -> None:
    async def broken(_message: bytes) -> bytes:
        raise RuntimeError

    assert (await check(request(), broken)).status.code == 7


async def test_an_answer_that_cannot_be_written_is_code_7(monkeypatch: pytest.MonkeyPatch) -> None:
    unwritable = RawResponse(200, (("X-Auth-User", "\udc80"),))
    monkeypatch.setattr(grpc_responder, "respond", lambda *_: unwritable)
    assert (await check(request())).status.code == 7


@pytest.fixture
async def channel() -> AsyncIterator[Any]:
    """Channel to a real server in this loop. ``healthy`` is set by the test."""
    server = envoy_grpc.GrpcServer(envoy_grpc.Authorization(STAND.respond), _healthy)
    port = await server.start("127.0.0.1:0", None)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(0)


STATE = {"healthy": True}


async def _healthy() -> bool:
    return STATE["healthy"]


async def test_a_check_over_the_wire(channel: Any) -> None:
    stub: Any = AuthorizationStub(channel)
    allowed = await stub.Check(request(authorization=f"Bearer {token('c')}"))
    assert allowed.status.code == 0
    slow = await stub.Check(request("/dashboard/users", authorization=f"Bearer {token('f')}"))
    assert slow.status.code == 0
    assert (await stub.Check(request("/dashboard/billing", authorization=f"Bearer {token('c')}"))).status.code == 7
    assert (await stub.Check(request())).status.code == 16
    assert (await stub.Check(CheckRequest())).status.code == 7
    several = await asyncio.gather(*(stub.Check(request("/login")) for _ in range(50)))
    assert {one.status.code for one in several} == {0}


async def test_health_follows_the_sidecar(channel: Any) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    for service in ("", envoy_grpc.SERVICE):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    STATE["healthy"] = False
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    finally:
        STATE["healthy"] = True
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_health_is_watched(channel: Any) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    STATE["healthy"] = False
    try:
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    finally:
        STATE["healthy"] = True
        watch.cancel()


# Cost of an untrusted request before it is parsed ---------------------------------------------------------------------


def heavy(headers: int = 0, *, size: int = 0, body: int = 0, raw: bool = True) -> bytes:
    """Return a message with that many headers, a cookie of that many bytes, and a body of that length."""
    asked = request("/dashboard/billing")
    http = asked.attributes.request.http
    for number in range(headers):
        if raw:
            http.header_map.headers.add(key=f"x{number}", raw_value=b"a")
        else:
            http.headers[f"x{number}"] = "a"
    if size:
        http.header_map.headers.add(key="cookie", raw_value=b";" * size)
    http.raw_body = b"b" * body
    return bytes(asked.SerializeToString())


BAD = {
    "10,000 raw headers": heavy(10_000),
    "160,000 headers in the map": heavy(160_000, raw=False),
    "129 headers": heavy(129),
    "129 headers in the map": heavy(129, raw=False),
    "129 headers and a body": heavy(129, body=20_000),
    "a cookie of 20 MB": heavy(1, size=20_000_000),
    "a cookie over SIDECAR_MAX_HEAD": heavy(1, size=MAX_HEAD),
    "a path of 20 MB": request("/" + "a" * 20_000_000).SerializeToString(),
    "a path over SIDECAR_MAX_HEAD": request("/" + "a" * MAX_HEAD).SerializeToString(),
    "nothing but fields": b"\x08\x01" * 100_000,
    "fields that are not known": request().SerializeToString() + b"\xf8\x07\x01" * 100_000,
    "a length beyond the end": b"\x0a\xff\xff\xff\x7f" + b"a" * 10_000,
    "half a message": heavy(100, size=20_000)[:-10_000],
    "the request twice": heavy(1, size=5000) * 2,
    "no protobuf": b"\xff" * 10_000,
    "no short protobuf": b"\xff" * 100,
    "a group": b"\x0b" * 10_000,
    "text that is not UTF-8": request("/x").SerializeToString().replace(b"/x", b"\xff\xff"),
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
async def test_R16_a_message_is_bounded_before_it_is_parsed(raw: bytes) -> None:
    took = []
    for _ in range(3):
        started = thread_time()
        call = envoy_grpc.call_of(envoy_grpc.parsed(raw, MAX_HEAD))
        took.append(thread_time() - started)
        assert envoy_grpc.read(call) is Reason.BAD_REQUEST
    assert min(took) < 0.005, f"{min(took) * 1000:.1f} ms"


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("body", [0, 20_000, 20_000_000])
async def test_a_body_is_passed_over_however_long_it_is(raw: bool, body: int) -> None:
    sent = heavy(127, size=20_000, body=body, raw=raw)
    started = thread_time()
    call = envoy_grpc.call_of(envoy_grpc.parsed(sent, MAX_HEAD))
    assert thread_time() - started < 0.02
    assert envoy_grpc.read(call) == RequestPath("GET", "/dashboard/billing")


@given(
    st.dictionaries(st.text(st.characters(codec="ascii"), max_size=20), st.text(max_size=200), max_size=60),
    st.lists(st.tuples(st.text(st.characters(codec="ascii"), max_size=20), st.binary(max_size=200)), max_size=60),
    st.text(st.characters(codec="utf-8"), max_size=50),
)
def test_what_is_walked_is_read_as_what_is_parsed(
    mapped: dict[str, str], lines: list[tuple[str, bytes]], path: str
) -> None:
    asked = raw_request(*lines)
    http = asked.attributes.request.http
    http.path, http.size, http.body = path, -1, "b" * SHORT
    http.headers.update(mapped)
    asked.attributes.source.principal = "somebody"
    asked.attributes.context_extensions["a"] = "b"
    walked, whole = (
        envoy_grpc.call_of(envoy_grpc.parsed(asked.SerializeToString(), 1_000_000)),
        envoy_grpc.call_of(asked),
    )
    assert (walked.method, walked.path, walked.query) == (whole.method, whole.path, whole.query)
    if lines:
        assert walked.headers == whole.headers
    else:  # a map has no order
        assert sorted(walked.headers) == sorted(whole.headers)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_are_an_error(junk: bytes, at: int) -> None:
    """Envoy may treat an error as an allow (``failure_mode_allow``)."""
    whole = heavy(3, size=100)
    for raw in (junk, whole[:at] + junk + whole[at:], junk + b"\0" * SHORT, whole[:at] + junk + b"a" * SHORT):
        envoy_grpc.call_of(envoy_grpc.parsed(raw, MAX_HEAD))


async def test_what_is_too_much_is_a_denial_over_the_wire(channel: Any) -> None:
    stub: Any = AuthorizationStub(channel)
    for name in ("10,000 raw headers", "a cookie over SIDECAR_MAX_HEAD"):
        assert (await stub.Check(CheckRequest.FromString(BAD[name]))).status.code == 7
