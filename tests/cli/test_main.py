"""Every verb exits with a documented status and at most one line on stderr, and starts fast."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from sidecar.cli import main
from sidecar.cli.lazy_group import LazyGroup
from sidecar.cli.output import CliError, answer_no, plain, unavailable, usage_error

ROOT = Path(__file__).resolve().parents[2]


def one_line(text: str) -> bool:
    return text.count("\n") == 1 and text.endswith("\n")


def test_version(cli: Any) -> None:
    done = cli("version")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("policy-sidecar 1.")
    assert cli("--version").out.startswith("policy-sidecar 1.")


def test_without_a_verb_the_help_and_status_2(cli: Any) -> None:
    done = cli()
    assert done.status == 2
    assert "Commands:" in done.err


def test_help_names_every_verb(cli: Any) -> None:
    done = cli("--help")
    assert done.status == 0
    for verb in main.VERBS:
        assert f"\n  {verb} " in done.out


@pytest.mark.parametrize("verb", main.VERBS)
def test_every_verb_loads_and_helps(cli: Any, verb: str) -> None:
    done = cli(verb, "--help")
    assert (done.status, done.err) == (0, "")
    assert "Usage: sidecar" in done.out


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["confg"], "did you mean config?"),
        (["xyzzy"], "sidecar --help"),
        (["config", "--nope"], "--nope"),
        (["config", "stray"], "stray"),
        (["config", "--lease", "soon"], "--lease"),
        (["config", "--lease"], "--lease"),
        (["--nope"], "--nope"),
    ],
    ids=str,
)
def test_wrong_usage_is_one_line_and_status_2(cli: Any, argv: list[str], part: str) -> None:
    done = cli(*argv)
    assert done.status == 2
    assert one_line(done.err)
    assert part in done.err
    assert done.out == ""


def failing(error: BaseException) -> Callable[..., None]:
    @click.command()
    def verb() -> None:
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (answer_no("no seat"), 1, "sidecar: no seat\n"),
        (usage_error("bad"), 2, "sidecar: bad\n"),
        (unavailable("nobody"), 3, "sidecar: nobody\n"),
        (click.UsageError("bad"), 2, "sidecar: bad (see sidecar version --help)\n"),
        (click.Abort(), 130, ""),
        (KeyboardInterrupt(), 130, None),
        (RuntimeError("two\nlines"), 70, None),
        (SystemError(), 70, None),
    ],
    ids=repr,
)
def test_every_end(
    cli: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, said: str | None
) -> None:
    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: failing(error))
    done = cli("version")
    assert done.status == status
    assert "Traceback" not in done.err
    assert done.err.count("\n") <= 1 or isinstance(error, KeyboardInterrupt)
    if said is not None:
        assert done.err == said


def test_debug_shows_a_fault(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: failing(RuntimeError("bug")))
    with pytest.raises(RuntimeError, match="bug"):
        cli("--debug", "version")


def test_stop_carries_its_status() -> None:
    assert CliError(3, "x").status == 3


def test_text_from_people_cannot_drive_the_terminal() -> None:
    assert plain("a\x1b[31mb\n\u202ec\u200b") == "a\\x1b[31mb\\n\\u202ec\\u200b"
    assert plain("Zoë 中文 🙂") == "Zoë 中文 🙂"


def test_closed_pipe_is_no_fault() -> None:
    script = "import sys; from sidecar.cli.main import run; sys.exit(run(['config', '--json']))"
    env = {name: text for name, text in os.environ.items() if not name.startswith("SIDECAR_")}
    child = subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait() == 141


def child(*argv: str, closing: str = "", **env: str) -> "subprocess.CompletedProcess[bytes]":
    """Run the command in its own process; ``closing`` are the streams that a shell closes."""
    line = f'exec "$@" {closing}'
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SIDECAR_")}
    return subprocess.run(
        ["/bin/sh", "-c", line, "sh", sys.executable, "-m", "sidecar", *argv],
        env={**kept, **env},
        capture_output=True,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's full disk")
@pytest.mark.parametrize(
    "argv", [["version"], ["config", "--json"], ["policy", "matrix"], ["policy", "check", "--json"]]
)
def test_a_full_disk_behind_standard_output_is_one_error_line(argv: list[str]) -> None:
    done = child(*argv, closing="> /dev/full")
    assert (done.returncode, done.stderr) == (2, b"sidecar: standard output: No space left on device\n")


def test_a_closed_standard_output_fails_if_there_is_output() -> None:
    done = child("policy", "matrix", closing=">&-")
    assert (done.returncode, done.stderr) == (2, b"sidecar: standard output: Bad file descriptor\n")
    assert child("policy", "check", closing=">&-").returncode == 0, "no output on success"
    assert child("policy", "check", "--policy-dir", "nowhere", closing="2>&-").returncode == 2
    unread = child("policy", "replay", "-", closing="<&-")
    assert (unread.returncode, unread.stderr) == (2, b"sidecar: - holds no decision of the policy: it is empty\n")


def test_a_character_that_the_terminal_does_not_know_is_spelled(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    with (tmp_path / "policy" / "policy.csv").open("a", encoding="utf-8") as file:
        file.write("p, \u0434\u0430, billing, view, allow\n")
    for form in ("text", "json"):
        words = ["policy", "check", "--policy-dir", str(tmp_path / "policy"), "--format", form]
        done = child(*words, PYTHONIOENCODING="latin1")
        assert (done.returncode, done.stderr) == (1, b"")
        assert b"\\u0434\\u0430" in done.stdout


def test_a_file_that_may_not_be_looked_at_is_named(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    for name in ("is_dir", "exists", "is_symlink"):
        monkeypatch.setattr(Path, name, refused)
    assert cli("policy", "check", "--policy-dir", "x/policy").err == "sidecar: x/policy: Permission denied\n"
    for argv in (["policy", "diff", "x"], ["init", "x"], ["config", "--keys-dir", "x"], ["user", "list"]):
        done = cli(*argv)
        assert done.status == 2, argv
        assert done.err.endswith("Permission denied\n")
        assert done.err.count("\n") == 1 + ("packaged" in done.err)


@pytest.mark.parametrize("verb", ["version", "config", "health", "policy"])
def test_short_verbs_start_without_the_web_server(verb: str) -> None:
    """A probe or a pre-commit hook runs often: it must not import aiohttp (200 ms), redis or the log library."""
    script = f"""
import sys
from sidecar.cli.main import run
run([{verb!r}, "--help"])
heavy = {{"aiohttp", "redis", "structlog", "prometheus_client", "argon2", "uvloop", "rich"}} & set(sys.modules)
sys.exit(f"loaded: {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ("\udcff",),
        ("account", "show", "Z\udcff"),
        ("account", "create", "A", "--admin-email", "\udcffa@b.example", "--password-stdin"),
        ("policy", "check", "--policy-dir", "\udcff"),
        ("backup", "\udcff"),
        ("config", "--state-dir=\udcff"),
        ("token", "inspect", "--config", "\udcff"),
    ],
)
def test_an_argument_that_is_no_utf8_is_wrong_usage(cli: Any, argv: tuple[str, ...], tmp_path: Path) -> None:
    done = cli(*argv)
    assert (done.status, done.out) == (2, "")
    assert one_line(done.err)
    assert "is not UTF-8" in done.err
    assert list(tmp_path.iterdir()) == []


def test_an_argument_in_utf8_is_understood_in_every_locale(cli: Any) -> None:
    """Where the locale is ASCII, the bytes of other characters arrive as surrogates."""
    raw = os.fsencode("Zoë").decode("ascii", "surrogateescape")
    assert "'Zoë'" in cli(raw).err
