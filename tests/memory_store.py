"""Fixture ``bare_store`` on fakeredis alone, for tests of HTTP: the store has tests of its own on a real server."""

from collections.abc import AsyncIterator

import fakeredis
import pytest

from sidecar.store.connection import Store


@pytest.fixture
async def bare_store() -> AsyncIterator[Store]:
    client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), decode_responses=True)
    yield Store.from_client(client)
    await client.aclose()
