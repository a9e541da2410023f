"""Memory that unauthenticated clients can make a sidecar use fits the shipped pods' limit, and the documented figures
are right.

The bound is computed from the program's constants. Parts without a constant are measured: the process itself, a
connection.
"""

import contextlib
import os
import re
import resource
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.config import fd_limits
from sidecar.config.parsers import TcpAddress
from sidecar.config.settings import ROWS, Settings, load
from sidecar.gateways.fast_path import response_cache
from sidecar.http.server import prepared_response
from sidecar.identity import hashing
from sidecar.pdp import federation, token_cache
from sidecar.server.listeners import KERNEL_BUFFER, bind
from sidecar.telemetry import check_recorder, decision_log
from tests.deploy.image import ROOT
from tests.live.conftest import Start, start
from tests.live.support import Process

__all__ = ["start"]

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install kubernetes-validate")

MIB = 1024**2
MANIFESTS = ROOT / "sidecar" / "templates" / "k8s"

PROGRAM = 96 * MIB
"""Memory of a serving process before the first request. Measured below: 74 MiB."""
GRPC = 48 * MIB
"""Memory of the library, measured below."""
RESPONSES_OF_GRPC = 24 * MIB
"""`MAX_BYTES` and `MAX_SERIALIZED_BYTES` of fast_path/grpc_responder.py, which loads the library."""
EMBEDDED = 64 * MIB
"""Memory of the embedded store with its rate-limit buckets. Accounts and users add one or two kilobytes per user."""
REMEMBERED = 1024
"""Memory of one kind of response or of log line."""


def parts(settings: Settings, *, connections: int, in_memory: int = 0) -> dict[str, int]:
    """Return the parts of the bound, in bytes, as the table in sidecar/templates/k8s/README.md."""
    workers = settings.workers
    pool = hashing.HashParameters().memory_kib * 1024 * hashing.MOST_THREADS
    log = decision_log.QUEUE_BYTES if settings.decision_log.enabled else 0
    return {
        "program": PROGRAM * (workers + (workers > 1)),
        "gRPC": (GRPC + RESPONSES_OF_GRPC) * workers if settings.grpc_listen is not None else 0,
        "embedded store": EMBEDDED if settings.redis_url is None else 0,
        "connections": connections * workers * fd_limits.CONNECTION_BYTES,
        "hashing": pool * workers,
        "verified tokens": (token_cache.GOOD_BYTES + token_cache.BAD_BYTES) * workers,
        "outside tokens": (federation.GOOD_BYTES + federation.BAD_BYTES + federation.KNOWN_BYTES) * workers
        if settings.trusted_issuers is not None
        else 0,
        "answers": (response_cache.MAX_BYTES + response_cache.MAX_TEMPLATE_BYTES) * workers,
        "kinds": (prepared_response.MAX_KEPT + check_recorder.MAX_KEPT) * REMEMBERED * workers,
        "decision log": log * workers,
        "folders in memory": in_memory,
    }


def quantity(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": MIB, "Gi": 1024 * MIB}[unit]


def pods() -> Iterator[Any]:
    for path in sorted(MANIFESTS.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] in {"Deployment", "StatefulSet"}:
                spec = document["spec"]["template"]["spec"]
                for one in [*spec.get("initContainers", []), *spec["containers"]]:
                    if one["name"] == "sidecar":
                        yield pytest.param(spec, one, id=path.name)


@pytest.mark.parametrize(("spec", "container"), list(pods()))
def test_what_strangers_can_take_fits_the_shipped_pods(
    spec: dict[str, Any], container: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = quantity(container["resources"]["limits"]["memory"])
    monkeypatch.setattr(fd_limits, "memory_limit", lambda: limit)
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1024, 1_048_576))
    env = {one["name"]: one.get("value", "redis://redis") for one in container["env"]}
    settings = load({}, env)
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    folders = [one["emptyDir"] for one in spec["volumes"] if one["name"] in mounted and "emptyDir" in one]
    in_memory = sum(quantity(one["sizeLimit"]) for one in folders if one.get("medium") == "Memory")
    found = parts(settings, connections=settings.max_connections, in_memory=in_memory)
    total = sum(found.values())
    assert total <= limit, {name: f"{size / MIB:.0f} MiB" for name, size in found.items()}
    assert settings.max_connections >= 256, "enough for the pod's gateways"
    assert quantity(container["resources"]["requests"]["memory"]) >= PROGRAM


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("memory", [512, 1024, 4096, 65536])
def test_connections_get_a_bounded_share_of_any_container(
    monkeypatch: pytest.MonkeyPatch, memory: int, workers: int
) -> None:
    monkeypatch.setattr(fd_limits, "memory_limit", lambda: memory * MIB)
    settings = load({}, {"SIDECAR_WORKERS": str(workers)})
    taken = settings.max_connections * workers * fd_limits.CONNECTION_BYTES
    assert taken <= memory * MIB // fd_limits.MEMORY_SHARE


