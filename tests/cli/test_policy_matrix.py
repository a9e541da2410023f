"""`sidecar policy matrix`: a grid in four formats, readable on 80 columns and without colours."""

import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROLES = ["account-administrator", "accountant", "developer", "marketer", "member"]
LONG = "a" * 63
Cli = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    shutil.copy(ROOT / "model.conf", tmp_path)
    return tmp_path / "policy"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, width: int, *options: str, **env: str) -> str:
    from sidecar.cli.main import run

    terminal = Terminal()
    with monkeypatch.context() as patched:
        for name, value in {"COLUMNS": str(width), "LINES": "24", "TERM": "xterm-256color", **env}.items():
            patched.setenv(name, value)
        patched.setattr(sys, "stdout", terminal)
        assert run(("policy", "matrix", *options)) == 0
    return terminal.getvalue()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_sections_and_actions_stand_down_and_roles_across(cli: Cli, folder: Path) -> None:
    result = cli("policy", "matrix", "--role", "accountant", "--role", "marketer", "--section", "billing")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines() == [
        "section  action       accountant  marketer",
        "billing  view         allow       -",
        "billing  change-plan  allow       -",
        "",
        "-: no rule allows it",
    ]


def test_a_deny_of_a_rule_differs_from_a_missing_rule(cli: Cli, folder: Path) -> None:
    with (folder / "policy.csv").open("a") as file:
        file.write("p, developer, cache-purge, purge, deny\n")
    out = cli("policy", "matrix", "--role", "developer", "--section", "cache-purge").out
    assert [line.split()[-1] for line in out.splitlines()] == ["developer", "allow", "deny"]


def test_csv_and_markdown_have_the_decisions_of_json(cli: Cli, folder: Path) -> None:
    cells = json.loads(cli("policy", "matrix", "--format", "json").out)["cells"]
    assert cli("policy", "matrix", "--json").out == cli("policy", "matrix", "--format", "json").out
    wanted = {(c["role"], c["section"], c["action"]): "allow" if c["decision"] else "deny" for c in cells}
    rows = list(csv.DictReader(io.StringIO(cli("policy", "matrix", "--format", "csv").out)))
    found = {(role, row["section"], row["action"]): row[role] for row in rows for role in ROLES}
    assert found == wanted
    lines = cli("policy", "matrix", "--format", "markdown").out.splitlines()
    table = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    assert table[0] == ["section", "action", *ROLES]
    assert {tuple(cell.strip() for cell in row) for row in table[1:2]} == {("---",) * 7}
    assert {(role, row[0], row[1]): row[2 + at] for row in table[2:] for at, role in enumerate(ROLES)} == wanted


def test_an_unknown_role_section_or_format_is_wrong_usage(cli: Cli, folder: Path) -> None:
    for option in ("--role", "--section", "--format"):
        assert cli("policy", "matrix", option, "nowhere").status == 2


@pytest.mark.parametrize("width", [80, 100, 132, 200])
def test_no_word_is_broken(folder: Path, monkeypatch: pytest.MonkeyPatch, width: int, cli: Cli) -> None:
    text = plain(on_terminal(monkeypatch, width))
    assert max(map(len, text.splitlines())) <= width
    for word in (*ROLES, "performance-center", "change-password"):
        assert re.search(rf"(?<!\S){word}(?!\S)", text)
    blocks = text.split("\n\n")
    assert len([block for block in blocks if block.startswith("section")]) == (2 if width == 80 else 1)


def test_the_longest_names_are_whole_on_80_columns(folder: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    """Ids have at most 64 characters. Three of them are no table of 80 columns, so that each stands in its own line."""
    (folder / "sections.toml").write_text(
        (folder / "sections.toml").read_text()
        + f'\n[sections.s{LONG}]\ntitle = "Long"\nactions = ["b{LONG}", "c{LONG}"]\n'
    )
    (folder / "roles.toml").write_text(
        (folder / "roles.toml").read_text() + f'\n[roles.r{LONG}]\ntitle = "Long role"\n'
    )
    text = plain(on_terminal(monkeypatch, 80))
    assert max(map(len, text.splitlines())) <= 80
    lines = text.splitlines()
    at = lines.index(f" c{LONG}")
    assert lines[at - 1] == f"s{LONG}"
    assert f"  r{LONG} -" in lines[at:]
    piped = cli("policy", "matrix").out
    assert max(map(len, piped.splitlines())) <= 80


def test_colour_is_never_the_only_mark(folder: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    coloured = on_terminal(monkeypatch, 100)
    assert re.search(r"\x1b\[32mallow", coloured)
    assert re.search(r"\x1b\[2m-", coloured)
    without = on_terminal(monkeypatch, 100, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", without)
    assert plain(without) == plain(coloured)
    assert "\x1b" not in cli("policy", "matrix").out, "in a pipe"
