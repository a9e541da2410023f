"""`sidecar policy apply` over real sidecars: one switch, and no check of the older policy after it (R42)."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.live.conftest import Start
from tests.live.policy_support import Policy
from tests.live.support import Http, Process, cli, found_account
from tests.live.test_policy_reload import two_people

pytestmark = pytest.mark.slow

PATH = "/check/sections/billing/view"


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return Policy(tmp_path / "edited")


def applied(process: Process, policy: Policy, *words: str) -> tuple[int, str]:
    done = cli(process.settings, "policy", "apply", str(policy.folder), "--json", *words)
    return done.returncode, done.stdout or done.stderr


class Seen:
    """Generations of all checks, with the time at which each of them began."""

    def __init__(self) -> None:
        self.checks: list[tuple[float, int, str]] = []

    def after(self, moment: float) -> set[str]:
        return {generation for began, _, generation in self.checks if began > moment}


@asynccontextmanager
async def checking(api: Http, processes: Sequence[Process], token: str) -> AsyncIterator[Seen]:
    seen = Seen()

    async def one(process: Process) -> None:
        while True:
            began = time.monotonic()
            answer = await api.ask("GET", PATH, token=token, url=process.url)
            seen.checks.append((began, answer.status, answer.headers.get("X-Auth-Generation", "")))
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(one(process)) for process in processes]
    yield seen
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_R42_a_fleet_switches_once_and_never_goes_back(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], policy: Policy, tmp_path: Path
) -> None:
    shared = {"REDIS_URL": real_redis_url, "POLICY_SOURCE": "store", **policy.settings}
    first = start(**shared, STATE_DIR=str(tmp_path / "one"))
    second = start(**shared, STATE_DIR=str(tmp_path / "two"))
    found_account(first)
    ada, _ = await two_people(first)
    api, seed = http(first), policy.generation_of({})
    async with checking(api, (first, second), ada.access) as seen:
        policy.write(policy.commented("switch"))
        wanted = policy.generation_of(policy.files())
        status, text = await asyncio.to_thread(applied, first, policy, "--note", "a comment")
        done = time.monotonic()
        assert status == 0, text
        report = json.loads(text)
        assert (report["generation"], report["before"], report["complete"]) == (wanted, seed, True)
        await asyncio.sleep(0.5)
    assert seen.after(done) == {wanted}
    assert {generation for _, _, generation in seen.checks} == {seed, wanted}
    assert {status for _, status, _ in seen.checks} == {200}
    rows = json.loads(cli(first.settings, "policy", "history", "--json").stdout)
    assert [(row["generation"], row["note"]) for row in rows] == [
        (wanted, "a comment"),
        (seed, "the policy files of the first sidecar"),
    ]
    place = tmp_path / "exported"
    assert cli(first.settings, "policy", "export", seed[:8], str(place)).returncode == 0
    assert (place / "policy.csv").read_bytes() == policy.shipped["policy.csv"]
    back = cli(first.settings, "policy", "apply", seed[:8], "--json")
    assert json.loads(back.stdout)["generation"] == seed, back.stderr


async def test_R42_a_stopped_sidecar_blocks_and_serves_no_old_policy(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], policy: Policy, tmp_path: Path
) -> None:
    shared = {"REDIS_URL": real_redis_url, "POLICY_SOURCE": "store", **policy.settings}
    first = start(**shared, STATE_DIR=str(tmp_path / "one"))
    frozen = start(**shared, STATE_DIR=str(tmp_path / "two"), own=True)
    found_account(first)
    ada, _ = await two_people(first)
    api = http(first)
    frozen.popen.send_signal(signal.SIGSTOP)
    try:
        policy.write(policy.commented("switch"))
        status, text = await asyncio.to_thread(applied, first, policy, "--wait", "3s")
        assert status == 1
        assert "nothing was changed" in text
        name = text.split(" is silent")[0].split()[-1]
        answer = await api.ask("GET", PATH, token=ada.access)
        assert answer.headers.get("X-Auth-Generation", "") == policy.generation_of({})
        status, text = await asyncio.to_thread(applied, first, policy, "--without", name)
        assert (status, json.loads(text)["passed"]) == (0, [name])
    finally:
        frozen.popen.send_signal(signal.SIGCONT)
    wanted = policy.generation_of(policy.files())
    deadline, found = time.monotonic() + 20, ""
    while found != wanted and time.monotonic() < deadline:
        answer = await api.ask("GET", PATH, token=ada.access, url=frozen.url)
        found = answer.headers.get("X-Auth-Generation", "")
        assert found in {wanted, ""}, "not one check by the generation of before"
        await asyncio.sleep(0.01)
    assert found == wanted
