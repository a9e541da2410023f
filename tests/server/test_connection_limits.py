"""Connections above SIDECAR_MAX_CONNECTIONS are rejected, and a closed one frees its place; with TLS and without."""

import asyncio
import resource
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import CHECKS
from sidecar.config import fd_limits
from sidecar.config.parsers import TcpAddress
from sidecar.config.settings import load
from sidecar.gateways.fast_path.protocol import FastPathListener
from sidecar.server.connection_limits import ConnectionLimiter, shares
from sidecar.server.listeners import Listener
from tests.pdp_fixture import app
from tests.server.certificates import make_pair, trusting

LIMIT = 3
Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class LimitedListener:
    """A listener with a connection limit, and its clients."""

    def __init__(
        self, listener: Listener, limiter: ConnectionLimiter, refused: list[int], context: ssl.SSLContext | None
    ) -> None:
        self.listener = listener
        self.limiter = limiter
        self.refused = refused
        self.context = context
        self.host, _, self.port = listener.bound.partition(":")
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(self, *, tls: bool = True) -> Connected:
        context = self.context if tls else None
        reader, writer = await asyncio.open_connection(self.host, int(self.port), ssl=context)
        self.writers.append(writer)
        return reader, writer

    async def enter(self, path: str = "/check") -> Connected:
        """Open a connection and read a response."""
        reader, writer = await self.connect()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: s\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 ")
        return reader, writer

    async def turned_away(self) -> None:
        try:
            reader, writer = await self.connect()
            writer.write(b"GET /check HTTP/1.1\r\nHost: s\r\n\r\n")
            assert await asyncio.wait_for(reader.read(), 10) == b""
        except (ConnectionError, ssl.SSLError):
            pass


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


Run = Callable[[Callable[[LimitedListener], Awaitable[None]]], None]


@pytest.fixture(params=["plain", "tls"])
def at_a_door(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run with a listener on uvloop, as it is served, because the loop accepts."""
    pair = make_pair(tmp_path) if request.param == "tls" else (None, None)

    async def opened(body: Callable[[LimitedListener], Awaitable[None]]) -> None:
        async with standing(*pair) as place:
            await body(place)

    return lambda body: uvloop.run(opened(body))


@asynccontextmanager
async def standing(chain: Path | None, key: Path | None) -> AsyncIterator[LimitedListener]:
    settings: Any = SimpleNamespace(max_head=32768, tls_cert=chain, tls_key=key, tls_client_ca=None)
    shared, refused = app(), [0]

    def count() -> None:
        refused[0] += 1

    limiter = ConnectionLimiter(LIMIT, count)
    listener = Listener(
        "public",
        TcpAddress("127.0.0.1", 0),
        Dispatcher(shared, CHECKS, checks=True),
        settings,
        lambda slow: FastPathListener(shared, slow, max_head=32768, idle=75),
        limiter=limiter,
    )
    await listener.start()
    made = LimitedListener(listener, limiter, refused, trusting() if chain else None)
    try:
        yield made
    finally:
        for writer in made.writers:
            writer.close()
        await listener.stop()


def test_a_connection_over_the_limit_is_closed_until_one_is_free(at_a_door: Run) -> None:
    at_a_door(one_too_many)


async def one_too_many(place: LimitedListener) -> None:
    await place.enter()
    await place.enter("/nowhere")  # on the other path
    _, leaving = await place.enter()
    assert place.limiter.open() == LIMIT
    for _ in range(5):
        await place.turned_away()
    assert place.refused == [5]
    assert place.limiter.open() == LIMIT
    leaving.close()
    await until(lambda: place.limiter.open() < LIMIT)
    await place.enter()
    assert place.refused == [5]


def test_who_sends_nothing_takes_a_place_until_he_goes(at_a_door: Run) -> None:
    """With TLS, that is a client without a handshake: no protocol object of ours exists for it."""
    at_a_door(silent)


async def silent(place: LimitedListener) -> None:
    waiting = [await place.connect(tls=False) for _ in range(LIMIT)]
    await until(lambda: place.limiter.open() == LIMIT)
    await place.turned_away()
    waiting[0][1].close()
    await until(lambda: place.limiter.open() == LIMIT - 1)
    if place.context is not None:
        waiting[1][1].write(b"this is no handshake\r\n\r\n")
        await until(lambda: place.limiter.open() == LIMIT - 2)
    await place.enter()


def test_a_stop_ends_who_has_not_shaken_hands(at_a_door: Run) -> None:
    at_a_door(stopped)


async def stopped(place: LimitedListener) -> None:
    reader, _ = await place.connect(tls=False)
    await until(lambda: place.limiter.open() == 1)
    await place.listener.stop()
    assert await asyncio.wait_for(reader.read(), 10) == b""


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(1, (1, 1)), (2, (1, 1)), (5, (2, 3)), (10_000, (5_000, 5_000))],
)
def test_each_of_two_listeners_has_its_share(limit: int, expected: tuple[int, int]) -> None:
    refused: list[None] = []
    for limiter, share in zip(shares(limit, 2, lambda: refused.append(None)), expected, strict=True):
        limiter.watch(lambda share=share: share - 1)
        assert limiter.admits()
        limiter.watch(lambda share=share: share)
        assert not limiter.admits()
        assert limiter.open() == share
    assert len(refused) == 2
    (alone,) = shares(limit, 1, lambda: None)
    alone.watch(lambda: limit - 1)
    assert alone.admits()


@pytest.mark.parametrize(
    ("hard", "expected"), [(1_048_576, 10_000), (10_000, 9_744), (1024, 768), (300, 150), (resource.RLIM_INFINITY, 744)]
)
def test_the_default_leaves_descriptors_for_what_must_go_on(
    monkeypatch: pytest.MonkeyPatch, hard: int, expected: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1000, hard))
    monkeypatch.setattr(fd_limits, "memory_limit", lambda: 64 * 1024**3)
    settings = load({}, {})
    assert settings.max_connections == fd_limits.connections() == expected
    shown = {value.name: value.text for value in settings.values}
    assert shown["max_connections"] == str(expected)
    assert not settings.warnings


@pytest.mark.parametrize(
    ("memory", "workers", "expected"), [(64 * 1024, 1, 10_000), (512, 1, 256), (512, 2, 128), (1024, 1, 512), (1, 8, 1)]
)
def test_the_default_leaves_memory_for_what_must_go_on(
    monkeypatch: pytest.MonkeyPatch, memory: int, workers: int, expected: int
) -> None:
    """A quarter of the container's memory, at 512 KiB per connection."""
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1000, 1_048_576))
    monkeypatch.setattr(fd_limits, "memory_limit", lambda: memory * 1024**2)
    assert load({}, {"SIDECAR_WORKERS": str(workers)}).max_connections == expected


def test_more_than_the_descriptors_allow_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1000, 4096))
    assert not load({}, {"SIDECAR_MAX_CONNECTIONS": "3840"}).doubts
    (doubt,) = load({}, {"SIDECAR_MAX_CONNECTIONS": "3841"}).doubts
    assert "SIDECAR_MAX_CONNECTIONS is 3841" in doubt
    assert "3840" in doubt
