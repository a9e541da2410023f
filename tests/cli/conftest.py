"""Run the command in this process, as a user would in a folder of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidecar.cli.main import run


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


Sidecar = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sidecar:
    """``cli("config", "--json")`` → status, stdout, stderr. Runs in an empty folder, with no settings around."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> Outcome:
        status = run(argv)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call
