"""Envoy ext_authz over gRPC: ``envoy.service.auth.v3.Authorization/Check``, and ``grpc.health.v1``.

The only module that imports grpc, loaded if SIDECAR_GRPC_LISTEN is set (extra ``[grpc]``). ``http.path`` includes the
query. For Envoy, ``status.code`` alone decides. An empty response allows, and so does code 0 beside a
``denied_response`` (measured). Therefore a denial is code 7 or 16, and each exception becomes 7. A check is never
aborted, because ``failure_mode_allow`` lets requests pass on a gRPC error or a missing response.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from dataclasses import dataclass
from typing import Any, Final

import grpc
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse
from envoy.type.v3.http_status_pb2 import HttpStatus
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.domain.access import RequestPath
from sidecar.domain.decision import Reason
from sidecar.gateways.adapter import GatewayAdapter, GatewayRequest, alters_request, from_parts
from sidecar.gateways.protobuf import MAX_HEADERS, SHORT, http_request, source_address
from sidecar.http.client_ip import Address
from sidecar.http.headers import RawHeaders
from sidecar.http.response import ENVOY_REMOVES, IDENTITY, RawResponse
from sidecar.telemetry.app_log import logger

SERVICE: Final = "envoy.service.auth.v3.Authorization"
OK, PERMISSION_DENIED, UNAUTHENTICATED = 0, 7, 16
UPSTREAM: Final = frozenset({*IDENTITY, "Cookie"})
"""Headers of an allow that go to the back end."""
MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes of a message: far above a gateway's, even using with_request_body.

A rejected message is an error, on which Envoy may fail open.
"""
HEALTH_SECONDS: Final = 1.0

Respond = Callable[[bytes], Awaitable[bytes]]
"""Returns the serialized CheckResponse to a serialized CheckRequest."""
RespondInTrace = Callable[[bytes, RawHeaders], Awaitable[bytes]]
"""Returns the same. It also receives the metadata of the call."""
Healthy = Callable[[], Awaitable[bool]]
ClientOf = Callable[[str, RawHeaders], Address | None]

_log = logger("gateways")


def read(call: GatewayRequest) -> RequestPath | Reason:
    if alters_request(call.headers):
        return Reason.BAD_REQUEST
    return from_parts(call.method, call.path)


def uri(call: GatewayRequest) -> str | None:
    return f"{call.path}?{call.query}" if call.query else call.path


FAMILY = GatewayAdapter(f"/{SERVICE}/Check", read, uri=uri, forwards_cookie=True, lists_headers_to_remove=True)


def parsed(raw: bytes, max_head: int) -> CheckRequest:
    """Parse Envoy's message, after a size check.

    An invalid message becomes an empty one. It has no path, so it is denied, whereas an error could let it pass.
    """
    try:
        if len(raw) <= SHORT:
            return CheckRequest.FromString(raw)
        http, request = http_request(raw, max_head), CheckRequest()
        if http is not None:
            request.attributes.request.http.MergeFromString(http)
            request.attributes.source.address.MergeFromString(source_address(raw))
    except DecodeError:
        return CheckRequest()
    return request


def call_of(
    request: CheckRequest, client_of: ClientOf | None = None, wanted: Container[str] | None = None
) -> GatewayRequest:
    """Convert Envoy's message to a check request. ``wanted``: the headers to return, in lower case; None means all.

    ``client_of`` returns the user's own address, if it is known. Its peer is the source in the message. A source
    without an IP address is no Unix socket of a trusted proxy.

    Without ``encode_raw_headers``, Envoy joins repeated headers with a comma, which makes any token invalid.
    """
    http = request.attributes.request.http
    if len(http.headers) + len(http.header_map.headers) > MAX_HEADERS:
        return GatewayRequest(FAMILY, "", "", "", ())  # denied as a bad request
    path, _, query = http.path.partition("?")
    headers = tuple(_lines(http, wanted))
    if client_of is None:
        return GatewayRequest(FAMILY, http.method, path, query, headers)
    peer = request.attributes.source.address.socket_address.address
    return GatewayRequest(FAMILY, http.method, path, query, headers, client_of(peer, headers))


def _lines(http: Any, wanted: Container[str] | None) -> list[tuple[bytes, bytes]]:
    """Return the lines of an HttpRequest. Each access of a field makes an object, so it is done once."""
    if http.HasField("header_map"):
        named = [(one.key, one) for one in http.header_map.headers]
        if wanted is not None:
            named = [(key, one) for key, one in named if key.lower() in wanted]
        return [(key.encode(), one.raw_value or one.value.encode()) for key, one in named]
    lines = http.headers.items()
    return [(key.encode(), value.encode()) for key, value in lines if wanted is None or key.lower() in wanted]


def response_of(answer: RawResponse) -> CheckResponse:
    """Convert a response to Envoy's message."""
    return _allowed(answer) if answer.status == 200 else _denied(answer)


