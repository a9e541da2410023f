"""Policies of running sidecars: edits as editors and tools make them, and a load that verifies every response."""

import asyncio
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from sidecar.policy.generation import content_hash
from sidecar.sources.policy_files import read_policy_files
from sidecar.store import keys
from tests.live.support import ROOT, Http, Process, begin
from tests.ports import free_port

FULL = bool(os.environ.get("SIDECAR_TEST_FULL"))
"""The long forms: every broken policy of the corpus, 200 edits in 20 seconds. See tests/README.md."""

CONNECTIONS = 4
GRANT = "p, marketer, billing, view, allow\n"


class Policy:
    """The shipped policy in a folder of its own, and edits of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.model = folder / "policy", folder / "model.conf"
        folder.mkdir(exist_ok=True)
        shutil.copytree(ROOT / "policy", self.folder)
        shutil.copy(ROOT / "model.conf", self.model)
        for path in (*self.folder.iterdir(), self.model):
            path.chmod(0o644)
        self.shipped = self.files()

    @property
    def settings(self) -> dict[str, str]:
        return {"POLICY_DIR": str(self.folder), "MODEL": str(self.model)}

    def path(self, name: str) -> Path:
        return self.model if name == "model.conf" else self.folder / name

    def files(self) -> dict[str, bytes]:
        return dict(read_policy_files(self.folder, self.model).files)

    def write(self, files: dict[str, bytes]) -> None:
        """Write in place, like `>`: a concurrent reader sees a part."""
        for name, content in files.items():
            self.path(name).write_bytes(content)

    def rename(self, files: dict[str, bytes]) -> None:
        """Write beside it and rename over it, like most editors."""
        for name, content in files.items():
            aside = self.path(name).with_name(f".{name}.swp")
            aside.write_bytes(content)
            aside.chmod(0o644)
            aside.replace(self.path(name))

    def restore(self) -> None:
        self.write(self.shipped)

    def granting(self, words: str = "") -> dict[str, bytes]:
        """The edit that allows marketers to view bills, with its test."""
        policy = self.shipped["policy.csv"].decode() + GRANT + (f"# {words}\n" if words else "")
        return {"policy.csv": policy.encode(), "expectations.csv": expecting(self.shipped, "allow")}

    def commented(self, words: str) -> dict[str, bytes]:
        """An edit that is visible only as a new generation."""
        return {
            "policy.csv": self.shipped["policy.csv"] + f"# {words}\n".encode(),
            "expectations.csv": self.shipped["expectations.csv"],
        }

    def generation_of(self, files: dict[str, bytes]) -> str:
        return content_hash({**self.shipped, **files})


def expecting(shipped: dict[str, bytes], effect: str) -> bytes:
    """Replace the expectation of marketers and bills."""
    text, count = re.subn(
        r"(?m)^deny,(\s+marketer,\s+billing,\s+view)$", rf"{effect},\1", shipped["expectations.csv"].decode()
    )
    assert count == 1
    return text.encode()


def launch(folder: Path, *, words: Sequence[str] = (), apart: bool = False, **settings: str) -> Process:
    """Start a sidecar that outlives one test; the caller stops it. ``apart``: in its own interpreter."""
    own = {
        "LISTEN": f"127.0.0.1:{free_port()}",
        "OPS_LISTEN": f"127.0.0.1:{free_port()}",
        "STATE_DIR": str(folder / "state"),
        "ISSUER": "http://sidecar.test",
        "DECISION_LOG": "off",
        "LOG_FORMAT": "json",
        "DRAIN": "100ms",
        **settings,
    }
    log = folder / "sidecar.log"
    with log.open("wb") as sink:
        popen = begin(own, sink, *words, own=apart)
    return Process(popen, f"http://{own['LISTEN']}", f"http://{own['OPS_LISTEN']}", log, own)


@dataclass
class Seen:
    """One response: its connection, time, status and generation."""

    connection: int
    at: float
    status: int
    generation: str


@dataclass
class Load:
    """Checks without pause over a few connections, and their responses."""

    seen: list[Seen] = field(default_factory=list)

    @property
    def statuses(self) -> set[int]:
        return {answer.status for answer in self.seen}

    @property
    def generations(self) -> set[str]:
        return {answer.generation for answer in self.seen}

    def since(self, at: float) -> "Load":
        return Load([answer for answer in self.seen if answer.at >= at])


@asynccontextmanager
async def load(process: Process, token: str, path: str) -> AsyncIterator[Load]:
    """Send checks of ``path`` with ``token`` until the block ends. A response that breaks the connection fails the
    test.
    """
    found, ended = Load(), asyncio.Event()
    host, _, port = process.url.removeprefix("http://").partition(":")
    request = (
        f"GET /check HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: {path}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()

    async def ask(connection: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while not ended.is_set():
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?i)\r\ncontent-length: (\d+)", head)
            if length:
                await reader.readexactly(int(length[1]))
            generation = re.search(r"(?i)\r\nx-auth-generation: (\w*)", head)
            assert generation, head
            found.seen.append(Seen(connection, time.monotonic(), int(head.split()[1]), generation[1]))
        writer.close()

    asking = [asyncio.create_task(ask(number)) for number in range(CONNECTIONS)]
    try:
        yield found
    finally:
        ended.set()
        await asyncio.gather(*asking)


def forget_last_good(url: str) -> None:
    """Delete the store's copy of the last good policy, which a start without a kept one would serve (R25)."""
    with redis.Redis.from_url(url) as store:
        assert store.delete(f"sc:{keys.tag(0)}:policy:good") == 1


async def status(api: Http, process: Process) -> dict:
    answer = await api.ask("GET", "/status", url=process.ops)
    assert answer.status == 200
    return answer.body


async def metric(api: Http, process: Process, name: str) -> float:
    answer = await api.ask("GET", "/metrics", url=process.ops)
    found = re.search(rf"(?m)^{name}(?:{{.*}})? (\S+)$", answer.body.decode())
    assert found, name
    return float(found[1])


async def until(condition, seconds: float = 2.0) -> float:
    """Wait until ``await condition()`` is true; return the seconds. Fail after ``seconds``."""
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def serves(api: Http, process: Process, generation: str, state: str = "current"):
    """Return a condition: this generation is active, in this state."""

    async def holds() -> bool:
        told = await status(api, process)
        return (told["generation"], told["state"]) == (generation, state)

    return holds
