"""Time until every sidecar of a fleet has dropped the copies that a revocation changed, and the caller's waiting time.

The sidecars are live copies as ``serve`` makes them, several per process. The measured instant is the removal of the
record from the last of them: from then on every decision uses the new state. All clocks are this machine's one.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sidecar.domain.users import Actor, UserId
from sidecar.store.connection import Store
from sidecar.store.live.change_feed import FeedEntry, FeedReset
from sidecar.store.live.replica import RecordReplica
from sidecar.store.outcomes import Changed
from sidecar.store.users import Users
from sidecar.telemetry.app_log import configure
from tests.bench.targets import ROOT, World

LEASE = 1.0
SIZES = (1, 10, 50)
PROCESSES = 10
PAUSE = 0.05
WANTED_MS = 50.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds from the call to: the last sidecar's event, any sidecar's, the response that all have applied it."""

    sidecars: int
    last: tuple[float, float, float]
    any: tuple[float, float, float]
    answered: tuple[float, float, float]


class Stopwatch:
    """The last listener of a live copy: an event that it receives has reached all others."""

    def __init__(self) -> None:
        self.heard_at: dict[int, float] = {}

    def apply(self, _partition: int, change: FeedEntry) -> None:
        self.heard_at[change.n] = time.monotonic()

    def on_heartbeat(self, _partition: int, _at: float) -> None:
        pass

    def flush(self, _tail: FeedReset) -> None:
        pass

    async def acknowledge(self, _partition: int, _n: int) -> None:
        pass


async def follow(url: str, count: int, name: str) -> None:
    """Run ``count`` live copies in a child until standard input ends, then print each event with its time."""
    configure("error", "json")  # to standard error: standard output has the times alone
    watches = [Stopwatch() for _ in range(count)]
    stores = [await Store.open(url) for _ in watches]
    tasks = []
    for number, (store, watch) in enumerate(zip(stores, watches, strict=True)):
        await store.check_meta()
        live = RecordReplica(store, id=f"{name}-{number}", lease=LEASE, clock=time.monotonic)
        live.followers.append(watch)
        tasks.append(asyncio.create_task(live.run()))
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    sys.stdout.write(json.dumps([watch.heard_at for watch in watches]))


async def measure(world: World, sidecars: int, *, changes: int) -> Spread:
    """Measure. ``world`` has users; each change ends all sessions of one of them."""
    children = _children(world.store_url, sidecars)
    store = await Store.open(world.store_url)
    await store.check_meta()
    fleet = RecordReplica(store, id="writer", lease=LEASE, clock=time.monotonic).fleet
    await _until_there(store, sidecars)
    fleet.flush(
        FeedReset(0, 0, new_data_set=False)
    )  # as its own feed would: silence proves nothing before a lease has expired
    await asyncio.sleep(LEASE + 0.3)
    users, called, answered = Users(store), {}, []
    for number in range(changes):
        uid = UserId(world.asked[number % len(world.asked)].person.id)
        began = time.monotonic()
        done = await users.sign_out_everywhere(uid, Actor.operator())
        if not isinstance(done, Changed):
            raise TypeError(f"no change: {done}")
        revocation = await fleet.wait_applied(done.position)
        if not revocation.complete:
            raise RuntimeError(f"incomplete: {revocation}")
        answered.append((time.monotonic() - began) * 1000)
        called[done.position.n] = began
        await asyncio.sleep(PAUSE)
    await store.close()
    heard = [watch for child in children for watch in _told(child)]
    delays = [[(watch[str(n)] - began) * 1000 for watch in heard] for n, began in called.items()]
    return Spread(
        sidecars,
        spread([max(each) for each in delays]),
        spread([delay for each in delays for delay in each]),
        spread(answered),
    )


def _children(url: str, sidecars: int) -> list["subprocess.Popen[str]"]:
    processes = min(PROCESSES, sidecars)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.fleet", url, str(sidecars // processes), f"f{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        for number in range(processes)
    ]


def _told(child: "subprocess.Popen[str]") -> list[dict[str, float]]:
    told: list[dict[str, float]] = json.loads(child.communicate(timeout=30)[0])
    return told


async def _until_there(store: Store, sidecars: int) -> None:
    while True:
        reply = await store.run("fleet", ["sc:{p00}:side"], [])
        if len(reply["all"]) >= sidecars:
            return
        await asyncio.sleep(0.05)


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return p50, p99, and the maximum."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], ordered[-1]


def lines(found: Sequence[Spread]) -> Iterator[str]:
    yield "| sidecars | last of them p50 / p99 / most ms | any p50 / p99 | answer to the caller p50 / p99 | wanted | |"
    yield "| ---: | ---: | ---: | ---: | ---: | --- |"
    for one in found:
        wanted = f"p99 < {WANTED_MS:g} ms, most < {LEASE * 1000:g} ms" if one.sidecars == SIZES[-1] else "–"
        good = one.last[1] < WANTED_MS and one.last[2] < LEASE * 1000
        verdict = ("ok" if good else "short") if one.sidecars == SIZES[-1] else ""
        last = " / ".join(f"{value:.1f}" for value in one.last)
        pair = [f"{values[0]:.1f} / {values[1]:.1f}" for values in (one.any, one.answered)]
        yield f"| {one.sidecars} | {last} | {pair[0]} | {pair[1]} | {wanted} | {verdict} |"


if __name__ == "__main__":
    asyncio.run(follow(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
