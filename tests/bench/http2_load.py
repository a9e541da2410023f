"""``python -m tests.bench.http2_load``: gRPC calls from a file, over HTTP/2 with prior knowledge, as Envoy sends them.

The client writes frames that were encoded before, and reads only the types of the response's frames. So it costs a
tenth of a gRPC library, and can load any server from the other core. Each connection has several calls in flight.
"""

import json
import selectors
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WINDOW: Final = 65_535
WIDE: Final = 2**30
ALLOWED: Final = b"\x0a\x00"
"""The first bytes of a CheckResponse whose status has code 0."""

STATIC: Final = b"\x83\x86"
"""HPACK's static table: ``:method: POST`` and ``:scheme: http``."""


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + content


def message(content: bytes) -> bytes:
    """Return gRPC's form of a message: uncompressed, with its length."""
    return b"\0" + struct.pack(">I", len(content)) + content


def header_blocks(method: str) -> tuple[bytes, bytes]:
    """Return the HPACK block of a connection's first call, which fills the dynamic table, and that of all further."""
    fields = (
        (b"\x44", b"", method.encode()),
        (b"\x41", b"", b"sidecar"),
        (b"\x40", b"te", b"trailers"),
        (b"\x5f", b"", b"application/grpc"),
        (b"\x7a", b"", b"bench"),
        (b"\x40", b"grpc-timeout", b"60S"),
    )
    first = b"".join(
        kind + (bytes((len(name),)) + name if name else b"") + bytes((len(value),)) + value
        for kind, name, value in fields
    )
    return STATIC + first, STATIC + bytes(0x80 | 62 + at for at in range(len(fields)))


class GrpcConnection:
    """One HTTP/2 connection with up to ``streams`` calls in flight."""

    def __init__(self, port: int, method: str, streams: int, calls: Iterator[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._first, self._further = header_blocks(method)
        self._calls = calls
        self._free = streams
        self._window = WINDOW
        self._stream = -1
        self._ready: bytes | None = None
        self._buffer = b""
        self.began: dict[int, float] = {}
        self._answered: dict[int, bytes] = {}
        self.allowed = self.denied = self.failed = 0
        self.took: list[float] = []
        wide = struct.pack(">HI", 4, WIDE)  # SETTINGS_INITIAL_WINDOW_SIZE
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, wide) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WIDE)))

    def send(self, extra: bytes = b"") -> None:
        """Send as many calls as streams and window admit."""
        parts = [extra] if extra else []
        now = time.perf_counter()
        while self._free and (content := self._ready or next(self._calls, None)) is not None:
            self._ready = content
            if len(content) > self._window:
                break
            self._ready = None
            self._window -= len(content)
            self._free -= 1
            self._stream += 2
            block = self._first if self._stream == 1 else self._further
            parts += (frame(HEADERS, END_HEADERS, self._stream, block), frame(DATA, END_STREAM, self._stream, content))
            self.began[self._stream] = now
        if parts:
            self.socket.sendall(b"".join(parts))

    def receive(self) -> None:
        received = self.socket.recv(262_144)
        if not received:
            raise ConnectionError("the server closed the connection")
        buffer = self._buffer + received
        at, replies = 0, b""
        while len(buffer) - at >= 9:
            size = int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) - at < 9 + size:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big")
            replies += self._take(kind, flags, stream, buffer[at + 9 : at + 9 + size])
            at += 9 + size
        self._buffer = buffer[at:]
        self.send(replies)

    def _take(self, kind: int, flags: int, stream: int, content: bytes) -> bytes:
        if kind == DATA and content:
            self._answered[stream] = self._answered.get(stream, b"") + content
        elif kind == SETTINGS and not flags & ACK:
            return frame(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            return frame(PING, ACK, 0, content)
        elif kind == GOAWAY:
            raise ConnectionError(f"GOAWAY: {content[8:]!r}")
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(content, "big")
        elif kind == RESET:
            self._ended(stream)
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self._ended(stream)
        return frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(content))) if kind == DATA and content else b""

    def _ended(self, stream: int) -> None:
        answered, began = self._answered.pop(stream, b""), self.began.pop(stream, None)
        if began is None:  # reset after its end
            return
        self.took.append(time.perf_counter() - began)
        self._free += 1
        if not answered:
            self.failed += 1
        elif answered[5:7] == ALLOWED:
            self.allowed += 1
        else:
            self.denied += 1


def rotation(messages: Sequence[bytes], *, once: bool, until: float) -> Iterator[bytes]:
    while True:
        for content in messages:
            if time.perf_counter() > until:
                return
            yield content
        if once:
            return


def run(
    port: int,
    method: str,
    messages: Sequence[bytes],
    *,
    seconds: float,
    connections: int,
    streams: int,
    once: bool = False,
) -> str:
    """Send the messages in rotation. Return a report in the form of `load.read_run`."""
    calls = rotation([message(one) for one in messages], once=once, until=time.perf_counter() + seconds)
    began = time.perf_counter()
    lanes = [GrpcConnection(port, method, streams, calls) for _ in range(connections)]
    with selectors.DefaultSelector() as selector:
        for lane in lanes:
            selector.register(lane.socket, selectors.EVENT_READ, lane)
            lane.send()
        while any(lane.began for lane in lanes):
            ready = selector.select(10)
            if not ready:
                raise TimeoutError("no response for 10 seconds")
            for key, _ in ready:
                key.data.receive()
    took = sorted(one for lane in lanes for one in lane.took)
    told = {
        "requests": len(took),
        "micros": int((time.perf_counter() - began) * 1e6),
        "refused": sum(lane.denied for lane in lanes),
        "failed": sum(lane.failed for lane in lanes),
        "p50": took[len(took) // 2] * 1e6,
        "p99": took[len(took) * 99 // 100] * 1e6,
    }
    return json.dumps(told)


def main() -> None:
    port, method, path, seconds, connections, streams, once = sys.argv[1:]
    messages = [bytes.fromhex(line) for line in Path(path).read_text().split()]
    report = run(
        int(port),
        method,
        messages,
        seconds=float(seconds),
        connections=int(connections),
        streams=int(streams),
        once=once == "once",
    )
    sys.stdout.write(report + "\n")


if __name__ == "__main__":
    main()
