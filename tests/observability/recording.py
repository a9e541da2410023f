"""A recording of a healthy sidecar: the metrics of two scrapes, 15 seconds of light traffic apart.

``python -m tests.observability.recording`` makes it again, after a change of the metrics. A line of the file has the
series and the two values, separated by tabs. Times are relative to the second scrape.
"""

import asyncio
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.live.support import Http, Process, begin, found_account
from tests.ports import free_port

FILE: Final = Path(__file__).with_name("healthy.tsv")
INTERVAL: Final = 15

Scrape = dict[str, float]


def scraped(process: Process) -> Scrape:
    """Return the values of all series, without ``_created`` ones."""
    with urllib.request.urlopen(f"{process.ops}/metrics") as response:  # noqa: S310 (loopback)
        text = response.read().decode()
    found: Scrape = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                labels = ", ".join(f'{name}="{value}"' for name, value in sample.labels.items())
                found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


async def traffic(process: Process) -> None:
    """Send checks, sign-ins and API requests for one interval."""
    until = time.monotonic() + INTERVAL
    async with aiohttp.ClientSession() as session:
        client = Http(session, process.url)
        while time.monotonic() < until:
            user = await client.sign_in("ada@example.com")
            for _ in range(20):
                assert (await client.check("/dashboard/billing/", token=user.access)).status == 200
            assert (await client.check("/dashboard/billing/")).status == 401
            assert (await client.ask("GET", "/v1/me", token=user.access)).status == 200
            await asyncio.sleep(2)


def record(folder: Path) -> None:
    process = _started(folder)
    try:
        process.wait_ready(300)
        found_account(process)
        asyncio.run(traffic(process))
        first = scraped(process)
        asyncio.run(traffic(process))
        second, now = scraped(process), time.time()
    finally:
        process.stop(seconds=60)
    FILE.write_text("".join(_lines(first, second, now)))


def _started(folder: Path) -> Process:
    port, ops = free_port(), free_port()
    settings = {
        "LISTEN": f"127.0.0.1:{port}",
        "OPS_LISTEN": f"127.0.0.1:{ops}",
        "STATE_DIR": str(folder / "state"),
        "ISSUER": "http://sidecar.test",
        "DECISION_LOG": str(folder / "decisions.log"),
    }
    log = folder / "sidecar.log"
    with log.open("wb") as sink:
        popen = begin(settings, sink, own=True)
    return Process(popen, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{ops}", log, settings)


def _lines(first: Scrape, second: Scrape, now: float) -> Iterator[str]:
    for series, value in second.items():
        shift = now if "timestamp_seconds" in series or "start_time_seconds" in series else 0.0
        before = first.get(series, shift)
        yield f"{series}\t{before - shift:.12g}\t{value - shift:.12g}\n"


def healthy() -> list[tuple[str, float, float]]:
    """Return series and both values of each line."""
    rows = [line.split("\t") for line in FILE.read_text().splitlines()]
    return [(series, float(first), float(second)) for series, first, second in rows]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        record(Path(name))
