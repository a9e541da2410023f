"""A reload storm: valid and invalid edits in quick succession, under load. Every response is that of a valid policy; no
error occurs and no resource grows.

Seeded and short here; the long form of 200 edits in 20 seconds: ``SIDECAR_TEST_FULL=1`` (tests/README.md).
"""

import asyncio
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.conftest import Start
from tests.live.policy_support import FULL, Load, Policy, expecting, load, serves, status, until
from tests.live.support import Http, Process, found_account

EDITS, SECONDS = (200, 20.0) if FULL else (40, 4.0)
BILLING = "/dashboard/billing"
MEBIBYTE = 1024 * 1024


class Storm:
    """Edits, and the expectation of each valid one for marketers and bills. The same seed makes the same storm."""

    def __init__(self, policy: Policy, seed: int) -> None:
        self._policy = policy
        self._random = random.Random(seed)
        self.expected = {policy.generation_of({}): 403}
        self.good = self.bad = 0

    def edit(self, number: int) -> None:
        if self._random.random() < 0.6:
            self._good(number)
        else:
            self._bad()

    def _good(self, number: int) -> None:
        policy = self._policy
        granted = self._random.random() < 0.5
        edit = policy.granting(f"storm {number}") if granted else policy.commented(f"storm {number}")
        self.expected[policy.generation_of(edit)] = 200 if granted else 403
        self.good += 1
        # Two files: between the writes they contradict each other, and the sidecar must reject them.
        files = list({**policy.shipped, **edit}.items())
        self._random.shuffle(files)
        self._random.choice((policy.write, policy.rename))(dict(files))

    def _bad(self) -> None:
        policy = self._policy
        content = policy.shipped["policy.csv"]
        self.bad += 1
        match self._random.randrange(6):
            case 0:
                policy.write({"policy.csv": content[: self._random.randrange(len(content))] + b"p, "})
            case 1:
                policy.write({"policy.csv": content.replace(b"marketer", b"marketeer", 1)})
            case 2:
                policy.write({"policy.csv": b"\xef\xbb\xbf" + content})
            case 3:
                policy.write({"expectations.csv": expecting(policy.shipped, "allow").replace(b"allow", b"deny", 1)})
            case 4:
                policy.path("sections.toml").unlink(missing_ok=True)
            case _:
                policy.write({"roles.toml": b""})


@pytest.mark.slow
async def test_a_reload_storm(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], tmp_path: Path
) -> None:
    policy = Policy(tmp_path / "edited")
    process = start(REDIS_URL=real_redis_url, **policy.settings)
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    mark = await api.join(ada, "mark@example.com", "marketer")
    storm = Storm(policy, seed=20261124)

    async with load(process, mark.access, BILLING) as answers:
        await blow(storm, process, 0, EDITS // 4)
        before = memory(process)
        await blow(storm, process, EDITS // 4, EDITS)
        grown = memory(process) - before
        last = policy.commented("after the storm")
        storm.expected[policy.generation_of(last)] = 403
        policy.write({**policy.shipped, **last})
        await until(serves(api, process, policy.generation_of(last)))

    belong_to_a_good_policy(answers, storm)
    assert len(answers.generations) > 1, "some of them were active for a while"
    assert (await status(api, process))["diagnostics"] == []
    assert grown < 12 * MEBIBYTE, f"{grown / MEBIBYTE:.1f} MiB more after {EDITS * 3 // 4} edits"
    assert "Traceback" not in process.output()
    print(  # noqa: T201 - the figures of the long form, with -s
        f"\n{storm.good} good and {storm.bad} bad edits, {len(answers.generations)} generations seen, "
        f"{len(answers.seen)} answers, {grown / MEBIBYTE:+.1f} MiB"
    )


async def blow(storm: Storm, process: Process, first: int, last: int) -> None:
    pause = SECONDS / EDITS
    for number in range(first, last):
        storm.edit(number)
        if number % 7 == 0:
            process.popen.send_signal(signal.SIGHUP)
        await asyncio.sleep(pause)


def belong_to_a_good_policy(answers: Load, storm: Storm) -> None:
    for answer in answers.seen:
        assert answer.generation in storm.expected, "a policy that was never written, or never valid"
        assert answer.status == storm.expected[answer.generation]


def memory(process: Process) -> int:
    """Return the sidecar's resident bytes (VmRSS)."""
    for line in Path(f"/proc/{process.popen.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")
