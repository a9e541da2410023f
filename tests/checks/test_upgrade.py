"""R6: an upgrade is exactly one `websocket`, in every family, on both paths and on public paths, or it is denied."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import CHECKS
from sidecar.gateways.ext_authz import answer_check, gateway_call
from sidecar.gateways.fast_path.protocol import FastPathListener
from sidecar.http.server.connection import HttpServer
from tests.pdp_fixture import app, token

Line = tuple[bytes, bytes]
MEDIA = b"/dashboard/media-library/"
PUBLIC = b"/assets/app.js"
SETTINGS: Line = (b"HTTP2-Settings", b"AAMAAABkAAQCAAAAAAIAAAAA")


def upgrade(*values: bytes) -> list[Line]:
    return [(b"Upgrade", value) for value in values]


REFUSED: dict[str, list[Line]] = {
    "h2c": [*upgrade(b"h2c"), SETTINGS],
    "h2c without settings": upgrade(b"h2c"),
    "h2c in upper case": upgrade(b"H2C"),
    "settings alone": [SETTINGS],
    "settings in lower case": [(b"http2-settings", b"")],
    "websocket with settings": [*upgrade(b"websocket"), SETTINGS],
    "a list": upgrade(b"websocket, h2c"),
    "a list, the other way round": upgrade(b"h2c, websocket"),
    "a list of two websockets": upgrade(b"websocket, websocket"),
    "a list with nothing": upgrade(b"websocket,"),
    "two lines": upgrade(b"websocket", b"h2c"),
    "two lines, the other way round": upgrade(b"h2c", b"websocket"),
    "two websockets": upgrade(b"websocket", b"websocket"),
    "two spellings": [(b"upgrade", b"websocket"), (b"UPGRADE", b"websocket")],
    "empty": upgrade(b""),
    "a version": upgrade(b"websocket/13"),
    "TLS": upgrade(b"TLS/1.0"),
    "nearly": upgrade(b"websockets"),
    "the Kelvin sign": upgrade("websoc\u212aet".encode()),
    "the long s": upgrade("web\u017focket".encode()),
    "a no-break space": upgrade(b"websocket\xa0"),
    "quoted": upgrade(b'"websocket"'),
}
TAKEN: dict[str, list[Line]] = {
    "none": [],
    "websocket": upgrade(b"websocket"),
    "as browsers write it": [*upgrade(b"websocket"), (b"Connection", b"Upgrade")],
    "mixed case": upgrade(b"WebSocket"),
    "spaces around": upgrade(b" websocket\t"),
}


def calls(path: bytes) -> dict[str, tuple[bytes, list[Line]]]:
    """Return the target and headers with which each family requests ``path``."""
    return {
        "forwarded": (b"/check", [(b"X-Forwarded-Method", b"GET"), (b"X-Forwarded-Uri", path)]),
        "nginx": (b"/check/nginx", [(b"X-Original-Method", b"GET"), (b"X-Original-URI", path)]),
        "envoy": (b"/check/envoy" + path, []),
    }


BEARER: Line = (b"Authorization", b"Bearer " + token("c").encode())
CALLS = {f"{name}, public": (target, lines, b"public") for name, (target, lines) in calls(PUBLIC).items()}
CALLS |= {name: (target, [*lines, BEARER], b"allowed") for name, (target, lines) in calls(MEDIA).items()}
CALLS["sections"] = (b"/check/sections/media-library", [BEARER], b"allowed")


@pytest.fixture
async def ports() -> AsyncIterator[tuple[int, int]]:
    """Ports of the fast path, and of aiohttp alone."""
    shared = app()
    loop = asyncio.get_running_loop()
    slow = HttpServer(Dispatcher(shared, CHECKS, checks=True), access_log=None)
    servers = [
        await loop.create_server(handler, "127.0.0.1", 0)
        for handler in (FastPathListener(shared, slow, max_head=32768, idle=75), slow)
    ]
    yield tuple(server.sockets[0].getsockname()[1] for server in servers)  # type: ignore[misc]
    for server in servers:
        server.close()
    await slow.shutdown(1)


async def ask(port: int, target: bytes, lines: list[Line]) -> bytes:
    """Return the head of the response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        sent = [b"GET " + target + b" HTTP/1.1", b"Host: x", *(name + b": " + value for name, value in lines)]
        writer.write(b"\r\n".join([*sent, b"", b""]))
        async with asyncio.timeout(5):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


