"""Zero answers older than their revision allows: seconds of it in the suite, five minutes by command.

``SIDECAR_TEST_CHAOS=full python -m pytest -q -s tests/chaos/test_mixed.py``
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from sidecar.sources.policy_files import packaged
from tests.chaos.mixed import Mixed
from tests.chaos.rig import FULL
from tests.live.conftest import Start
from tests.live.support import Http, Process, cli, found_account

SECONDS = 300.0 if FULL else 5.0
SEED = int(os.environ.get("SIDECAR_TEST_SEED", "20261124"))

pytestmark = pytest.mark.slow


async def test_no_answer_is_older_than_its_revision_allows(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], tmp_path: Path
) -> None:
    shipped, model = packaged()
    policy = tmp_path / "policy"
    shutil.copytree(shipped, policy)
    settings = {
        "REDIS_URL": real_redis_url,
        "POLICY_DIR": str(policy),
        "MODEL": str(model),
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    processes = [start(**settings), start(**settings)]
    found_account(processes[0], seats=20)
    made = cli(processes[0].settings, "pep", "create", "chaos", "--account", "Acme", "--rate", "10000")
    assert made.returncode == 0, made
    api = http(processes[0])
    ada = await api.sign_in("ada@example.com")

    report = await Mixed(api, processes, ada, made.stdout.strip(), policy, model, SEED).run(SECONDS)
    click.echo(
        f"\n{report.answers} answers {dict(report.questions)}; {dict(report.changes)}; {report.unavailable} unavailable"
    )
    assert report.wrong == [], f"{len(report.wrong)} wrong with seed {SEED}; the first: {report.wrong[:3]}"
    assert report.unavailable <= report.answers * 0.01
    assert set(report.changes) >= {"role", "password", "sign-in", "policy", "suspend", "resume"}
    assert report.answers > 100 * SECONDS
