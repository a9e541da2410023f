"""Envoy's gRPC: what is asked, what is answered, and that ``status.code`` says no unless the sidecar says yes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("grpc", reason="the extra [grpc] is not installed")
pytest.importorskip("envoy.service.auth.v3.external_auth_pb2", reason="the extra [grpc] is not installed")

import grpc
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationStub
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.edge.answers import IDENTITY, Answer, gateway_answer
from sidecar.edge.checks import answer_check
from sidecar.edge.gateways import envoy_grpc
from sidecar.edge.original import GatewayCall
from sidecar.edge.request_id import request_id_of
from sidecar.vocabulary.access import Route
from sidecar.vocabulary.decision import Decision, Reason, Verdict
from tests.stand import parts, token

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
    assert envoy_grpc.read(call) == Route("POST", "/dashboard/billing")
    assert envoy_grpc.uri(call) == "/dashboard/billing?a=/b?c"


def test_CVE_2026_32811_an_encoded_question_mark_ends_no_path() -> None:
    call = envoy_grpc.call_of(request("/dashboard/media-library%3f/../billing"))
    assert envoy_grpc.read(call) == Route("GET", "/dashboard/media-library%3f/../billing")


@pytest.mark.parametrize("asked", [CheckRequest(), request(""), request("", ""), request(MEDIA, ""), request("*")])
def test_what_is_no_request_is_a_bad_one(asked: CheckRequest) -> None:
    assert envoy_grpc.read(envoy_grpc.call_of(asked)) is Reason.BAD_REQUEST


def test_raw_headers_keep_their_bytes_and_their_number() -> None:
    call = envoy_grpc.call_of(raw_request(("cookie", b"a=\xff"), ("cookie", b"b=2")))
    assert call.headers == ((b"cookie", b"a=\xff"), (b"cookie", b"b=2"))


async def respond(call: GatewayCall) -> Answer:
    return await answer_check(STAND, call, request_id_of(call.headers))


STAND = parts()


async def check(asked: CheckRequest, by: Callable[[GatewayCall], Awaitable[Answer]] = respond) -> Any:
    return await envoy_grpc.Authorization(by).Check(asked, None)


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
async def test_the_code_says_no_and_the_status_is_never_a_yes(reason: Reason, unavailable: int) -> None:
    async def deny(_call: GatewayCall) -> Answer:
        return gateway_answer(Decision(reason, "g"), unavailable=unavailable)

    answer = await check(request(), deny)
    assert answer.status.code == (16 if reason.verdict is Verdict.UNAUTHENTICATED else 7)
    assert answer.denied_response.status.code in (401, 403, unavailable)
    assert not answer.HasField("ok_response")
    told = {one.header.key: one.header.value for one in answer.denied_response.headers}
    assert told["x-auth-reason"] == reason
    assert not {name.lower() for name in IDENTITY} & set(told)
    assert reason.value in answer.denied_response.body


async def test_a_fault_is_code_7_and_not_a_grpc_error() -> None:
    async def broken(_call: GatewayCall) -> Answer:
        raise RuntimeError

    assert (await check(request(), broken)).status.code == 7


async def test_an_answer_that_cannot_be_written_is_code_7() -> None:
    async def unwritable(_call: GatewayCall) -> Answer:
        return Answer(200, (("X-Auth-User", "\udc80"),))

    assert (await check(request(), unwritable)).status.code == 7


@pytest.fixture
async def channel() -> AsyncIterator[Any]:
    """A real server in this loop. ``healthy`` is what the test wants it to be."""
    server = envoy_grpc.GrpcServer(respond, _healthy)
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
