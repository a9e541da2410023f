"""SIDECAR_GRPC_LISTEN on a real sidecar: TCP and a Unix socket, one worker and two, TLS, health, drain."""

import shutil
import ssl
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateways.rig.bench import Bench, has_grpc
from tests.gateways.rig.people import SidecarProcess
from tests.server.certificates import make_pair

if not has_grpc():
    pytest.skip("grpcio and xds-protos are not here: pip install 'policy-sidecar[grpc]'", allow_module_level=True)

import grpc
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationStub
from grpc_health.v1 import health_pb2, health_pb2_grpc

pytestmark = pytest.mark.slow

DEADLINE = 5.0
Spell = Callable[[int], str]


def media(token: str) -> CheckRequest:
    asked = CheckRequest()
    http = asked.attributes.request.http
    http.method, http.path = "GET", "/dashboard/media-library/?a=1"
    http.headers["authorization"] = f"Bearer {token}"
    return asked


def code(channel: Any, token: str) -> int:
    stub: Any = AuthorizationStub(channel)
    return int(stub.Check(media(token), timeout=DEADLINE).status.code)


@contextmanager
def listening(
    bench: Bench, make: Callable[[int], str] = "127.0.0.1:{}".format, **settings: str
) -> Iterator[SidecarProcess]:
    """Start a sidecar; ``make`` returns the address for a free port."""
    with bench.another_sidecar(grpc=make, **settings) as sidecar:
        sidecar.wait_ready()
        yield sidecar


def test_over_tcp(bench: Bench) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{bench.sidecar.grpc_port}") as channel:
        assert code(channel, bench.cast.tokens["marketer"]) == 0
        assert code(channel, bench.cast.tokens["accountant"]) == 7
        assert code(channel, bench.cast.tokens["revoked"]) == 16


def test_R8_over_a_unix_socket_that_nobody_else_may_open(bench: Bench) -> None:
    path = bench.folder / "grpc.sock"
    with listening(bench, lambda _port: f"unix:{path}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with grpc.insecure_channel(f"unix:{path}") as channel:
            assert code(channel, bench.cast.tokens["marketer"]) == 0
    assert not path.exists()


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_of_several_workers(bench: Bench, *, unix: bool) -> None:
    path = bench.folder / "workers.sock"
    make = (lambda _port: f"unix:{path}") if unix else "127.0.0.1:{}".format
    with listening(bench, make, WORKERS="2") as sidecar:
        address = f"unix:{path}" if unix else f"127.0.0.1:{sidecar.grpc_port}"
        for number in range(6):  # a channel with its own option has its own connection
            with grpc.insecure_channel(address, options=[("test.number", number)]) as channel:
                assert code(channel, bench.cast.tokens["marketer"]) == 0


def test_over_tls(bench: Bench, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not here")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(chain)]
    subprocess.run([openssl, *words.split(), *names], check=True, capture_output=True)
    assert ssl.PEM_cert_to_DER_cert(chain.read_text())
    with listening(bench, TLS_CERT=str(chain), TLS_KEY=str(key)) as sidecar:
        address = f"127.0.0.1:{sidecar.grpc_port}"
        with grpc.secure_channel(address, grpc.ssl_channel_credentials(chain.read_bytes())) as channel:
            assert code(channel, bench.cast.tokens["marketer"]) == 0
        with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError):
            code(channel, bench.cast.tokens["marketer"])


def test_a_renewed_certificate_is_taken_up_and_a_bad_one_is_not(bench: Bench, tmp_path: Path) -> None:
    chain, key = make_pair(tmp_path)
    with listening(bench, TLS_CERT=str(chain), TLS_KEY=str(key)) as sidecar:

        def answers(trusted: bytes, number: int) -> bool:
            options = [("test.number", number)]  # its own connection
            address = f"127.0.0.1:{sidecar.grpc_port}"
            with grpc.secure_channel(address, grpc.ssl_channel_credentials(trusted), options) as channel:
                try:
                    return code(channel, bench.cast.tokens["marketer"]) == 0
                except grpc.RpcError:
                    return False

        def takes(trusted: bytes) -> None:
            deadline = time.monotonic() + 20
            while not answers(trusted, time.monotonic_ns() % 1_000_000):
                assert time.monotonic() < deadline
                time.sleep(0.05)

        first = chain.read_bytes()
        takes(first)
        make_pair(tmp_path)
        second = chain.read_bytes()
        sidecar.reload()
        takes(second)
        assert not answers(first, -1)
        key.write_text("no key")
        sidecar.reload()
        time.sleep(1)
        assert answers(second, -2)


def test_an_address_that_is_taken_stops_the_start_with_a_line(bench: Bench) -> None:
    taken = listening(bench, lambda _port: f"127.0.0.1:{bench.sidecar.grpc_port}")
    with pytest.raises(RuntimeError, match="grpc listener: cannot listen on 127"), taken:
        pass


def test_health_follows_the_drain(bench: Bench) -> None:
    """NOT_SERVING from the start of the drain, while checks still get responses."""
    with listening(bench, DRAIN="1s") as sidecar, grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc_port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE).status == serving
        sidecar.terminate()
        deadline = time.monotonic() + DEADLINE
        while health.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE).status != not_serving:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert code(channel, bench.cast.tokens["marketer"]) == 0
