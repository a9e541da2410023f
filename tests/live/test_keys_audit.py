"""A running sidecar exports the audit; ``audit verify`` verifies it meanwhile, and detects a modified file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.conftest import Start
from tests.live.support import Http, Process, cli, eventually, found_account

pytestmark = pytest.mark.slow


async def test_R32_the_fleet_exports_its_audit_once_verifiably(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], tmp_path: Path
) -> None:
    first = start(REDIS_URL=real_redis_url, wait=False)
    second = start(REDIS_URL=real_redis_url, wait=False)
    for process in (first, second):
        process.wait_ready()
    found_account(first)
    await http(first).sign_in("ada@example.com")
    assert cli(first.settings, "keys", "rotate").returncode == 0
    place = tmp_path / "state" / "audit.jsonl"

    def exported() -> bool:
        text = place.read_text() if place.exists() else ""
        return "keys.rotated" in text and "session.opened" in text and text.endswith("\n")

    await eventually(exported, 20)
    await eventually(lambda: place.read_text().splitlines()[-1].startswith('{"at"'), 10)
    assert place.stat().st_mode & 0o777 == 0o600
    done = cli(second.settings, "audit", "verify")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.startswith("0 findings: 2 logs, ")
    numbers = [line for line in place.read_text().splitlines() if '"action":"session.opened"' in line]
    assert len(numbers) == 1, "one of the two has exported it"

    place.write_text(place.read_text().replace("keys.rotated", "keys.revoked"))
    done = cli(second.settings, "audit", "verify")
    assert done.returncode == 1
    assert "was changed: its hash differs" in done.stdout
