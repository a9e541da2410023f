"""Puts the rig together: sidecar, back end, a relay for each gateway, and the gateways as they are asked for."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateways.rig.backend import Arrival, Backend
from tests.gateways.rig.loop import LoopThread
from tests.gateways.rig.people import Cast, SidecarProcess, found_and_gather
from tests.gateways.rig.programs import PROGRAMS, Gateway, Places, free_port
from tests.gateways.rig.relay import Mode, Relay
from tests.gateways.rig.wire import Response, ask


class Lane:
    """One gateway, its way to the sidecar, and the back end behind it."""

    def __init__(self, name: str, gateway: Gateway, relay: Relay, backend: Backend, loop: LoopThread) -> None:
        self.name = name
        self.gateway = gateway
        self.relay = relay
        self._backend = backend
        self._loop = loop

    def ask(self, raw: bytes, *, timeout: float = 10.0, settle: float = 0.0) -> tuple[Response, list[Arrival]]:
        """The gateway's answer and what reached the back end meanwhile."""
        before = len(self._backend.arrivals)
        response = ask(self.gateway.port, raw, timeout=timeout, settle=settle)
        return response, self._backend.arrivals[before:]

    def become(self, mode: Mode) -> None:
        """What the gateway finds where the sidecar should be."""
        self._loop.run(self.relay.become(mode))


class Bench:
    """The whole of it. ``lane`` starts a gateway once."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.loop = LoopThread()
        self.backend = Backend()
        self._lanes: dict[str, Lane] = {}
        self._gateways: list[Gateway] = []
        self._relays: list[Relay] = []
        self.loop.run(self.backend.start())
        self.grpc_port = free_port() if has_grpc() else 0
        extra = {"GRPC_LISTEN": f"127.0.0.1:{self.grpc_port}"} if self.grpc_port else {}
        self.sidecar = SidecarProcess(folder, listen=free_port(), ops=free_port(), redis_url=redis_url, **extra)
        try:
            self.cast: Cast = found_and_gather(self.sidecar, folder / "keys", redis_url)
        except BaseException:
            self.stop()
            raise

    def lane(self, name: str) -> Lane:
        """The gateway of that name with its configuration as it stands here."""
        if name not in self._lanes:
            self._lanes[name] = self.start(name)
        return self._lanes[name]

    def start(self, name: str, *, edit: Callable[[str], str] = str) -> Lane:
        """One more gateway; skips the test when its program is missing."""
        program = PROGRAMS[name]
        binary = program.find()
        if binary is None:
            pytest.skip(program.missing)
        if program.grpc and not self.grpc_port:
            pytest.skip("grpcio and xds-protos are not here: pip install 'policy-sidecar[grpc]'")
        relay = Relay(self.grpc_port if program.grpc else self.sidecar.port)
        self.loop.run(relay.start())
        self._relays.append(relay)
        folder = self.folder / f"{name}-{len(self._gateways)}"
        folder.mkdir(mode=0o755)
        places = Places(free_port(), relay.port, self.sidecar.port, self.backend.port, folder)
        gateway = Gateway(program, binary, places, edit=edit)
        self._gateways.append(gateway)
        return Lane(name, gateway, relay, self.backend, self.loop)

    def stop(self) -> None:
        for gateway in self._gateways:
            gateway.stop()
        self.sidecar.stop()
        for relay in self._relays:
            self.loop.run(relay.stop())
        self.loop.run(self.backend.stop())
        self.loop.stop()


def has_grpc() -> bool:
    return importlib.util.find_spec("grpc") is not None and importlib.util.find_spec("envoy") is not None
