"""A listener removes its Unix socket's name at its end, and never its successor's."""

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import CHECKS
from sidecar.config.parsers import UnixAddress
from sidecar.server.grpc_listener import GrpcListener
from sidecar.server.listeners import Listener, ListenerError
from tests.pdp_fixture import app

SETTINGS: Any = SimpleNamespace(max_head=32768, tls_cert=None, tls_key=None, tls_client_ca=None)
SLOW = b"POST /v1/check HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"


def http(path: Path) -> Listener:
    return Listener("public", UnixAddress(path), Dispatcher(app(), CHECKS, checks=True), SETTINGS)


async def hand_over(path: Path) -> None:
    """The old one has a request in flight when its successor starts, and ends after that."""
    old, new = http(path), http(path)
    await old.start()
    _, writer = await asyncio.open_unix_connection(str(path))
    writer.write(SLOW)
    await asyncio.sleep(0.1)
    stopping = asyncio.create_task(old.stop())
    async with asyncio.timeout(20):
        while True:
            try:
                await new.start()
                break
            except ListenerError:  # still held by the old one
                await asyncio.sleep(0.01)
    assert not stopping.done(), "the old one waits for its request"
    writer.close()
    await stopping
    try:
        _, other = await asyncio.open_unix_connection(str(path))
        other.close()
    finally:
        await new.stop()
    assert not path.exists()


def test_one_that_ends_slowly_leaves_its_successor_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.server.listeners.SHUTDOWN_SECONDS", 1.0)
    uvloop.run(hand_over(tmp_path / "s"))


def test_a_name_that_is_somebody_elses_by_now_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def replaced() -> None:
        listener = http(path)
        await listener.start()
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            await listener.stop()
        assert path.exists()

    uvloop.run(replaced())


def test_of_grpc_as_well(tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    pytest.importorskip("envoy.service.auth.v3")
    path = tmp_path / "s"

    async def replaced() -> None:
        old = GrpcListener(UnixAddress(path), app(), SETTINGS)
        await old.start()
        assert [found.name for found in tmp_path.iterdir()] == ["s"]
        stop = old._server.stop
        with socket.socket(socket.AF_UNIX) as other:

            async def as_another_comes(grace: float) -> None:
                path.unlink(missing_ok=True)
                other.bind(str(path))
                await stop(grace)

            old._server.stop = as_another_comes
            await old.stop()
            await asyncio.sleep(0.2)  # gRPC has threads of its own
        assert path.exists()

    asyncio.run(replaced())
