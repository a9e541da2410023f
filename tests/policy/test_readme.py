"""policy/README.md: each code is explained there, and every example has the printed output."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from sidecar.cli.main import run
from sidecar.policy.diagnostics import DiagnosticCode, Severity

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "policy" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", DiagnosticCode)
def test_every_code_is_explained_once(code: DiagnosticCode) -> None:
    rows = re.findall(rf"^\| `{code.value}` \| (.+) \|$", README, re.MULTILINE)
    assert len(rows) == 1
    assert rows[0].startswith("Warning.") == (code.severity is Severity.WARNING)


def test_no_code_is_explained_that_does_not_exist() -> None:
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", README, re.MULTILINE)) == {code.value for code in DiagnosticCode}


BLOCKS = re.compile(r"(?:<!-- append to (?P<file>\S+) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL)


def test_the_examples_do_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In order, in a folder that begins as the shipped policy."""
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    shutil.copytree(ROOT / "policy", tmp_path / "before")
    shutil.copy(ROOT / "model.conf", tmp_path)
    monkeypatch.chdir(tmp_path)
    ran = 0
    for block in BLOCKS.finditer(README):
        if block["file"] is not None:
            path = tmp_path / block["file"]
            path.write_text(path.read_text(encoding="utf-8") + block["text"], encoding="utf-8")
        elif block["kind"] == "console":
            ran += try_out(block["text"], capsys)
    assert ran == 15


def try_out(text: str, capsys: pytest.CaptureFixture[str]) -> int:
    """Run the lines that begin with ``$`` and compare their output; ``…`` matches the rest of an output."""
    status, ran = 0, 0
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        if command == "echo $?":
            assert expected.strip() == str(status)
            continue
        program, *arguments = shlex.split(command)
        if program == "sed":
            subprocess.run([program, *arguments], check=True)
            continue
        assert program == "sidecar"
        status = run(arguments)
        out = capsys.readouterr().out
        shown, cut, _ = expected.partition("…\n")
        assert out.startswith(shown) if cut else out == expected, command
        ran += 1
    return ran
