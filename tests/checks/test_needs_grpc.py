"""Needs over Envoy's gRPC API: the source in the message is the peer, and the rule is that of the other gateways."""

from collections.abc import Iterable
from ipaddress import ip_network

import pytest

pytest.importorskip("grpc", reason="the extra [grpc] is not installed")
pytest.importorskip("envoy.service.auth.v3.external_auth_pb2", reason="the extra [grpc] is not installed")

from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

from sidecar.gateways.fast_path.grpc_responder import GrpcResponder
from sidecar.gateways.protobuf import SHORT, source_address
from tests.needs_world import NeedsWorld
from tests.pdp_fixture import NOW, token

PROXY, STRANGER, OFFICE, ELSEWHERE = "10.0.0.1", "198.51.100.7", "192.0.2.7", "203.0.113.9"
TRUSTED = (ip_network("10.0.0.0/24"), "unix")


def message(peer: str | None, forwarded: Iterable[str], *, padding: int = 0, raw: bool = True) -> bytes:
    """Return Envoy's serialized message. ``peer`` None: a pipe."""
    asked = CheckRequest()
    source = asked.attributes.source
    if peer is None:
        source.address.pipe.path = "/run/envoy"
    else:
        source.address.socket_address.address = peer
        source.address.socket_address.port_value = 4711
    http = asked.attributes.request.http
    http.method, http.path = "GET", "/dashboard/billing"
    lines = [("authorization", f"Bearer {token('b', expires_at=NOW + 3600)}"), ("x-padding", "a" * padding)]
    lines += [("x-forwarded-for", one) for one in forwarded]
    for name, value in lines:
        if raw:
            http.header_map.headers.add(key=name, raw_value=value.encode())
        else:
            http.headers[name] = value
    return bytes(asked.SerializeToString())


async def code(world: NeedsWorld, sent: bytes) -> int:
    """Return the code of three responses: the third is a cached one, if the message is short."""
    responder = GrpcResponder(world.app, max_head=64 * 1024)
    codes = {CheckResponse.FromString(await responder.respond(sent)).status.code for _ in range(3)}
    assert len(codes) == 1
    return int(codes.pop())


@pytest.mark.parametrize("padding", [0, 2 * SHORT], ids=["short", "long"])
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        (PROXY, [OFFICE], 0),
        (PROXY, [f"{OFFICE}, 10.0.0.9"], 0),
        (PROXY, [f"{OFFICE}, {ELSEWHERE}"], 7),
        (PROXY, [], 7),
        (PROXY, ["unknown"], 7),
        (STRANGER, [OFFICE], 7),
        (OFFICE, [], 7),
        (OFFICE, [ELSEWHERE], 7),
        ("", [OFFICE], 7),
        (None, [OFFICE], 7),
    ],
)
async def test_R40_the_source_is_the_peer(
    peer: str | None, forwarded: list[str], expected: int, raw: bool, padding: int
) -> None:
    world = NeedsWorld("office", trusted=TRUSTED)
    assert await code(world, message(peer, forwarded, padding=padding, raw=raw)) == expected


async def test_a_step_up_is_code_16_and_another_need_code_7() -> None:
    sent = message(STRANGER, [])
    assert await code(NeedsWorld("passkey"), sent) == 16
    assert await code(NeedsWorld("paid-plan"), sent) == 7


def test_a_source_that_is_repeated_or_too_long_is_unknown() -> None:
    sent = message(OFFICE, [], padding=2 * SHORT)
    assert OFFICE.encode() in source_address(sent)
    assert source_address(sent * 2) == b""
    assert source_address(message("a" * 600, [], padding=2 * SHORT)) == b""
    assert source_address(b"\xff" * SHORT) == b""
