"""People behind the API, for the tests of its door: on fakeredis alone, since the store has tests of its own."""

from collections.abc import AsyncIterator

import fakeredis
import pytest

from sidecar.store.connection import Store
from tests.people import generation, hashing, issuer, open_web, town

__all__ = ["bare_store", "generation", "hashing", "issuer", "open_web", "town"]


@pytest.fixture
async def bare_store() -> AsyncIterator[Store]:
    client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), decode_responses=True)
    yield Store.from_client(client)
    await client.aclose()
