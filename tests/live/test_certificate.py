"""A renewed certificate is served after SIGHUP, an invalid one never; with one process and with workers."""

import http.client
import signal
import socket
import ssl
from pathlib import Path

import pytest

from tests.live.conftest import Start
from tests.live.support import Process, eventually
from tests.server.certificates import make_pair, trusting

pytestmark = pytest.mark.slow


def served(process: Process) -> str:
    """Return the certificate of a new connection."""
    host, _, port = process.settings["LISTEN"].partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as connection,
        trusting().wrap_socket(connection) as shaken,
    ):
        return ssl.DER_cert_to_PEM_cert(shaken.getpeercert(binary_form=True) or b"")


def rejected(process: Process) -> float:
    connection = http.client.HTTPConnection(process.ops.removeprefix("http://"), timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return float(next(line for line in lines if line.startswith("sidecar_tls_rejected ")).split()[1])


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_renewed_certificate_is_taken_up_at_sighup(
    start: Start, real_redis_url: str, tmp_path: Path, workers: str
) -> None:
    chain, key = make_pair(tmp_path)
    process = start(REDIS_URL=real_redis_url, TLS_CERT=str(chain), TLS_KEY=str(key), WORKERS=workers, own=True)
    first = served(process)
    assert first == chain.read_text()
    make_pair(tmp_path)
    second = chain.read_text()
    assert served(process) == first, "not before SIGHUP"
    process.popen.send_signal(signal.SIGHUP)
    await eventually(lambda: {served(process) for _ in range(8)} == {second})
    assert rejected(process) == 0

    good = key.read_bytes()
    make_pair(tmp_path)  # chain and key do not match
    key.write_bytes(good)
    process.popen.send_signal(signal.SIGHUP)
    await eventually(lambda: rejected(process) == 1)
    assert {served(process) for _ in range(8)} == {second}
    assert "the certificate on disk cannot be used" in process.output()

    make_pair(tmp_path)
    process.popen.send_signal(signal.SIGHUP)
    await eventually(lambda: rejected(process) == 0)
    await eventually(lambda: {served(process) for _ in range(8)} == {chain.read_text()})
