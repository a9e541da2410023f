"""Load by wrk, pinned to another core than the server's: closed loop, or paced for a share of the full rate."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.wire import Request

LOAD_CORE = 1
CONNECTIONS = 32

SCRIPT = """
local requests, count, i, once, think = {}, 0, 0, false, 0
function init(args)
  local file = io.open(args[1], "rb")
  for raw in file:read("*a"):gmatch("([^%z]+)%z") do count = count + 1; requests[count] = raw end
  file:close()
  once = args[2] == "once"
  math.randomseed(7)
end
function request()
  i = i + 1
  if i > count then
    if once then wrk.thread:stop() end
    i = 1
  end
  return requests[i]
end
function done(summary, latency)
  io.write(string.format('{"requests": %d, "micros": %d, "refused": %d, "failed": %d, "p50": %.1f, "p99": %.1f}\\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""

PACE = """
local mean = %.6f
function delay()
  local wait = -math.log(1 - math.random()) * mean
  local whole = math.floor(wait)
  if math.random() < wait - whole then whole = whole + 1 end
  return whole
end
"""
"""Milliseconds that wrk waits before a connection's next request: exponential, whole, with the right mean."""


@dataclass(frozen=True, slots=True)
class Run:
    """Results of wrk. Latencies in milliseconds; ``refused`` are responses of 400 and above, denials among them."""

    requests: int
    seconds: float
    refused: int
    failed: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


class Load:
    """Requests in rotation, written once to a file that wrk's script reads."""

    def __init__(self, folder: Path, requests: Sequence[Request]) -> None:
        self._folder = folder
        self.count = len(requests)
        self._requests = folder / "requests"
        self._requests.write_bytes(b"".join(request.raw + b"\0" for request in requests))

    def run(
        self, port: int, seconds: int, *, connections: int = CONNECTIONS, pause: float = 0.0, once: bool = False
    ) -> Run:
        """Run wrk. ``pause``: average milliseconds between two requests of a connection. ``once``: no repetition."""
        script = self._folder / "load.lua"
        script.write_text(SCRIPT + (PACE % pause if pause else ""))
        words = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
        words += ["--timeout", "10s", "-s", str(script), f"http://127.0.0.1:{port}/", "--", str(self._requests)]
        words.append("once" if once else "again")
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return read_run(done.stdout, done.stderr)


def read_run(output: str, errors: str = "") -> Run:
    """Parse wrk's report, which ends in our line of JSON."""
    last = output.strip().rpartition("\n")[2]
    if not last.startswith("{"):
        raise RuntimeError(f"wrk failed: {(errors or output)[-500:]}")
    told = json.loads(last)
    return Run(
        told["requests"],
        told["micros"] / 1e6,
        told["refused"],
        told["failed"],
        told["p50"] / 1000,
        told["p99"] / 1000,
    )


@contextmanager
def loading(requests: Sequence[Request], make: type[Load] = Load) -> Iterator[Load]:
    folder = Path(tempfile.mkdtemp(prefix="bench-load-"))
    try:
        yield make(folder, requests)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
