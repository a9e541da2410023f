"""Run the command in this process, in an empty folder."""

import io
import os
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
    """``cli("config", "--json")`` → status, stdout, stderr. Runs in an empty folder, without settings in the
    environment.
    """
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SIDECAR_")]:
        monkeypatch.delenv(name)

    def call(*argv: str) -> Outcome:
        status = run(argv)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], None]:
    """``typed("secret\\n")``: the content of standard input, which is no terminal."""

    def put(text: str | bytes) -> None:
        raw = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))

    return put


@pytest.fixture
def at_store(
    cli: Sidecar, typed: Callable[[str | bytes], None], real_redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Sidecar:
    """``cli`` on a real, empty store with the account Acme and its administrator. A change waits for a short lease."""
    monkeypatch.setenv("SIDECAR_LEASE", "100ms")

    def call(*argv: str) -> Outcome:
        return cli(*argv, "--redis-url", real_redis_url)

    typed("five green bottles on a wall\n")
    made = call(
        "account", "create", "Acme", "--admin-email", "Ada@Acme.example", "--admin-name", "Ada", "--password-stdin"
    )
    assert made.status == 0, made.err
    return call
