"""The systemd unit: systemd's own check of it, and its restrictions on a compromised sidecar."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[2] / "sidecar" / "templates" / "systemd" / "sidecar.service"
ANALYZE = shutil.which("systemd-analyze")
MOST_EXPOSED = 2.0
"""On systemd's scale of 10: "OK" ends at 5."""

pytestmark = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not here: install systemd")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with an existing program, which systemd-analyze requires."""
    here = tmp_path / "sidecar.service"
    here.write_text(UNIT.read_text().replace("/opt/sidecar/bin/sidecar", "/bin/true"))
    return here


def test_systemd_understands_all_of_it(unit: Path) -> None:
    ran = subprocess.run([str(ANALYZE), "verify", str(unit)], capture_output=True, text=True, check=False)
    about_ours = [line for line in ran.stderr.splitlines() if str(unit) in line or "sidecar.service" in line]
    assert about_ours == []


def test_a_sidecar_that_was_taken_over_can_do_little(unit: Path) -> None:
    words = [str(ANALYZE), "security", "--offline=true", "--no-pager", str(unit)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    exposure = re.search(r"Overall exposure level for sidecar.service: ([\d.]+)", ran.stdout)
    if exposure is None:
        pytest.skip(f"this systemd cannot look at a unit that is not loaded: {ran.stderr.strip()[:100]}")
    assert float(exposure[1]) <= MOST_EXPOSED
