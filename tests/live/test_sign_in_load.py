"""Sign-ins beside checks: concurrent hashing delays no check, memory is bounded, and timing reveals no user.

The figures are printed (``pytest -s``); the assertions are loose, because other work shares the machine.
"""

import asyncio
import http.client
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.conftest import Start
from tests.live.support import PASSWORD, Http, Person, Process, found_account

CROWD = 50
HASH_MIB = 19
TIMED = int(os.environ.get("SIDECAR_TEST_TIMED", "25"))

pytestmark = pytest.mark.slow
"""Wrong sign-ins of each kind that are timed; 200 for a figure worth quoting, and equal to within 10 %."""


class Heartbeat(threading.Thread):
    """One connection that sends a check every few milliseconds, outside the loop of the sign-ins."""

    def __init__(self, process: Process, person: Person) -> None:
        super().__init__(daemon=True)
        self._address = process.url.removeprefix("http://")
        self._headers = {
            "Authorization": f"Bearer {person.access}",
            "X-Forwarded-Method": "GET",
            "X-Forwarded-Uri": "/dashboard/billing/",
        }
        self._over = threading.Event()
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=5)
        while not self._over.wait(0.003):
            begun = time.perf_counter()
            connection.request("GET", "/check", headers=self._headers)
            response = connection.getresponse()
            response.read()
            self.seconds.append(time.perf_counter() - begun)
            self.statuses[response.status] += 1
        connection.close()

    def stop(self) -> None:
        self._over.set()
        self.join(10)

    def percentile(self, share: float) -> float:
        """Return milliseconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def peak_mib(process: Process) -> float:
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


async def test_fifty_sign_ins_at_once_hold_no_check_up(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    process = start(REDIS_URL=real_redis_url)
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    bob = await api.join(ada, "bob@example.com", "accountant")  # not one of the load: R15 ends its oldest sessions
    before = peak_mib(process)
    idle = Heartbeat(process, bob)
    idle.start()
    await asyncio.sleep(0.5)
    idle.stop()

    heartbeat = Heartbeat(process, bob)
    heartbeat.start()
    begun = time.monotonic()
    form = {"grant_type": "password", "username": "ada@example.com", "password": PASSWORD}
    answers = await asyncio.gather(*(api.ask("POST", "/token", data=form) for _ in range(CROWD)))
    took = time.monotonic() - begun
    heartbeat.stop()

    grown = peak_mib(process) - before
    print(  # noqa: T201 - the figure is the result
        f"\n{CROWD} sign-ins in {took:.2f} s; /check p50/p99/max "
        f"{heartbeat.percentile(0.5):.2f}/{heartbeat.percentile(0.99):.2f}/{heartbeat.percentile(1):.2f} ms over "
        f"{len(heartbeat.seconds)} (idle {idle.percentile(0.5):.2f}/{idle.percentile(0.99):.2f}); +{grown:.0f} MiB"
    )
    assert Counter(answer.status for answer in answers) == {200: CROWD}
    assert set(heartbeat.statuses) == {200}
    assert len(heartbeat.seconds) > 50
    assert heartbeat.percentile(0.99) < 150, "25 ms on an idle machine"
    threads = max(1, (os.cpu_count() or 1) - 1)
    assert grown < threads * HASH_MIB + 48


@pytest.mark.parametrize("named", [{"account": "Acme"}, {}], ids=["account named", "no account"])
async def test_an_unknown_email_takes_as_long_as_a_wrong_password(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], named: dict[str, str]
) -> None:
    process = start(REDIS_URL=real_redis_url, TRUSTED_PROXIES="127.0.0.1")
    found_account(process)
    api = http(process)
    took: dict[str, list[float]] = {"ada@example.com": [], "nobody@example.com": []}
    for number in range(TIMED):
        for email, seconds in took.items():
            # From many addresses, so that no limit applies.
            headers = {"X-Forwarded-For": f"10.{number // 250}.{number % 250}.{len(email)}"}
            form = {"grant_type": "password", "username": email, "password": "not the right one!", **named}
            begun = time.perf_counter()
            answer = await api.ask("POST", "/token", data=form, headers=headers)
            seconds.append(time.perf_counter() - begun)
            assert (answer.status, answer.body["error"]) == (400, "invalid_grant")
    # The lower quartile: other load on the machine lengthens some of the calls, and shortens none.
    known, unknown = (statistics.quantiles(seconds, n=4)[0] * 1000 for seconds in took.values())
    where = "an account" if named else "no account"
    print(  # noqa: T201
        f"\n{where} named: wrong password {known:.2f} ms, unknown e-mail {unknown:.2f} ms: "
        f"{unknown / known - 1:+.1%} ({TIMED} each)"
    )
    assert abs(unknown / known - 1) < (0.1 if TIMED >= 200 else 0.2)