def _allowed(answer: RawResponse) -> CheckResponse:
    """Return an allow. Empty headers are listed for removal, because Envoy would skip them and leave the client's."""
    removed: list[str] = []
    for name, value in answer.headers:
        if name == ENVOY_REMOVES:
            removed.extend(value.split(","))
    upstream = [_header(name, value) for name, value in answer.headers if name in UPSTREAM and value]
    return CheckResponse(
        status=Status(code=OK), ok_response=OkHttpResponse(headers=upstream, headers_to_remove=removed)
    )


def _denied(answer: RawResponse) -> CheckResponse:
    return CheckResponse(
        status=Status(code=UNAUTHENTICATED if answer.status in (401, 302) else PERMISSION_DENIED),
        denied_response=DeniedHttpResponse(
            status=HttpStatus(code=answer.status),
            headers=[_header(name, value) for name, value in answer.headers],
            body=answer.body.decode("utf-8"),
        ),
    )


def _header(name: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(
        header=HeaderValue(key=name.lower(), value=value),
        append_action=HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )


DENIED: Final[bytes] = CheckResponse(status=Status(code=PERMISSION_DENIED)).SerializeToString()


class Authorization:
    """Authorization service. ``respond`` decides; any exception becomes a denial."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond

    async def Check(self, message: bytes, _context: object) -> bytes:  # noqa: N802 (the proto's name)
        try:
            return await self._respond(message)
        except Exception:
            _log.exception("check failed", endpoint=FAMILY.label)
            return DENIED


class TracedAuthorization(Authorization):
    """Authorization service while tracing is on: ``respond`` also receives the metadata, with Envoy's trace context."""

    def __init__(self, respond: RespondInTrace) -> None:
        self._respond_in_trace = respond

    async def Check(self, message: bytes, context: Any) -> bytes:  # noqa: N802 (the proto's name)
        try:
            metadata = tuple([(key.encode(), _bytes(value)) for key, value in context.invocation_metadata() or ()])
            return await self._respond_in_trace(message, metadata)
        except Exception:
            _log.exception("check failed", endpoint=FAMILY.label)
            return DENIED


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


class GrpcHealth(health_pb2_grpc.HealthServicer):  # type: ignore[misc, unused-ignore] # further methods return UNIMPLEMENTED
    """Health service (``grpc.health.v1``): NOT_SERVING during a drain or while checks cannot be decided."""

    def __init__(self, healthy: Healthy) -> None:
        self._healthy = healthy

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 (the proto's name)
        if request.service not in ("", SERVICE):
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=await self._status())

    async def Watch(self, request: Any, _context: object) -> AsyncIterator[Any]:  # noqa: N802 (the proto's name)
        reported = None
        while True:
            known = request.service in ("", SERVICE)
            status = await self._status() if known else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != reported:
                reported = status
                yield health_pb2.HealthCheckResponse(status=status)
            await asyncio.sleep(HEALTH_SECONDS)

    async def _status(self) -> Any:
        answer = health_pb2.HealthCheckResponse
        return answer.SERVING if await self._healthy() else answer.NOT_SERVING


@dataclass(frozen=True, slots=True)
class GrpcCredentials:
    """TLS credentials as PEM bytes. With ``client_ca``, Envoy must present a certificate signed by it."""

    key: bytes
    chain: bytes
    client_ca: bytes | None

    def configuration(self) -> Any:
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.client_ca)


class GrpcServer:
    """gRPC server for both services on one address, in the running event loop."""

    def __init__(self, service: Authorization, healthy: Healthy, *, shared: bool = False) -> None:
        """Create the server.

        ``shared``: other processes listen on the same address, and the kernel distributes connections.
        """
        options = [("grpc.so_reuseport", int(shared)), ("grpc.max_receive_message_length", MAX_MESSAGE)]
        self._server = grpc.aio.server(options=options)
        # Without serializers, grpc passes bytes: `respond` parses with a bound, and caches serialized messages.
        method = grpc.unary_unary_rpc_method_handler(service.Check)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Check": method}),))
        health_pb2_grpc.add_HealthServicer_to_server(GrpcHealth(healthy), self._server)
        self._certificate: Any = None

    async def start(self, address: str, credentials: GrpcCredentials | None) -> int:
        """Bind ``address`` (in gRPC's format) and start. Return the port. Raises RuntimeError if binding fails."""
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            self._certificate = credentials.configuration()
            secure = grpc.dynamic_ssl_server_credentials(
                self._certificate,
                lambda: self._certificate,  # called per handshake, from a gRPC thread
                require_client_authentication=credentials.client_ca is not None,
            )
            port = self._server.add_secure_port(address, secure)
        await self._server.start()
        return int(port)

    def renew(self, credentials: GrpcCredentials) -> None:
        """Use these credentials from the next handshake. gRPC keeps the previous pair if these do not match."""
        self._certificate = credentials.configuration()

    async def stop(self, grace: float) -> None:
        """Stop accepting, and let active checks finish within ``grace`` seconds."""
        await self._server.stop(grace)