def test_the_documents_say_how_it_is_computed() -> None:
    """The same figures, and each part of the bound."""
    text = (MANIFESTS / "README.md").read_text()
    rows = {name: " ".join(rest) for name, *rest in re.findall(r"^\| ([a-zA-Z ]+) \| (.+) \|$", text, re.MULTILINE)}
    for settings in (load({}, {}), load({}, {"SIDECAR_GRPC_LISTEN": "127.0.0.1:1", "SIDECAR_TRUSTED_ISSUERS": "x"})):
        for name, size in parts(settings, connections=1).items():
            assert name in rows
            shown = f"{size / MIB:.0f} MiB" if size >= MIB else f"{size // 1024} KiB"
            assert size == 0 or f"**{shown}**" in rows[name], (name, shown)
    assert f"1/{fd_limits.MEMORY_SHARE}" in text


# -- figures -----------------------------------------------------------------------------------------------------------

CONNECTIONS = 60
KERNEL = 2 * 2 * KERNEL_BUFFER
"""Two directions; Linux doubles the requested size."""
HEAD = 32 * 1024 - 200
assert ROWS["max_head"].default == "32KiB"


def lines(count: int, size: int) -> bytes:
    return b"".join(b"X-%03d: " % number + b"a" * size + b"\r\n" for number in range(count))


HOST = b"Host: localhost\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
LONG = b"POST /token HTTP/1.1\r\n" + HOST + lines(100, 300)
ATTACKS = {
    "a check's head that does not end": b"GET /check HTTP/1.1\r\n" + HOST + lines(100, HEAD // 100 - 12),
    "another head that does not end": LONG,
    "a head in one line": b"POST /token HTTP/1.1\r\n" + HOST + b"X: " + b"a" * HEAD,
    "a body that does not end": LONG + FORM + b"Content-Length: 65536\r\n\r\n" + b"a" * 65535,
    "a body in chunks": LONG + FORM + b"Transfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + b"a" * 1024 + b"\r\n") * 63,
    "a large body, unasked": b"POST /v1/policy/preview HTTP/1.1\r\n"
    + HOST
    + b"Authorization: Bearer x\r\nContent-Type: application/json\r\nContent-Length: 1048576\r\n\r\n"
    + b"a" * 1048575,
    "checks whose answers are not read": (b"GET /check HTTP/1.1\r\n" + HOST + b"\r\n") * 60_000,
    "documents that are not read": (b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 5_000,
    "many small calls behind them": (b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 60
    + b"GET / HTTP/1.1\r\nHost:a\r\n\r\n" * 50_000,
}


def resident(process: Process) -> int:
    text = Path(f"/proc/{process.popen.pid}/status").read_text()
    (kib,) = re.findall(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    return int(kib) * 1024


@contextlib.contextmanager
def held(process: Process, sent: bytes) -> Iterator[None]:
    """Open that many connections. Each sends as much as the sidecar accepts, and reads nothing."""
    address = ("127.0.0.1", int(process.url.rpartition(":")[2]))
    with contextlib.ExitStack() as stack:
        left: dict[socket.socket, memoryview] = {}
        for _ in range(CONNECTIONS):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(address)
            client.setblocking(False)
            left[client] = memoryview(sent)
        quiet, size = 0, -1
        deadline = time.monotonic() + 60
        while quiet < 10 and time.monotonic() < deadline:
            for client, rest in left.items():
                with contextlib.suppress(OSError):  # the buffers are full, or it has closed
                    left[client] = rest[client.send(rest[: 1 << 20]) :] if rest else rest
            time.sleep(0.1)
            before, size = size, resident(process) + sum(map(len, left.values()))
            quiet = quiet + 1 if size == before else 0
        yield


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc (Linux)")
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_connection_takes_no_more_than_is_counted_for_it(start: Start, attack: str) -> None:
    process = start(DECISION_LOG="off", LOG_LEVEL="error", own=True)
    with held(process, b"GET /check HTTP/1.1\r\n"):
        pass  # one-time allocations of the first connections
    before = resident(process)
    assert before < PROGRAM
    with held(process, ATTACKS[attack]):
        each = (resident(process) - before) / CONNECTIONS
    sys.stdout.write(f"{attack}: {each / 1024:.0f} KiB per connection, {before / MIB:.0f} MiB before\n")
    assert each + KERNEL < fd_limits.CONNECTION_BYTES


def test_kernel_buffers_of_a_connection_are_within_the_bound() -> None:
    """The kernel's buffers count as the container's memory; by default they grow to 6 MB."""
    with bind(TcpAddress("127.0.0.1", 0)) as listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            with accepted:
                sizes = [accepted.getsockopt(socket.SOL_SOCKET, it) for it in (socket.SO_RCVBUF, socket.SO_SNDBUF)]
    assert 0 < sum(sizes) <= KERNEL


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc (Linux)")
def test_grpc_takes_no_more_than_is_counted_for_it(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("grpc", reason="grpcio is not installed: pip install 'policy-sidecar[grpc]'")
    process = start(GRPC_LISTEN=f"unix:{tmp_path}/g" if len(str(tmp_path)) < 80 else "127.0.0.1:0", own=True)
    sys.stdout.write(f"with gRPC: {resident(process) / MIB:.0f} MiB\n")
    assert resident(process) < PROGRAM + GRPC


def test_no_more_threads_hash_than_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a node with any number of cores."""
    from sidecar.tokens.opaque import Pepper

    monkeypatch.setattr(os, "cpu_count", lambda: 96)
    pool = hashing.Hashing(Pepper(b"p" * 32))
    try:
        assert pool._threads == hashing.MOST_THREADS
    finally:
        pool.close()
