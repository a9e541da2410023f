"""A RESP server that answers every command with one error, as proxies and managed services do."""

import asyncio
from contextlib import suppress

from tests.ports import free_port


class RedisDouble:
    """``async with RedisDouble(b"-ERR x")``: listens on ``port`` of loopback."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply + b"\r\n"
        self.port = free_port()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "RedisDouble":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    await reader.readexactly(size + 2)
                writer.write(self._reply)
                await writer.drain()
        writer.close()
