"""A connection is closed if its client reads no responses, on either path, and kept if the client reads slowly."""

import asyncio
import socket
from collections.abc import Callable
from unittest.mock import Mock

import pytest

from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import CHECKS
from sidecar.gateways.fast_path.protocol import FastPathListener
from sidecar.http.server.connection import HttpServer
from tests.pdp_fixture import app

ASKED = b"GET /check HTTP/1.1\r\nHost: s\r\n\r\n"


def server(patience: float) -> HttpServer:
    return HttpServer(Dispatcher(app(), CHECKS, checks=True), access_log=None, keepalive_timeout=patience)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("lane", ["fast lane", "aiohttp"])
async def test_who_never_reads_is_hung_up_on(lane: str) -> None:
    slow = server(0.5)
    lanes = FastPathListener(app(), slow, max_head=32768, idle=0.5)
    loop = asyncio.get_running_loop()
    with socket.socket() as listening, socket.socket() as client:
        for narrow, option in ((listening, socket.SO_SNDBUF), (client, socket.SO_RCVBUF)):
            narrow.setsockopt(socket.SOL_SOCKET, option, 4096)
        listening.bind(("127.0.0.1", 0))
        client.setblocking(False)
        accepting = await loop.create_server(lanes if lane == "fast lane" else slow, sock=listening)
        await loop.sock_connect(client, listening.getsockname())
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(30):
                while True:  # a client that only sends: its own buffer fills, and it blocks
                    await loop.sock_sendall(client, ASKED * 100)
        await until(lambda: slow.open == 0 and not lanes.open)
        accepting.close()


async def test_a_few_unread_bytes_do_not_keep_a_closed_connection() -> None:
    """Too few to block the writing, and a polite close would wait for them to be read."""
    connection, transport = server(0.05)(), Mock()
    transport.get_write_buffer_size.return_value = 100
    connection.connection_made(transport)
    connection.force_close()
    transport.close.assert_called_once()
    await until(lambda: transport.abort.called)
    connection.connection_lost(None)


async def test_who_reads_in_time_or_has_gone_is_left_alone() -> None:
    for ends in ("resume", "lost"):
        connection, transport = server(0.1)(), Mock()
        connection.connection_made(transport)
        connection.keep_alive(False)
        connection.pause_writing()
        if ends == "resume":
            connection.resume_writing()
        else:
            connection.connection_lost(None)
        await asyncio.sleep(0.2)
        transport.abort.assert_not_called()
        if ends == "resume":
            connection.connection_lost(None)
