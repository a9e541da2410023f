"""`sidecar policy rename`, and the renames of `sidecar policy diff`."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.sources import policy_exchange, policy_journal

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    shutil.copytree(ROOT / "policy", tmp_path / "before")
    shutil.copy(ROOT / "model.conf", tmp_path)
    return tmp_path / "policy"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same(folder: Path) -> bool:
    return content(folder) == content(folder.parent / "before")


def test_a_section_is_renamed_by_one_command(cli: Cli, folder: Path) -> None:
    result = cli("policy", "rename", "section", "media-library", "assets")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines() == [
        "media-library → assets: 15 cells, 5 routes, no answer changes",
        "FILE                     LINES",
        "policy/policy.csv        2",
        "policy/sections.toml     1",
        "policy/expectations.csv  12",
        "policy/routes.csv        6",
    ]
    assert cli("policy", "check", "--strict").out == ""
    assert cli("policy", "fmt", "--check").status == 0
    diff = cli("policy", "diff", "before")
    assert (diff.status, diff.out) == (0, "media-library → assets: 15 cells, 5 routes, no answer changes\n")
    assert cli("policy", "can", "marketer", "assets", "upload").status == 0
    assert cli("policy", "rename", "section", "assets", "media-library").status == 0
    assert same(folder)


def test_an_action_is_named_with_its_section_or_bare(cli: Cli, folder: Path) -> None:
    assert cli("policy", "rename", "action", "change-plan", "switch-plan").status == 0
    assert cli("policy", "rename", "action", "billing/switch-plan", "billing/change-plan").status == 0
    assert same(folder)


def test_the_json_names_rename_and_files(cli: Cli, folder: Path) -> None:
    result = cli("policy", "rename", "action", "media-library/upload", "put", "--json")
    assert json.loads(result.out) == {
        "rename": {
            "kind": "action",
            "from": "media-library/upload",
            "to": "media-library/put",
            "cells": 5,
            "routes": 2,
            "changes": 0,
        },
        "files": [
            {"file": "policy/sections.toml", "lines": 2},
            {"file": "policy/expectations.csv", "lines": 4},
            {"file": "policy/routes.csv", "lines": 2},
        ],
    }
    listed = cli("policy", "diff", "before", "--json", "--renames")
    assert json.loads(listed.out) == [json.loads(result.out)["rename"]]
    cells = cli("policy", "diff", "before", "--json")
    assert (cells.out, cells.err) == ("[]\n", "sidecar: 1 renames differ too; --json --renames lists them\n")
    assert cli("policy", "diff", "before", "--json", "--renames", "--routes").status == 2


def test_the_difference_opens_under_the_new_name(cli: Cli, folder: Path) -> None:
    cli("policy", "rename", "section", "media-library", "assets")
    with (folder / "policy.csv").open("a", encoding="utf-8") as file:
        file.write("p, accountant, assets, view, allow\n")
    result = cli("policy", "diff", "before")
    assert result.status == 1
    assert result.out.splitlines() == [
        "media-library → assets: 15 cells, 5 routes, 1 answer changes",
        "ROLE        SECTION  ACTION  FROM  TO",
        "accountant  assets   view    deny  allow",
    ]
    assert cli("policy", "diff", "before", "--accept", "accountant/assets/view").status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("section", "billing", "analytics"), 2, 'the section "analytics" exists already: write another name'),
        (("section", "users", "people"), 2, 'the sidecar itself uses the section "users"'),
        (("role", "member", "everyone"), 2, 'the sidecar itself uses the role "member"'),
        (("role", "account-administrator", "root"), 2, 'the sidecar itself uses the role "account-administrator"'),
        (("section", "bilLing", "x"), 2, 'did you mean "billing"?'),
        (("section", "billing", "x", "--in-store"), 2, "--in-store is for roles: no user holds a section"),
    ],
)
def test_a_refused_rename_changes_no_file(
    cli: Cli, folder: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    result = cli("policy", "rename", *arguments)
    assert (result.status, result.out) == (status, "")
    assert message in result.err
    assert same(folder)


def test_files_with_findings_are_not_renamed(cli: Cli, folder: Path) -> None:
    with (folder / "policy.csv").open("a", encoding="utf-8") as file:
        file.write("p, marketerr, billing, view, allow\n")
    before = content(folder)
    result = cli("policy", "rename", "section", "billing", "invoices")
    assert result.status == 1
    assert result.out.startswith("policy/policy.csv:36:4: unknown-role: ")
    assert result.err == "sidecar: the files have errors: correct them first; nothing is renamed\n"
    assert content(folder) == before


def test_the_packaged_policy_is_not_renamed(cli: Cli) -> None:
    result = cli("policy", "rename", "section", "billing", "invoices")
    assert result.status == 2
    assert "belongs to the package: `sidecar init DIR` writes a policy of your own" in result.err


def test_a_role_without_a_store_says_that_activation_waits(cli: Cli, folder: Path) -> None:
    result = cli("policy", "rename", "role", "marketer", "brand-manager")
    assert result.status == 0
    assert result.err.startswith('sidecar: the store does not show the holders of "marketer" (there is no store in ')
    assert "while a user does, activation waits and the sidecars serve the policy before" in result.err
    assert "--in-store moves these users" in result.err
    assert "brand-manager" in (folder / "roles.toml").read_text(encoding="utf-8")


def test_without_a_store_in_store_changes_nothing(cli: Cli, folder: Path) -> None:
    result = cli("policy", "rename", "role", "marketer", "brand-manager", "--in-store")
    assert (result.status, "there is no store" in result.err) == (2, True)
    assert same(folder)


def test_an_interrupted_rename_is_completed_by_the_next_verb(cli: Cli, folder: Path) -> None:
    before = {name: data for name, data in content(folder).items() if name != "README.md"}
    assert cli("policy", "rename", "section", "billing", "invoices").status == 0
    after = content(folder)
    changed = {name: after[name] for name in before if after[name] != before[name]}
    for verb in (("check",), ("fmt",), ("matrix",), ("rename", "section", "analytics", "figures")):
        for name, data in before.items():
            (folder / name).write_bytes(data)
        policy_journal.write(folder, before, changed)
        (folder / "policy.csv").write_bytes(changed["policy.csv"])
        assert cli("policy", *verb).status == 0, verb
        assert not policy_journal.exists(folder)
        assert b"invoices" in (folder / "routes.csv").read_bytes()


def test_a_leftover_copy_is_removed_by_the_next_rename(cli: Cli, folder: Path) -> None:
    shutil.copytree(folder, folder.parent / ".policy.renaming")
    assert cli("policy", "check").status == 0
    assert cli("policy", "rename", "section", "billing", "invoices").status == 0
    assert not (folder.parent / ".policy.renaming").exists()


def test_a_folder_of_another_name_is_named_in_all_messages(cli: Cli, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    folder.rename(tmp_path / "infra" / "rules")
    flags = ("--policy-dir", "infra/rules", "--model", "model.conf")
    result = cli("policy", "rename", "section", "billing", "invoices", *flags)
    assert (result.status, "infra/rules/policy.csv" in result.out) == (0, True)
    assert "policy/" not in result.out.replace("infra/rules/policy.csv", "")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.root
def test_a_folder_that_may_not_be_written_is_named() -> None:
    """The modules are loaded as root, because the other user may not read the interpreter's folder."""
    with tempfile.TemporaryDirectory() as made:
        home = Path(made)
        shutil.copytree(ROOT / "policy", home / "policy")
        shutil.copytree(ROOT / "policy", home / "before")
        shutil.copy(ROOT / "model.conf", home)
        for path in (home, *home.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        program = """
import os, sys
from sidecar.cli.main import run
assert run(("policy", "check")) == 0
assert run(("policy", "rename", "section", "billing", "billing")) == 2
os.setgroups([]); os.setgid(61001); os.setuid(61001)
sys.exit(run(("policy", "rename", "section", "billing", "invoices")))
"""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
        done = subprocess.run(
            [sys.executable, "-P", "-c", program], capture_output=True, text=True, cwd=home, env=clean, check=False
        )
        assert done.returncode == 2, done.stderr
        assert "policy: cannot be written (Permission denied): let this user write the folder" in done.stderr
        assert same(home / "policy")
        assert sorted(path.name for path in home.iterdir()) == ["before", "model.conf", "policy"]


def test_an_exchange_that_the_system_lacks_is_a_journal(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_exchange, "_can_exchange", lambda *_: False)
    inode = folder.stat().st_ino
    assert cli("policy", "rename", "section", "billing", "invoices").status == 0
    assert folder.stat().st_ino == inode
    assert cli("policy", "check").status == 0
