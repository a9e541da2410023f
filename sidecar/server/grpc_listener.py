"""The gRPC listener (SIDECAR_GRPC_LISTEN). Its libraries cost 40 MB and 150 ms and are loaded only for it.

gRPC binds its own sockets. Several workers share a TCP address with SO_REUSEPORT. A bound Unix socket cannot be passed
to gRPC, so only the first worker serves it.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from sidecar.config.parsers import Address, TcpAddress, UnixAddress
from sidecar.config.settings import Settings
from sidecar.http.context import AppContext
from sidecar.server.listeners import SHUTDOWN_SECONDS, ListenerError, SocketName, bind, cannot_listen
from sidecar.server.workers.worker_context import ALONE, WorkerContext
from sidecar.telemetry.tracing import Tracer


class GrpcListener:
    """One address, from bind to drain. Same interface as ``Listener``."""

    name = "grpc"

    def __init__(
        self,
        address: Address,
        app: AppContext,
        settings: Settings,
        place: WorkerContext = ALONE,
        tracer: Tracer | None = None,
    ) -> None:
        self._address = address
        self._app = app
        self._settings = settings
        self._place = place
        self._tracer = tracer
        self._server: Any = None
        self._port = 0
        self._name: SocketName | None = None

    async def start(self) -> None:
        """Bind and accept. Raises ListenerError."""
        if isinstance(self._address, UnixAddress) and self._place.number > 0:
            return
        envoy_grpc = library()
        self._server = envoy_grpc.GrpcServer(self._service(envoy_grpc), self._healthy, shared=self._place.shared)
        mask = os.umask(0o117)  # create a Unix socket with mode 0660 (R8)
        try:
            self._make_way()
            self._port = await self._server.start(self._spelt(), self._credentials(envoy_grpc.GrpcCredentials))
            if isinstance(self._address, UnixAddress):
                _first_name(self._address.path).rename(self._address.path)
                self._name = SocketName(self._address.path)
        except (OSError, RuntimeError) as error:
            raise cannot_listen(self.name, self._address, error) from None
        finally:
            os.umask(mask)

    @property
    def bound(self) -> str:
        """Return the bound address, with the port that the system chose for port 0."""
        if isinstance(self._address, UnixAddress):
            return str(self._address)
        return str(TcpAddress(self._address.host, self._port))

    def renew(self, _tls: object) -> None:
        """Replace the certificate, as ``Listener.renew``. The files are read again, because gRPC needs their bytes."""
        if self._server is not None:
            self._server.renew(self._credentials(import_module("sidecar.gateways.envoy_grpc").GrpcCredentials))

    async def stop(self) -> None:
        """Stop accepting, let checks in flight finish, close."""
        if self._name is not None:
            self._name.give_up()
        if self._server is not None:
            await self._server.stop(SHUTDOWN_SECONDS)

    def _service(self, envoy_grpc: Any) -> Any:
        """Return the authorization service, with or without traces."""
        head = self._settings.max_head
        if self._tracer is None:
            responses = import_module("sidecar.gateways.fast_path.grpc_responder")
            return envoy_grpc.Authorization(responses.GrpcResponder(self._app, max_head=head).respond)
        traced = import_module("sidecar.gateways.fast_path.traced_grpc")
        responder = traced.TracedGrpcResponder(self._app, max_head=head, tracer=self._tracer)
        return envoy_grpc.TracedAuthorization(responder.respond_in_trace)

    async def _healthy(self) -> bool:
        return not self._app.health.failing_checks()

    def _make_way(self) -> None:
        """Bind and close a socket first: its error is more precise than gRPC's. Remove a stale Unix socket."""
        bind(self._address, shared=self._place.shared).close()
        if isinstance(self._address, UnixAddress):
            self._address.path.unlink()

    def _spelt(self) -> str:
        if isinstance(self._address, UnixAddress):
            return f"unix:{_first_name(self._address.path)}"
        return str(self._address)

    def _credentials(self, make: Any) -> Any:
        settings = self._settings
        if settings.tls_cert is None or settings.tls_key is None:
            return None
        return make(_pem(settings.tls_key), _pem(settings.tls_cert), _pem_or_none(settings.tls_client_ca))


def library() -> Any:
    """Import the gRPC code. Raises ListenerError when its library is not installed."""
    try:
        return import_module("sidecar.gateways.envoy_grpc")
    except ImportError as error:
        raise ListenerError(
            f"grpc listener: {error.name} is not installed: pip install 'policy-sidecar[grpc]', or unset "
            "SIDECAR_GRPC_LISTEN"
        ) from None


def _first_name(path: Path) -> Path:
    """Return a temporary name to bind: gRPC unlinks its bound name at the end, even if another process owns it."""
    return path.with_name(f"{path.name}~")


def _pem(path: Path) -> bytes:
    return path.read_bytes()


def _pem_or_none(path: Path | None) -> bytes | None:
    return None if path is None else _pem(path)
