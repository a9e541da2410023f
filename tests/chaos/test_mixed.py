"""Zero answers older than their revision allows: seconds of it in the suite, five minutes by command.

``SIDECAR_TEST_CHAOS=full python -m pytest -q -s tests/chaos/test_mixed.py``
"""

import asyncio
import os
import shutil
import statistics
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from sidecar.sources.policy_files import packaged
from tests.chaos.faults import Faults
from tests.chaos.mixed import CONDITIONS, Mixed, Report
from tests.chaos.rig import FULL, RedisServer, Relay
from tests.chaos.stepped_clock import NoCompilerError, SteppedClock
from tests.live.conftest import Start
from tests.live.support import Http, Process, cli, found_account

SECONDS = 300.0 if FULL else 5.0
FAULTS = 300.0 if FULL else 12.0
"""Seconds of the run with faults; it goes on until each fault has been."""
UNAVAILABLE_SHARE = 0.01 if FULL else 0.1
"""The suite's machine may be slower than the store's time-out for a moment; a denial for it is no wrong answer."""
SEED = int(os.environ.get("SIDECAR_TEST_SEED", "20261124"))

pytestmark = pytest.mark.slow


@dataclass
class Stage:
    """Two sidecars on one store, an account and its administrator, a PEP, and the policy of the run."""

    api: Http
    processes: list[Process]
    mixed: Mixed


@pytest.fixture
def stage(start: Start, http: Callable[[Process], Http], tmp_path: Path) -> Callable[..., Awaitable[Stage]]:
    """``await stage(url)``. A relay runs on this loop: what blocks is done in threads.

    ``clocks``: those of the two sidecars, if they are stepped.
    """

    async def made(url: str, clocks: Sequence[SteppedClock] = ()) -> Stage:
        shipped, model = packaged()
        policy = tmp_path / "policy"
        shutil.copytree(shipped, policy)
        (policy / "conditions.toml").write_text(CONDITIONS)
        settings = {
            "REDIS_URL": url,
            "POLICY_DIR": str(policy),
            "MODEL": str(model),
            "TRUSTED_PROXIES": "127.0.0.1",
        }
        processes = []
        for number in range(2):
            with clocks[number].applied() if clocks else nullcontext():
                own = bool(clocks)  # the fork server's children have its clock
                processes.append(await asyncio.to_thread(start, own=own, **settings))
        await asyncio.to_thread(found_account, processes[0], seats=20)
        words = ("pep", "create", "chaos", "--account", "Acme", "--rate", "10000")
        made = await asyncio.to_thread(cli, processes[0].settings, *words)
        assert made.returncode == 0, made
        api = http(processes[0])
        ada = await api.sign_in("ada@example.com")
        mixed = Mixed(api, processes, ada, made.stdout.strip(), policy, model, SEED)
        mixed.clocks = clocks
        return Stage(api, processes, mixed)

    return made


def judged(report: Report) -> None:
    click.echo(
        f"\n{report.answers} answers {dict(report.questions)}; {dict(report.changes)}; {report.unavailable} unavailable"
    )
    assert report.wrong == [], f"{len(report.wrong)} wrong with seed {SEED}; the first: {report.wrong[:3]}"
    assert report.unavailable <= report.answers * UNAVAILABLE_SHARE


async def test_no_answer_is_older_than_its_revision_allows(
    stage: Callable[..., Awaitable[Stage]], real_redis_url: str, tmp_path: Path
) -> None:
    try:
        clocks = [SteppedClock(tmp_path, name) for name in ("first", "second")]
    except NoCompilerError as missing:
        clocks = []
        click.echo(f"\nno clock is stepped: {missing}")
    report = await (await stage(real_redis_url, clocks)).mixed.run(SECONDS)
    judged(report)
    assert set(report.changes) >= {"role", "password", "sign-in", "suspend", "resume"}
    assert set(report.changes) & {"policy", "need"}
    assert report.changes["clock step"] > 0 or not clocks
    assert set(report.changes) >= {"enrolment", "step-up", "factor removal"} or not FULL
    assert report.answers > 100 * SECONDS


async def test_R46_R48_store_faults_never_allow_a_denied_request(
    stage: Callable[..., Awaitable[Stage]], redis_server: Callable[..., RedisServer]
) -> None:
    server, other = redis_server(), redis_server()
    async with Relay(server.port) as relay:
        made = await stage(relay.url)
        mixed = made.mixed
        faults = Faults(
            server,
            other,
            relay,
            made.api,
            made.processes,
            mixed.calm,
            mixed.idle,
            mixed.states,
            mixed.doubts,
            mixed.settle,
        )
        report = await mixed.run(FAULTS, faults=faults)
    found = faults.report
    click.echo(
        f"\nfaults {dict(found.done)}; open again after {statistics.median(found.seconds):.2f} s, at most "
        f"{max(found.seconds):.2f} s; meanwhile {dict(found.answers)}; users {dict(found.users)}"
    )
    judged(report)
    assert set(found.done) == set(faults.kinds())
    assert found.users["held, reviewed"] + found.users["held, removed again"] > 0
    assert found.answers["unavailable"] > 0
    assert all(process.popen.poll() is None for process in made.processes), "a sidecar has ended"
