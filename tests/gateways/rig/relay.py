"""Relay between a gateway and the sidecar: forwards and records bytes, or simulates one that is down, slow
or broken.
"""

import asyncio
from contextlib import suppress
from enum import Enum


class Mode(Enum):
    """Behaviour that the gateway meets."""

    PASS = "the sidecar"
    REFUSE = "nobody listens"
    CLOSE = "accepts and closes"
    HANG = "never answers"
    BROKEN = "answers 500"


class Relay:
    """One listening port for one gateway. ``heads``: the forwarded checks, ``answers``: the sidecar's responses."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.mode = Mode.PASS
        self.delay = 0.0
        self.heads: list[bytes] = []
        self.answers: list[bytes] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def become(self, mode: Mode) -> None:
        """Change the behaviour for new connections. Open ones are closed, so that no pool keeps them."""
        self.mode = mode
        for writer in tuple(self._open):
            writer.transport.abort()
        if mode is Mode.REFUSE and self._server is not None:
            self._server.close()
            self._server = None
        elif mode is not Mode.REFUSE and self._server is None:
            await self.start()

    async def stop(self) -> None:
        await self.become(Mode.REFUSE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            match self.mode:
                case Mode.PASS:
                    await self._pass(reader, writer)
                case Mode.HANG:
                    while await reader.read(65536):
                        pass
                case Mode.BROKEN:
                    while await reader.readuntil(b"\r\n\r\n"):
                        writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
                case Mode.CLOSE | Mode.REFUSE:
                    pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        there = asyncio.create_task(_copy(reader, up_writer, self.heads))
        back = asyncio.create_task(_copy(up_reader, writer, self.answers, self))
        try:
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (there, back):
                task.cancel()
                with suppress(asyncio.CancelledError, ConnectionError):
                    await task
            up_writer.close()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: list[bytes], slow: Relay | None = None
) -> None:
    whole = b""
    while data := await reader.read(65536):
        whole += data
        if b"\r\n\r\n" in whole:
            record.append(whole)
            whole = b""
        if slow is not None and slow.delay:
            await asyncio.sleep(slow.delay)
        writer.write(data)
        await writer.drain()
