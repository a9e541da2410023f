"""policy/README.md: each code is explained there, and every example has the printed output."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sidecar.cli.main import run
from sidecar.policy.compiler import ProofScope, compile_policy
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


# -- examples


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


def examples(kind: str) -> list[str]:
    """Return the blocks of a language that are not appended to a file."""
    return [block["text"] for block in BLOCKS.finditer(README) if block["kind"] == kind and block["file"] is None]


WORDS = {
    "INHERITED-ROLE": "developer",
    "CONDITION": "office",
    "ROLE": "marketer",
    "SECTION": "billing",
    "ACTION": "view",
    "METHOD": "GET",
    "PATH": "/dashboard/billing",
}
FILES = {
    "p": "policy.csv",
    "g": "policy.csv",
    "needs": "needs.csv",
    "allow": "expectations.csv",
    "deny": "expectations.csv",
}
OF_CONTENT = {
    "failed-expectation",
    "contradicting-expectation",
    "duplicate-expectation",
    "failed-route",
    "untested-need",
}
"""Findings about the meaning of a line, which its form cannot have."""


def alternatives(form: str) -> list[str]:
    """Return lines of a form: one for each alternative of its first field, with the last alternative of the others."""
    if not re.search(r"[A-Z]", form):
        return [form]
    form = re.sub(r"( \[.*\])$", "", form)
    for word, name in WORDS.items():
        form = form.replace(word, name)
    first, *others = form.split(", ")
    return [", ".join((one, *(field.split("|")[-1] for field in others))) for one in first.split("|")]


def test_each_form_of_a_line_is_accepted(seed: Mapping[str, bytes]) -> None:
    lines = [line for text in examples("csv") for form in text.splitlines() for line in alternatives(form)]
    assert len(lines) == 10
    files = {**seed, "conditions.toml": b'[conditions.office]\nnetworks = ["192.0.2.0/24"]\n'}
    files["conditions.toml"] += b"\n[conditions.second-factor]\nsecond_factor = true\n"
    for line in lines:
        name = FILES.get(line.partition(",")[0], "routes.csv")
        edited = {**files, name: files[name] + line.encode() + b"\n"}
        number = edited[name].count(b"\n")
        found = compile_policy(edited, proof=ProofScope.NONE).diagnostics
        wrong = [str(one) for one in found if one.is_error and (one.file, one.line) == (f"policy/{name}", number)]
        assert [one for one in wrong if one.split(": ")[1] not in OF_CONTENT] == [], line


def test_the_examples_of_own_segments_hold(edited: Callable[..., dict[str, bytes]]) -> None:
    [route] = re.findall(r"routes = \[(\{ .* \})\]", "\n".join(examples("toml")))
    [row] = re.findall(r"`(own billing/view, .*)`", README)
    [mark] = re.findall(r"`(\{ .*own = false \})`", README)
    terms = mark.replace("…", 'methods = ["GET"], action = "view"')
    billing = 'title = "Billing"\nactions = ["view", "change-plan"]\nroutes = [\n'
    rows = f"{row}\nbilling/view, GET, /accounts/any/invoices/terms\n"
    files = edited("routes.csv", add=rows)
    for text, codes in ((terms, []), (terms.replace(", own = false", ""), ["own-bypass"])):
        both = edited("sections.toml", (billing, f"{billing}  {route},\n  {text},\n"), files=files)
        assert [one.code.value for one in compile_policy(both, proof=ProofScope.NONE).diagnostics] == codes


def test_the_workflow_uses_inputs_of_the_action() -> None:
    [workflow] = examples("yaml")
    action = (ROOT / "action.yml").read_text(encoding="utf-8")
    inputs = set(re.findall(r"^  ([a-z-]+):$", action.partition("inputs:")[2].partition("runs:")[0], re.MULTILINE))
    [used] = re.findall(r"uses: OWNER/policy-sidecar@COMMIT\n +with: \{(.*)\}\n", workflow)
    assert set(re.findall(r"([a-z-]+): \"", used)) == {"base", "comment"}
    named = set(re.findall(r"`(comment-author|sidecar-[a-z]+|people)(?::[^`]*)?`", README))
    assert {"base", "comment", *named} <= inputs
    assert "pull-requests: write" in workflow
    assert "fetch-depth: 0" in workflow
