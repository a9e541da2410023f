"""Servers as processes on one core: started, measured in /proc, stopped."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
SERVER_CORE = 0
STORE_CORE = 1
"""The store shares the load's core: its cost is not counted as the server's."""


class Server:
    """A process and its children, pinned to ``cores``. ``ready`` is polled until it is true."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        port: int,
        log: Path,
        cores: str = str(SERVER_CORE),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.port = port
        self.log = log
        self.started = time.monotonic()
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                ["taskset", "-c", cores, *words],
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
                env=None if env is None else dict(env),
                cwd=cwd,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def until(self, ready: Callable[[], bool], seconds: float = 60) -> "Server":
        deadline = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.log.stem} does not start: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.005)
        return self

    def cpu(self) -> float:
        """Return seconds of CPU so far, children and all threads included."""
        return sum(cpu_of(pid) for pid in self._family())

    def rss(self) -> int:
        """Return resident bytes, children included."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE for pid in self._family())

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def _family(self) -> list[int]:
        found, waiting = [], [self._process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            with suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
        return found


def cpu_of(pid: int) -> float:
    """Return utime + stime of one process, as the kernel counts them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
