"""`sidecar policy expect`: missing rows printed or written, and branches that merge."""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., Any]
SECTION = """[sections.{name}]
title = "{name} title"
actions = ["view", "manage"]
routes = [
  {{ path = "/dashboard/{name}/**", methods = ["GET"], action = "view" }},
  {{ path = "/dashboard/{name}/**", methods = ["POST"], action = "manage" }},
]

"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped policy where the command runs."""
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    shutil.copy(ROOT / "model.conf", tmp_path)
    return tmp_path / "policy"


def add_section(folder: Path, name: str, before: str) -> None:
    path = folder / "sections.toml"
    text = path.read_text()
    assert f"[sections.{before}]" in text
    path.write_text(text.replace(f"[sections.{before}]", f"{SECTION.format(name=name)}[sections.{before}]"))


def test_expect_is_silent_for_a_complete_policy(cli: Cli, folder: Path) -> None:
    result = cli("policy", "expect")
    assert (result.status, result.out, result.err) == (0, "", "")
    assert json.loads(cli("policy", "expect", "--json").out) == []


def test_expect_prints_each_row_with_its_place(cli: Cli, folder: Path) -> None:
    add_section(folder, "reports", "integration")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = cli("policy", "expect")
    assert result.status == 0
    assert result.out == (
        "policy/expectations.csv, at line 10:\n"
        "allow, account-administrator, reports,            *\n"
        "policy/expectations.csv, at line 34:\n"
        "deny,  accountant,            reports,            *\n"
        "policy/expectations.csv, at line 82:\n"
        "deny,  marketer,              reports,            *\n"
        "policy/routes.csv, at line 28:\n"
        "reports/view,                     GET,     /dashboard/reports/example\n"
        "reports/manage,                   POST,    /dashboard/reports/example\n"
    )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "nothing is written"
    rows = json.loads(cli("policy", "expect", "--json").out)
    assert rows[0] == {
        "file": "policy/expectations.csv",
        "line": 10,
        "row": "allow, account-administrator, reports,            *",
    }
    assert len(rows) == 5


def test_expect_write_marks_each_row_until_it_is_reviewed(cli: Cli, folder: Path) -> None:
    add_section(folder, "reports", "integration")
    assert cli("policy", "test").status == 1
    mode = (folder / "expectations.csv").stat().st_mode
    result = cli("policy", "expect", "--write")
    assert result.status == 0
    for told in result.out.splitlines():
        place, row = told.split(": ", 1)
        file, line = place.split(":")
        lines = (folder.parent / file).read_text().splitlines()
        assert lines[int(line) - 2 : int(line)] == ["# review", row]
    assert len(result.out.splitlines()) == 5
    assert (folder / "expectations.csv").stat().st_mode == mode
    tested = cli("policy", "test")
    assert tested.status == 0
    assert "5 rows to review: expectations.csv 10, 36, 86, routes.csv 29, 31\n" in tested.out
    assert len(json.loads(cli("policy", "test", "--json").out)["review"]) == 5
    for verb in ("test", "check"):
        strict = cli("policy", verb, "--strict")
        assert strict.status == 1
        assert "unreviewed-row" in strict.out
    assert cli("policy", "expect").out == "", "a second run finds nothing"
    for name in ("expectations.csv", "routes.csv"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace("# review\n", ""))
    assert cli("policy", "test", "--strict").status == 0
    assert cli("policy", "fmt", "--check").status == 0


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("policy.csv", "p, nobody, billing, view, allow\n", "policy/policy.csv:36:4: unknown-role"),
        ("expectations.csv", "deny, marketer, nowhere, view\n", "policy/expectations.csv:99:17: unknown-section"),
        ("routes.csv", "nowhere/view, GET, /x\n", "policy/routes.csv:129:1: unknown-section"),
    ],
)
def test_expect_proposes_nothing_for_files_with_errors(cli: Cli, folder: Path, file: str, line: str, said: str) -> None:
    add_section(folder, "reports", "integration")
    path = folder / file
    path.write_text(path.read_text() + line)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = cli("policy", "expect", "--write")
    assert result.status == 1
    assert said in result.out
    assert result.err == "sidecar: nothing is proposed: correct these errors first\n"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_expect_keeps_a_row_that_fails(cli: Cli, folder: Path) -> None:
    """A proposal states the policy, but never replaces an intention."""
    with (folder / "policy.csv").open("a") as rules:
        rules.write("p, marketer, billing, view, allow\n")
    assert cli("policy", "expect", "--write").out == ""
    assert cli("policy", "test").status == 1


