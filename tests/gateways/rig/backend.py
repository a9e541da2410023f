"""Replacement of the dashboard: records every byte of a received head, and responds 200.

It reads a request as a strict server does (one of Content-Length and chunked, never both), so that a request smuggled
past the check appears as its own arrival. It accepts every upgrade to any protocol, so that a forwarded one opens a
tunnel; a request inside a tunnel is an arrival as well.
"""

import asyncio
import base64
import hashlib
from dataclasses import dataclass

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request that reached the back end."""

    head: bytes

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode("latin-1")

    @property
    def target(self) -> str:
        return self.head.split(b"\r\n", 1)[0].split(b" ")[1].decode("latin-1")

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.head.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]
        pairs = (line.decode("latin-1").partition(":") for line in lines)
        return [(name.strip().lower(), value.strip()) for name, _, value in pairs]

    def values(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found == name]


class Backend:
    """Runs on the rig's loop. ``arrivals`` is append-only."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                arrival = Arrival(head)
                self.arrivals.append(arrival)
                if arrival.values("upgrade"):
                    if await self._upgrade(arrival, reader, writer):
                        return
                    continue
                await _body(arrival, reader)
                body = b"" if arrival.method == "HEAD" else b"reached"
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-Reached: yes\r\n\r\n" + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    async def _upgrade(self, arrival: Arrival, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Accept the requested protocol, and echo the following bytes. False: a WebSocket of an undefined version."""
        versions = arrival.values("sec-websocket-version")
        if versions and versions != ["13"]:
            writer.write(
                b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 7\r\n\r\nreached"
            )
            await writer.drain()
            return False
        key = (arrival.values("sec-websocket-key") or [""])[0].encode()
        accept = base64.b64encode(hashlib.sha1(key + MAGIC, usedforsecurity=False).digest())
        wanted = arrival.values("upgrade")[0].encode("latin-1")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + wanted + b"\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        while data := await reader.read(4096):
            self.arrivals.append(Arrival(data))
            writer.write(data)
            await writer.drain()
        return True


async def _body(arrival: Arrival, reader: asyncio.StreamReader) -> None:
    lengths, coded = arrival.values("content-length"), arrival.values("transfer-encoding")
    if lengths and coded:
        raise ValueError("two framings")
    if lengths:
        await reader.readexactly(int(lengths[0]))
    while coded:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        await reader.readexactly(size + 2)
        if size == 0:
            return
