"""What outlives a pod: the audit on standard output, and the last good policy in the store."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.sources.policy_files import packaged
from tests.live.conftest import Start
from tests.live.support import Http, Process, cli, eventually, found_account

pytestmark = pytest.mark.slow


async def test_R25_R32_a_new_pod_needs_nothing_of_the_old_ones(
    start: Start, http: Callable[[Process], Http], real_redis_url: str, tmp_path: Path
) -> None:
    shipped, model = packaged()
    bad = tmp_path / "bad"
    shutil.copytree(shipped, bad)
    (bad / "policy.csv").write_bytes((bad / "policy.csv").read_bytes() + b"p, marketeer, billing, view, allow\n")
    pod = {"REDIS_URL": real_redis_url, "MODEL": str(model), "AUDIT_SINK": "stdout"}
    rejected = start(**pod, POLICY_DIR=str(bad), STATE_DIR=str(tmp_path / "empty"), wait=False)
    await eventually(lambda: rejected.popen.poll() is not None, 30)
    assert rejected.popen.returncode == 2, "no sidecar has kept a good policy yet"
    assert "unknown-role" in rejected.output()

    old = start(**pod, POLICY_DIR=str(shipped), STATE_DIR=str(tmp_path / "old"))
    found_account(old)
    ada = await http(old).sign_in("ada@example.com")
    generation = (await http(old).ask("GET", "/status", url=old.ops)).body["generation"]
    await eventually(lambda: '"action":"session.opened"' in old.output(), 20)
    assert old.stop() == 0

    new = start(**pod, POLICY_DIR=str(bad), STATE_DIR=str(tmp_path / "new"))
    status = (await http(new).ask("GET", "/status", url=new.ops)).body
    assert (status["generation"], status["state"]) == (generation, "rejected")
    assert "this state directory keeps no good policy; the store's is served" in new.output()
    allowed = await http(new).check("/dashboard/billing/x", token=ada.access)
    assert (allowed.status, allowed.headers["X-Auth-Generation"]) == (200, generation)

    await http(new).sign_in("ada@example.com")
    await eventually(lambda: '"action":"session.opened"' in new.output(), 60)  # after the old pod's lease
    await eventually(lambda: '"checkpoint"' in new.output(), 10)
    outputs = [str(process.log) for process in (new, old)]
    done = cli(new.settings, "audit", "verify", "--stdout", *outputs)
    assert (done.returncode, done.stdout.partition(":")[0]) == (0, "0 findings"), done