def test_explicit_asks_for_a_row_of_each_allow(cli: Cli, folder: Path) -> None:
    assert cli("policy", "test", "--explicit").status == 0
    add_section(folder, "reports", "integration")
    cli("policy", "expect", "--write")
    result = cli("policy", "test", "--explicit")
    assert result.status == 1
    assert (
        "policy/expectations.csv:11:1: missing-expectation: 2 allowed cells have no exact row, only allow, "
        "account-administrator, reports, * (add to expectations.csv: allow, account-administrator, reports, view; "
        "allow, account-administrator, reports, manage)\n"
    ) in result.out
    assert cli("policy", "expect", "--explicit", "--write").status == 0
    assert cli("policy", "test", "--explicit").status == 0


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_branches_that_each_add_a_section_merge(cli: Cli, folder: Path) -> None:
    root = folder.parent
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "shipped")
    for name, before in (("reports", "integration"), ("tickets", "audit")):
        git(root, "checkout", "-qb", name, "main")
        add_section(folder, name, before)
        text = (folder / "policy.csv").read_text()
        anchor = {"reports": "p, accountant,            billing", "tickets": "p, marketer, "}[name]
        (folder / "policy.csv").write_text(text.replace(anchor, f"p, accountant, {name}, view, allow\n{anchor}", 1))
        assert cli("policy", "expect", "--write").status == 0
        assert cli("policy", "check").status == 0
        git(root, "commit", "-qam", name)
    git(root, "merge", "-q", "--no-edit", "reports")
    assert cli("policy", "check").status == 0
    assert "\n12 rows to review: " in cli("policy", "test").out


# -- a policy of one's own, from the smallest


@pytest.fixture
def minimal(cli: Cli, tmp_path: Path) -> Path:
    """Write the minimal policy where the command runs."""
    assert cli("init", "--minimal", ".").status == 0
    return tmp_path / "policy"


def test_init_minimal_writes_what_must_exist_and_an_example(cli: Cli, minimal: Path) -> None:
    assert {path.name for path in minimal.iterdir()} == {
        *("policy.csv", "roles.toml", "sections.toml", "expectations.csv", "routes.csv", "README.md")
    }
    assert (minimal.parent / "model.conf").read_bytes() == (ROOT / "model.conf").read_bytes()
    roles = tomllib.loads((minimal / "roles.toml").read_text())["roles"]
    assert {role: value.get("assignable", True) for role, value in roles.items()} == {
        "account-administrator": True,
        "member": False,
    }
    sections = tomllib.loads((minimal / "sections.toml").read_text())["sections"]
    shipped = tomllib.loads((ROOT / "policy" / "sections.toml").read_text())["sections"]
    own = ("users", "policy", "audit", "account-settings")
    assert set(sections) == {*own, "projects"}
    assert {name: sections[name]["actions"] for name in own} == {name: shipped[name]["actions"] for name in own}
    checked = cli("policy", "check", "--strict")
    assert (checked.status, checked.out, checked.err) == (0, "", "")
    assert cli("policy", "test", "--strict").status == 0
    assert cli("policy", "fmt", "--check").status == 0


def test_every_part_of_the_minimal_policy_must_exist(cli: Cli, minimal: Path) -> None:
    """Without one of the required sections or roles, it is rejected."""
    for file, name in (
        *(("sections.toml", section) for section in ("users", "policy", "account-settings")),
        ("roles.toml", "account-administrator"),
        ("roles.toml", "member"),
    ):
        text = (minimal / file).read_text()
        table = f"[{file.removesuffix('.toml')}.{name}]"
        assert table in text
        (minimal / file).write_text(text.replace(table, table.replace(name, "another")))
        assert cli("policy", "check").status == 1, name
        (minimal / file).write_text(text)
    assert cli("policy", "check").status == 0


def test_own_sections_from_the_minimal_policy_are_few_findings(cli: Cli, minimal: Path) -> None:
    """Two sections in place of the example: the most findings between two edits, and none after `expect --write`."""
    most = 0

    def findings() -> int:
        return len(json.loads(cli("policy", "check", "--json").out))

    text = (minimal / "sections.toml").read_text()
    example = text[text.index("# An example") : text.index("# The sections below")]
    for own in ("", SECTION.format(name="orders"), SECTION.format(name="orders") + SECTION.format(name="stock")):
        (minimal / "sections.toml").write_text(text.replace(example, own))
        most = max(most, findings())
    tests = (minimal / "routes.csv").read_text().splitlines(keepends=True)
    (minimal / "routes.csv").write_text("".join(line for line in tests if not line.startswith("projects/")))
    most = max(most, findings())
    assert cli("policy", "expect", "--write").status == 0
    assert cli("policy", "check").status == 0
    assert 0 < most <= 20
