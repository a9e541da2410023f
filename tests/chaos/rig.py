"""Parts of the chaos tests: a Redis that can be frozen and killed, a relay that can be cut and turned to another
one."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import redis

from tests.ports import free_port

FULL = os.environ.get("SIDECAR_TEST_CHAOS") == "full"
"""The long forms, by command; the suite runs short ones of the same tests."""

LEASE = 1.0
"""SIDECAR_LEASE's default, in seconds."""


class RedisServer:
    """A real server on a port of its own, with an append-only file that a restart reads."""

    def __init__(self, binary: str, *settings: str) -> None:
        self._binary = binary
        self._settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "RedisServer":
        words = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        words += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", *self._settings]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(redis.RedisError), self.client() as client:
                client.ping()
                return self
            time.sleep(0.01)
        raise AssertionError(f"Redis does not start: {(self.folder / 'log').read_text()[-500:]}")

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, decode_responses=True)

    def raw(self) -> "redis.Redis":
        """Values as bytes, as DUMP and RESTORE have them."""
        return redis.Redis(port=self.port)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """As a power cut would, but for the disk."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)
        self._process = None

    def close(self) -> None:
        if self._process is not None:
            self.thaw()
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class Relay:
    """TCP to another port, byte for byte. ``freeze`` keeps connections and carries nothing, as a dead link does."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._open = asyncio.Event()
        self._open.set()
        self._carried: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        left = tuple(self._carried)
        self.cut()
        await asyncio.gather(*left, return_exceptions=True)

    def freeze(self) -> None:
        self._open.clear()

    def turn_to(self, target: int) -> None:
        """As an address that moves in a fail-over: old connections end, new ones reach the new master."""
        self._target = target
        self.cut()

    def cut(self) -> None:
        for task in tuple(self._carried):
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carried.add(task)
        with suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            ways = [
                asyncio.create_task(self._carry(reader, back)),
                asyncio.create_task(self._carry(there, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                back.close()  # at once: a second cut may come while it is waited for
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                await _closed(back)
        writer.close()
        with suppress(asyncio.CancelledError):
            await _closed(writer)
        self._carried.discard(task)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            await self._open.wait()
            sink.write(data)
            await sink.drain()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
