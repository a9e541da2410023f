"""Envoy's checks over gRPC: messages as Envoy sends them, the load, and the bare server that they are compared with.

``python -m tests.bench.grpc_load PORT`` is the bare server: grpc.aio with the answer of one message, which it neither
reads nor builds. A check by the same library cannot cost less.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.http2_load import run as send
from tests.bench.load import LOAD_CORE, Load, Run, read_run
from tests.bench.users import CheckCase
from tests.bench.wire import Request, browser_headers

METHOD: Final = "/envoy.service.auth.v3.Authorization/Check"
CONNECTIONS: Final = 2
"""Envoy has one connection per worker."""
STREAMS: Final = 16


class GrpcRequest(Request):
    """A serialized CheckRequest. ``status``: 200 for an allow."""


def envoy_check(asked: CheckCase) -> GrpcRequest:
    """Build Envoy's message with ``encode_raw_headers``; the headers are those of the other gateways' checks."""
    from envoy.service.auth.v3.external_auth_pb2 import CheckRequest

    message = CheckRequest()
    attributes = message.attributes
    number = int(asked.person.id[-6:].encode().hex(), 16)
    for peer in (attributes.source, attributes.destination):
        peer.address.socket_address.address, peer.address.socket_address.port_value = (
            "192.0.2.7",
            1024 + number % 60_000,
        )
    attributes.request.time.seconds, attributes.request.time.nanos = int(time.time()), number % 10**9
    http = attributes.request.http
    http.id, http.method, http.path, http.protocol = str(number * 10**5), asked.spot.method, asked.spot.path, "HTTP/1.1"
    http.host, http.scheme = "dashboard.example.com", "https"
    pseudo = {":authority": http.host, ":path": http.path, ":method": http.method, ":scheme": http.scheme}
    for name, value in {**pseudo, **browser_headers(asked)}.items():
        http.header_map.headers.add(key=name.lower(), raw_value=value.encode())
    attributes.metadata_context.SetInParent()
    return GrpcRequest(message.SerializeToString(), 200 if asked.allowed else 403)


class GrpcLoad(Load):
    """Messages in rotation, sent by `http2_load`."""

    def __init__(self, folder: Path, requests: Sequence[Request]) -> None:
        self.count = len(requests)
        self._messages = folder / "messages"
        self._messages.write_text("\n".join(request.raw.hex() for request in requests))

    def run(
        self, port: int, seconds: int, *, connections: int = CONNECTIONS, pause: float = 0.0, once: bool = False
    ) -> Run:
        """Run the client on the load's core. ``connections`` over two are streams of the two; there is no pause."""
        if pause:
            raise ValueError("the load over gRPC has no pauses")
        words = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "tests.bench.http2_load", str(port), METHOD]
        words += [str(self._messages), str(seconds), str(CONNECTIONS), str(max(1, connections // CONNECTIONS))]
        done = subprocess.run([*words, "once" if once else "again"], capture_output=True, text=True, check=False)
        return read_run(done.stdout, done.stderr)


def answer(port: int, request: GrpcRequest) -> tuple[int, bytes]:
    """Send one message on a connection of its own. Return 200 for an allow."""
    told = json.loads(send(port, METHOD, [request.raw], seconds=60, connections=1, streams=1, once=True))
    if told["failed"] or told["requests"] != 1:
        raise RuntimeError(f"no answer over gRPC: {told}")
    return (403 if told["refused"] else 200), b""


async def serve_bare(port: int) -> None:
    import grpc
    from envoy.service.auth.v3.external_auth_pb2 import CheckResponse

    reply = CheckResponse()
    reply.status.code = 0
    for name in ("user", "email", "role", "account", "section", "action"):
        option = reply.ok_response.headers.add(append_action=2)
        option.header.key, option.header.value = f"x-auth-{name}", "usr_aaaaaaaaaaaa_bbbbbbbbbbbb"
    reply.ok_response.headers_to_remove.append("cookie")
    content = bytes(reply.SerializeToString())

    async def check(_message: bytes, _context: object) -> bytes:
        return content

    server: Any = grpc.aio.server()
    service, name = METHOD[1:].split("/")
    handler = grpc.unary_unary_rpc_method_handler(check)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve_bare(int(sys.argv[1])))
