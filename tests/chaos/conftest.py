"""Servers that can be hurt, and the sidecars of the live tests on them."""

from collections.abc import Callable, Iterator

import pytest

from tests.chaos.rig import RedisServer
from tests.live.conftest import http, start

__all__ = ["http", "start"]


@pytest.fixture
def redis_server(redis_server_binary: str) -> Iterator[Callable[..., RedisServer]]:
    """``redis_server(*settings)``: one more, started; none outlives the test."""
    made: list[RedisServer] = []

    def make(*settings: str) -> RedisServer:
        made.append(RedisServer(redis_server_binary, *settings))
        return made[-1].start()

    yield make
    for server in made:
        server.close()
