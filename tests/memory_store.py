"""Fixture ``bare_store`` on fakeredis alone, for the HTTP tests. The store's own tests use a real server too."""

import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import fakeredis
import pytest

from sidecar.store.connection import Store


class BorrowedClient:
    """Topology of one existing client, which its creator closes."""

    has_failover = False
    partitions = 1

    def __init__(self, client: Any) -> None:
        self._only = client
        self.on_move: Callable[[], None] = lambda: None

    async def client(self, key: str, *, write: bool = False) -> Any:
        return self._only

    async def listener(self, key: str, patience: float) -> Any:
        return self._only.client()

    async def masters(self) -> list[Any]:
        return [self._only]

    async def look_again(self, moved: Exception | None = None) -> None:
        """No-op: there is one client."""

    def suspect(self) -> None:
        """No-op: there is one client."""

    async def denied(self) -> list[str]:
        """Return nothing: there is nothing to discover."""
        return []

    async def close(self) -> None:
        """No-op: the creator closes the client."""


def store_over(client: Any, *, entropy: Callable[[int], bytes] = os.urandom) -> Store:
    """Return a store over an existing client, which its creator closes."""
    store = Store(BorrowedClient(client), where="given client", entropy=entropy)
    store.client = client
    return store


@pytest.fixture
async def bare_store() -> AsyncIterator[Store]:
    client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), decode_responses=True)
    yield store_over(client)
    await client.aclose()
