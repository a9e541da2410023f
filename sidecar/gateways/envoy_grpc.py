"""Envoy ext_authz over gRPC: ``envoy.service.auth.v3.Authorization/Check``, and ``grpc.health.v1`` beside it.

The one import of grpc, and only when SIDECAR_GRPC_LISTEN is set (extra ``[grpc]``). ``http.path`` holds the query as
well. To Envoy ``status.code`` alone decides: an empty response allows, and so does code 0 beside a ``denied_response``
(measured). So a denial is written as 7 or 16, every exception ends as 7, and no check is ever aborted: a gRPC error or
a missing answer lets pass under ``failure_mode_allow``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse
from envoy.type.v3.http_status_pb2 import HttpStatus
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.domain.access import Route
from sidecar.domain.decision import Reason
from sidecar.gateways.adapter import Family, GatewayCall, asks_otherwise, from_parts
from sidecar.gateways.protobuf import MAX_HEADERS, SHORT, http_request
from sidecar.http.response import ENVOY_REMOVES, IDENTITY, Answer
from sidecar.telemetry.app_log import logger

SERVICE: Final = "envoy.service.auth.v3.Authorization"
OK, PERMISSION_DENIED, UNAUTHENTICATED = 0, 7, 16
UPSTREAM: Final = frozenset({*IDENTITY, "Cookie"})
"""Of an allow, what goes to the back end."""
MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Far above what a gateway sends, also with_request_body: a message refused is an error, and errors are what fails
open."""
HEALTH_SECONDS: Final = 1.0

Respond = Callable[[GatewayCall], Awaitable[Answer]]
Healthy = Callable[[], Awaitable[bool]]

_log = logger("gateways")


def read(call: GatewayCall) -> Route | Reason:
    if asks_otherwise(call.headers):
        return Reason.BAD_REQUEST
    return from_parts(call.method, call.path)


def uri(call: GatewayCall) -> str | None:
    return f"{call.path}?{call.query}" if call.query else call.path


FAMILY = Family(f"/{SERVICE}/Check", read, uri=uri, rewrites=True, removes=True)


def parsed(raw: bytes, max_head: int) -> CheckRequest:
    """The message that Envoy sent, bounded before it is parsed. What is none is an empty one: it asks for no path, so
    it is denied, and no error lets it pass."""
    try:
        if len(raw) <= SHORT:
            return CheckRequest.FromString(raw)
        http, request = http_request(raw, max_head), CheckRequest()
        if http is not None:
            request.attributes.request.http.MergeFromString(http)
    except DecodeError:
        return CheckRequest()
    return request


def call_of(request: CheckRequest) -> GatewayCall:
    """What Envoy asks. Without ``encode_raw_headers`` it has joined repeats with a comma, which no token survives."""
    http = request.attributes.request.http
    if len(http.headers) + len(http.header_map.headers) > MAX_HEADERS:
        return GatewayCall(FAMILY, "", "", "", ())  # a bad request
    path, _, query = http.path.partition("?")
    if http.HasField("header_map"):
        lines = ((one.key, one.raw_value or one.value.encode()) for one in http.header_map.headers)
        headers = tuple((key.encode(), value) for key, value in lines)
    else:
        headers = tuple((key.encode(), value.encode()) for key, value in http.headers.items())
    return GatewayCall(FAMILY, http.method, path, query, headers)


def response_of(answer: Answer) -> CheckResponse:
    """The answer in Envoy's words."""
    return _allowed(answer) if answer.status == 200 else _denied(answer)


def _allowed(answer: Answer) -> CheckResponse:
    """An empty header is taken out by name: Envoy would skip it and leave the client's own in place."""
    removed: list[str] = []
    for name, value in answer.headers:
        if name == ENVOY_REMOVES:
            removed.extend(value.split(","))
    upstream = [_header(name, value) for name, value in answer.headers if name in UPSTREAM and value]
    return CheckResponse(
        status=Status(code=OK), ok_response=OkHttpResponse(headers=upstream, headers_to_remove=removed)
    )


def _denied(answer: Answer) -> CheckResponse:
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


class Authorization:
    """The service. ``respond`` decides; this class only makes sure that whatever happens is a denial."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond

    async def Check(self, request: CheckRequest, _context: object) -> CheckResponse:  # noqa: N802 (the proto's name)
        try:
            return response_of(await self._respond(call_of(request)))
        except Exception:
            _log.exception("a check failed", endpoint=FAMILY.label)
            return CheckResponse(status=Status(code=PERMISSION_DENIED))


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc, unused-ignore] # what it grows, answers UNIMPLEMENTED
    """``grpc.health.v1``: serving while checks can be answered, not serving from the start of a drain."""

    def __init__(self, healthy: Healthy) -> None:
        self._healthy = healthy

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 (the proto's name)
        if request.service not in ("", SERVICE):
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=await self._status())

    async def Watch(self, request: Any, _context: object) -> AsyncIterator[Any]:  # noqa: N802 (the proto's name)
        told = None
        while True:
            known = request.service in ("", SERVICE)
            status = await self._status() if known else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
            await asyncio.sleep(HEALTH_SECONDS)

    async def _status(self) -> Any:
        answer = health_pb2.HealthCheckResponse
        return answer.SERVING if await self._healthy() else answer.NOT_SERVING


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM bytes. With ``client_ca`` Envoy has to show a certificate signed by it."""

    key: bytes
    chain: bytes
    client_ca: bytes | None

    def configuration(self) -> Any:
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.client_ca)


class GrpcServer:
    """Both services on one address, in the running loop."""

    def __init__(self, respond: Respond, healthy: Healthy, *, max_head: int, shared: bool = False) -> None:
        """``shared``: other processes accept on the same address, and the kernel spreads connections."""
        options = [("grpc.so_reuseport", int(shared)), ("grpc.max_receive_message_length", MAX_MESSAGE)]
        self._server = grpc.aio.server(options=options)
        self._serve(Authorization(respond), max_head)
        health_pb2_grpc.add_HealthServicer_to_server(Health(healthy), self._server)
        self._certificate: Any = None

    def _serve(self, service: Authorization, max_head: int) -> None:
        """As the generated code does, but for the parser."""
        method = grpc.unary_unary_rpc_method_handler(
            service.Check,
            request_deserializer=partial(parsed, max_head=max_head),
            response_serializer=CheckResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Check": method}),))

    async def start(self, address: str, credentials: Credentials | None) -> int:
        """``address`` as gRPC writes it. Returns the port; raises RuntimeError when it cannot be had."""
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            self._certificate = credentials.configuration()
            secure = grpc.dynamic_ssl_server_credentials(
                self._certificate,
                lambda: self._certificate,  # asked at each handshake, from a thread of gRPC's
                require_client_authentication=credentials.client_ca is not None,
            )
            port = self._server.add_secure_port(address, secure)
        await self._server.start()
        return int(port)

    def renew(self, credentials: Credentials) -> None:
        """The next handshake has these; of a pair that does not fit, gRPC keeps the one before."""
        self._certificate = credentials.configuration()

    async def stop(self, grace: float) -> None:
        """Stop accepting, let checks in flight finish within ``grace`` seconds."""
        await self._server.stop(grace)
