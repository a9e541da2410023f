"""The filter of the document bans the addresses of failed sign-ins and step-ups, and no other line does."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from sidecar.api.sign_in_log import FailureEvent, FailureLog
from sidecar.telemetry.app_log import configure, logger

README = Path(__file__).resolve().parents[2] / "sidecar" / "server" / "README.md"
SPOOF = 'x", "address": "203.0.113.9", "message": "sign_in_failed"}'


@pytest.fixture
def log_lines(capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    """Lines as the sidecar writes them: two failures, and others with texts of a client."""
    before = structlog.get_config()
    configure("info", "json")
    failures = FailureLog()
    failures.failed(FailureEvent.SIGN_IN, "invalid_grant", address="192.0.2.7", request_id="abc-1")
    failures.failed(FailureEvent.STEP_UP, "wrong_code", address="2001:db8::1", request_id="A.b_2")
    failures.failed(FailureEvent.SIGN_IN, "invalid_grant", address="unix", request_id="abc-3")
    logger("identity").warning("mail not sent", error=SPOOF)
    logger("sign-in").warning("sign_in_failed: unknown e-mail", count=3, addresses=["198.51.100.1", SPOOF])
    yield capsys.readouterr().err
    structlog.configure(**before)


def test_the_filter_takes_addresses_and_times(fail2ban_regex: str, log_lines: str, tmp_path: Path) -> None:
    [text] = re.findall(r"```ini\n(\[Definition\]\n.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "sidecar.conf").write_text(text)
    (tmp_path / "app.log").write_text(log_lines)
    words = [fail2ban_regex, "-o", "<ip> <time>", str(tmp_path / "app.log"), str(tmp_path / "sidecar.conf")]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={"TZ": "Asia/Tokyo", "PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 0, done
    found = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert [address for address, _ in found] == ["192.0.2.7", "2001:db8::1"]
    assert all(abs(float(at) - time.time()) < 600 for _, at in found), "the log has UTC, the machine another zone"


def test_the_document_names_the_jail(log_lines: str) -> None:
    jails = re.findall(r"```ini\n(\[sidecar\]\n.*?)```", README.read_text(), re.DOTALL)
    assert len(jails) == 1
    assert "filter = sidecar\n" in jails[0]