@pytest.mark.parametrize("family", CALLS)
@pytest.mark.parametrize("way", [*REFUSED, *TAKEN])
async def test_R6_an_upgrade_is_one_websocket(ports: tuple[int, int], family: str, way: str) -> None:
    """Three times each: a cached response is the same."""
    target, lines, reason = CALLS[family]
    for port in ports:
        assert b"X-Auth-Reason: " + reason in await ask(port, target, lines)
        for _ in range(3):
            answer = await ask(port, target, [*lines, *(REFUSED | TAKEN)[way]])
            if way in TAKEN:
                assert answer.startswith(b"HTTP/1.1 200 ") and b"X-Auth-Reason: " + reason in answer
            else:
                assert answer.startswith(b"HTTP/1.1 403 ") and b"X-Auth-Reason: bad_request" in answer


@pytest.mark.parametrize("path", [MEDIA, PUBLIC])
@pytest.mark.parametrize("way", [*REFUSED, *TAKEN])
async def test_R6_an_upgrade_is_one_websocket_over_grpc(way: str, path: bytes) -> None:
    """Envoy sends names in lower case, and repeated headers in two forms."""
    pytest.importorskip("grpc", reason="the extra [grpc] is not installed")
    from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

    from sidecar.gateways.fast_path.grpc_responder import GrpcResponder

    responder = GrpcResponder(app(), max_head=32768)
    given = [(name.lower().decode(), value) for name, value in (REFUSED | TAKEN)[way]]
    joined, raw = CheckRequest(), CheckRequest()
    for asked in (joined, raw):
        asked.attributes.request.http.method, asked.attributes.request.http.path = "GET", path.decode()
    raw.attributes.request.http.header_map.headers.add(key="authorization", raw_value=BEARER[1])
    joined.attributes.request.http.headers["authorization"] = BEARER[1].decode()
    for key, value in given:
        raw.attributes.request.http.header_map.headers.add(key=key, raw_value=value)
        known = joined.attributes.request.http.headers.get(key)
        text = value.decode("utf-8", "replace")
        joined.attributes.request.http.headers[key] = text if known is None else f"{known},{text}"
    for asked in (raw, joined):
        sent = asked.SerializeToString()
        answer = CheckResponse.FromString([await responder.respond(sent) for _ in range(3)][-1])
        assert answer.status.code == (0 if way in TAKEN else 7)
        if way in REFUSED:
            assert answer.denied_response.status.code == 403


def test_R6_an_upgrade_is_no_plain_head() -> None:
    """The fast path must hand over such a head, because it skips the headers that it does not read."""
    from sidecar.gateways.fast_path.request_head import HeadReader

    plain = b"GET /check HTTP/1.1\r\nHost: x\r\n\r\n"
    reader = HeadReader()
    assert reader.read(plain) is not None
    for name in (b"Upgrade", b"upgrade", b"HTTP2-Settings", b"http2-settings"):
        assert reader.read(plain[:-2] + name + b": websocket\r\n\r\n") is None


def test_R6_a_call_of_any_family_is_read_after_its_upgrade() -> None:
    """Also at a path that no gateway uses."""
    context = app()
    for path in ("/check/elsewhere", "/check/sections/media-library"):
        call = gateway_call("GET", path, "", [*upgrade(b"h2c"), BEARER])
        answer = asyncio.run(answer_check(context, call, b"r"))
        assert answer.status == 403
