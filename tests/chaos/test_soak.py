"""Soak: minutes at 80 % of capacity with policy edits, sign-ins and role changes. Memory, descriptors and p99 stay.

In full, ten minutes: ``SIDECAR_TEST_CHAOS=full python -m pytest -q -s tests/chaos/test_soak.py``. The short form checks
answers and descriptors; a slope of memory needs minutes.
"""

import asyncio
import random
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest

from sidecar.sources.policy_files import packaged
from tests.chaos.rig import FULL
from tests.chaos.scenario import Scenario, any_of, settle
from tests.chaos.traffic import Seen, ask
from tests.live.conftest import Start
from tests.live.support import PASSWORD, Http, Process

SECONDS = 600.0 if FULL else 6.0
SHARE = 0.8
CLIENTS = 8
SEED = 20261130
SLOPE_KIB_PER_MINUTE = 1024
DESCRIPTORS = 16
"""Descriptors by which two samples may differ: connections that open and close."""

pytestmark = pytest.mark.slow


@dataclass
class Samples:
    """Memory and descriptors of one process over time, and the durations of checks."""

    pid: int
    at: list[float] = field(default_factory=list)
    kib: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    checks: list[tuple[float, float]] = field(default_factory=list)

    def take(self) -> None:
        status = Path(f"/proc/{self.pid}/status").read_text()
        self.at.append(time.monotonic())
        self.kib.append(int(status.partition("VmRSS:")[2].split()[0]))
        self.descriptors.append(len(list(Path(f"/proc/{self.pid}/fd").iterdir())))

    def slope(self) -> float:
        """Return KiB per minute over the second half."""
        half = len(self.at) // 2
        return statistics.linear_regression(self.at[half:], self.kib[half:]).slope * 60

    def p99(self, part: int, parts: int = 4) -> float:
        """Return the 99th percentile of one part of the run, in seconds."""
        length = len(self.checks) // parts
        durations = sorted(took for _, took in sorted(self.checks)[part * length : (part + 1) * length])
        return durations[len(durations) * 99 // 100]


class Soak:
    """The traffic: paced checks, and one change of each kind after the other."""

    def __init__(self, http: Http, town: Scenario, policy: Path, samples: Samples) -> None:
        self.http, self.town, self.policy, self.samples = http, town, policy, samples
        self.wrong: list[Seen] = []
        self.done = 0
        self.changes = 0

    async def capacity(self, seconds: float) -> float:
        """Return checks per second of clients that never pause."""
        before, end = self.done, time.monotonic() + seconds
        await asyncio.gather(*(self._client(random.Random(n), end, 0) for n in range(CLIENTS)))
        return (self.done - before) / seconds

    async def run(self, rate: float, seconds: float) -> None:
        end = time.monotonic() + seconds
        clients = (self._client(random.Random(f"{SEED} {n}"), end, CLIENTS / rate) for n in range(CLIENTS))
        await asyncio.gather(*clients, self._change(end), self._sample(end))

    async def _client(self, chance: random.Random, end: float, pause: float) -> None:
        pick, due = any_of(self.town.questions()), time.monotonic()
        while time.monotonic() < end:
            seen = await ask(self.http, pick(chance), self.http.url)
            self.done += 1
            if pause:
                self.samples.checks.append((seen.sent, seen.received - seen.sent))
            if not seen.right:
                self.wrong.append(seen)
            due += pause
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _change(self, end: float) -> None:
        rules = self.policy / "policy.csv"
        original, eve = rules.read_bytes(), await self.http.join(self.town.ada, "eve@example.com", "marketer")
        while time.monotonic() < end:
            self.changes += 1
            role = ("developer", "marketer")[self.changes % 2]
            path = f"/v1/users/{eve.id}"
            changed = await self.http.ask("PATCH", path, token=self.town.ada.access, json={"role": role})
            assert changed.status == 200, changed
            form = {"grant_type": "password", "username": "eve@example.com", "password": PASSWORD}
            assert (await self.http.ask("POST", "/token", data=form)).status == 200
            rules.write_bytes(original + b"# %d\n" % self.changes)
            await asyncio.sleep(2)

    async def _sample(self, end: float) -> None:
        while time.monotonic() < end:
            self.samples.take()
            await asyncio.sleep(max(0.2, SECONDS / 200))


def quarters(samples: Samples) -> Sequence[str]:
    return [f"{samples.p99(part) * 1000:.1f} ms" for part in range(4)]


async def test_a_soak_leaves_memory_descriptors_and_p99_steady(
    start: Start, http: Callable[[Process], Http], real_redis_url: str, tmp_path: Path
) -> None:
    shipped, model = packaged()
    policy = tmp_path / "policy"
    shutil.copytree(shipped, policy)
    process = start(own=True, REDIS_URL=real_redis_url, POLICY_DIR=str(policy), MODEL=str(model))
    api = http(process)
    soak = Soak(api, await settle(api, process), policy, Samples(process.popen.pid))
    rate = SHARE * await soak.capacity(SECONDS / 30)
    await soak.run(rate, SECONDS)
    samples = soak.samples
    click.echo(
        f"\n{len(samples.checks)} checks at {rate:.0f}/s, {soak.changes} changes; memory {samples.kib[-1]} KiB, "
        f"{samples.slope():+.0f} KiB a minute; descriptors {min(samples.descriptors)} to {max(samples.descriptors)}; "
        f"p99 by quarters {quarters(samples)}"
    )
    assert soak.wrong == []
    steady = samples.descriptors[len(samples.descriptors) // 4 :]
    assert max(steady) - min(steady) <= DESCRIPTORS
    if FULL:
        assert samples.slope() <= SLOPE_KIB_PER_MINUTE
        assert samples.p99(3) <= 2 * samples.p99(1)
