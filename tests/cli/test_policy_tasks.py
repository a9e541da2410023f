"""Effort of the usual edits, as policy/README.md states it: files and lines by hand, findings, and merges."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "policy" / "README.md").read_text(encoding="utf-8")
Cli = Callable[..., Any]


class Work:
    """A policy folder, and the lines that were changed in it by hand."""

    def __init__(self, folder: Path, cli: Cli) -> None:
        self.folder = folder
        self.lines: dict[str, int] = {}
        self.most_findings = 0
        self._cli = cli

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text, and count the lines of ``new`` that are not blank, and the lines of ``old`` that it lacks."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1, (name, old)
        path.write_text(text.replace(old, new))
        before, after = (set(part.splitlines()) - {""} for part in (old, new))
        self.lines[name] = self.lines.get(name, 0) + len(before ^ after)
        self.look()

    def look(self) -> None:
        found = json.loads(self._cli("policy", "check", "--json").out)
        self.most_findings = max(self.most_findings, len(found))

    def finish(self) -> None:
        """Write the missing tests, review them, and require that the policy passes every check."""
        assert self._cli("policy", "expect", "--write").status == 0
        for name in ("expectations.csv", "routes.csv"):
            path = self.folder / name
            path.write_text(path.read_text().replace("# review\n", ""))
        checked = self._cli("policy", "check", "--strict")
        assert (checked.status, checked.out) == (0, "")
        assert self._cli("policy", "test", "--strict").status == 0

    @property
    def by_hand(self) -> tuple[int, int]:
        """Files and lines."""
        return len(self.lines), sum(self.lines.values())


@pytest.fixture
def work(tmp_path: Path, cli: Cli) -> Work:
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    shutil.copy(ROOT / "model.conf", tmp_path)
    return Work(tmp_path / "policy", cli)


def stated(task: str) -> tuple[int, int, int]:
    """Return files, lines and findings of a task in the README's table."""
    [row] = re.findall(rf"^\| {re.escape(task)} \| (\d+) \| (\d+) \| (\d+) \|$", README, re.MULTILINE)
    return int(row[0]), int(row[1]), int(row[2])


def section(name: str, title: str) -> str:
    get = f'{{ path = "/dashboard/{name}/**", methods = ["GET"], action = "view" }}'
    post = f'{{ path = "/dashboard/{name}/**", methods = ["POST"], action = "create" }}'
    return f'[sections.{name}]\ntitle = "{title}"\nactions = ["view", "create"]\nroutes = [\n  {get},\n  {post},\n]\n\n'


def test_a_new_role(work: Work) -> None:
    role = '[roles.support]\ntitle = "Support"\n\n'
    work.edit("roles.toml", "# What every signed-in user may do.", f"{role}# What every signed-in user may do.")
    rules = "p, support, billing, view, allow\np, support, audit, view, allow\n"
    marketer = "g, marketer,              member\n"
    work.edit("policy.csv", marketer, f"{marketer}{rules}g, support, member\n")
    work.finish()
    assert (*work.by_hand, work.most_findings) == stated("a new role with two permissions")
    assert work.by_hand <= (2, 6)


def test_a_new_section(work: Work) -> None:
    work.edit("sections.toml", "[sections.integration]", section("reports", "Reports") + "[sections.integration]")
    billing = "p, accountant,            billing,            *, allow\n"
    work.edit("policy.csv", billing, f"{billing}p, accountant,            reports,            *, allow\n")
    work.finish()
    assert (*work.by_hand, work.most_findings) == stated("a new section with two routes")
    files, lines = work.by_hand
    assert files <= 4
    assert lines <= 12


def test_two_own_sections(tmp_path: Path, cli: Cli) -> None:
    assert cli("init", "--minimal", ".").status == 0
    work = Work(tmp_path / "policy", cli)
    text = (work.folder / "sections.toml").read_text()
    example = text[text.index("# An example") : text.index("# The sections below")]
    work.edit("sections.toml", example, section("orders", "Orders") + section("stock", "Stock"))
    tests = (work.folder / "routes.csv").read_text()
    projects = tests[tests.index("projects/view") : tests.index("# What must stay closed")]
    work.edit("routes.csv", projects, "")
    work.finish()
    assert (*work.by_hand, work.most_findings) == stated("two sections in place of the example of `init --minimal`")
    assert work.most_findings <= 20


def test_two_sections_in_place_of_the_shipped_ones(work: Work) -> None:
    """The longest way: each of the eight sections that the sidecar does not need is deleted in all files."""
    text = (work.folder / "sections.toml").read_text()
    tables = re.findall(r"(?m)^(?:# The section of this.*\n)?\[sections\.([a-z-]+)\]\n(?:[^\n\[#].*\n)*\n", text)
    gone = [name for name in tables if name not in ("users", "account-settings", "policy", "audit")]
    assert len(gone) == 8
    for name in gone:
        text = re.sub(rf"(?m)^(?:# The section of this.*\n)?\[sections\.{name}\]\n(?:[^\n].*\n)*\n", "", text)
    own = section("orders", "Orders") + section("stock", "Stock")
    (work.folder / "sections.toml").write_text(
        text.replace("[sections.account-settings]", f"{own}[sections.account-settings]")
    )
    work.look()
    assert f"Two sections in place of the shipped ones are at most {work.most_findings} findings." in README
    assert work.most_findings < 30, "195 findings without places"


def test_two_branches_that_each_add_a_section_merge(work: Work) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=work.folder.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "shipped")
    for name, before in (("reports", "integration"), ("tickets", "audit")):
        git("checkout", "-qb", name, "main")
        at = f"[sections.{before}]\n"
        work.edit("sections.toml", at, section(name, name.capitalize()) + at)
        work.finish()
        git("commit", "-qam", name)
    git("merge", "-q", "--no-edit", "reports")
    work.finish()
