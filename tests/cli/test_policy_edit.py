"""`sidecar policy diff|fmt|watch|replay` and `sidecar init`."""

import gzip
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli.init import init
from sidecar.cli.output import CliError
from sidecar.cli.policy.fmt_watch import follow
from sidecar.cli.policy.policy_source import Source

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., Any]
OPENING = "p, marketer, billing, view, allow\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    shutil.copy(ROOT / "model.conf", tmp_path)
    return tmp_path / "policy"


@pytest.fixture
def before(folder: Path) -> Path:
    """A copy for comparison."""
    return Path(shutil.copytree(folder, folder.parent / "before"))


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


# -- diff


def test_nothing_differs_from_itself(cli: Cli, folder: Path) -> None:
    result = cli("policy", "diff", "policy", "policy")
    assert (result.status, result.out, result.err) == (0, "no cell and no route differs\n", "")
    assert cli("policy", "diff", "policy", "policy", "--json").out == "[]\n"


def test_what_opens_stands_first_and_ends_with_one(cli: Cli, folder: Path, before: Path) -> None:
    append(folder / "policy.csv", OPENING + "p, accountant, analytics, view, deny\n")
    result = cli("policy", "diff", "before", "policy", "--json")
    assert result.status == 1
    assert json.loads(result.out) == [
        {"role": "marketer", "section": "billing", "action": "view", "from": "deny", "to": "allow"},
        {"role": "accountant", "section": "analytics", "action": "view", "from": "allow", "to": "deny"},
    ]
    assert json.loads(cli("policy", "diff", "before", "--json").out) == json.loads(result.out)
    backwards = json.loads(cli("policy", "diff", "policy", "before", "--json").out)
    assert [(d["role"], d["to"]) for d in backwards] == [("accountant", "allow"), ("marketer", "deny")]


def test_what_only_closes_is_no_failure(cli: Cli, folder: Path, before: Path) -> None:
    append(folder / "policy.csv", "p, accountant, analytics, view, deny\n")
    result = cli("policy", "diff", "before")
    assert result.status == 0
    assert "accountant  analytics  view    allow  deny" in result.out


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (["marketer/billing/view"], 1),
        (["marketer/billing/view", "marketer/analytics/view"], 0),
        (["marketer/*/view"], 0),
        (["marketer/*"], 0),
        (["*"], 0),
    ],
)
def test_accept_names_what_may_open(cli: Cli, folder: Path, before: Path, accept: list[str], status: int) -> None:
    append(folder / "policy.csv", OPENING + "p, marketer, analytics, view, allow\n")
    options = [option for value in accept for option in ("--accept", value)]
    assert cli("policy", "diff", "before", *options).status == status


@pytest.mark.parametrize(
    ("accept", "said"),
    [
        ("marketeer/billing/view", 'there is no role "marketeer" (did you mean "marketer"?)'),
        ("Marketer/billing/*", 'there is no role "Marketer" (did you mean "marketer"?)'),
        ("marketer/biling/view", 'there is no section "biling" (did you mean "billing"?)'),
        ("marketer/billing/vew", 'there is no action "vew" (did you mean "view"?)'),
        ("marketer/billing/purge", 'there is no action "purge" (known: view, change-plan)'),
        ("accountant/billing/view", "names nothing that differs"),
        ("accountant/*", "names nothing that differs; write ROLE/SECTION/ACTION or METHOD PATH"),
        ("accountant", "names nothing that differs; write ROLE/SECTION/ACTION or METHOD PATH"),
        ("GET /dashboard/billing", "names nothing that differs"),
        ("acountant/*", 'there is no role "acountant" (did you mean "accountant"?)'),
        ("", 'there is no role ""'),
    ],
)
def test_an_accept_that_names_nothing_is_wrong_usage(
    cli: Cli, folder: Path, before: Path, accept: str, said: str
) -> None:
    append(folder / "policy.csv", OPENING)
    result = cli("policy", "diff", "before", "--accept", "marketer/billing/view", "--accept", accept)
    assert result.status == 2
    assert f'--accept "{accept}"' in result.err
    assert said in result.err


def test_what_one_side_alone_declares_is_known_to_accept(cli: Cli, folder: Path, before: Path) -> None:
    append(folder / "roles.toml", '\n[roles.guest]\ntitle = "Guest"\n')
    append(folder / "policy.csv", "p, guest, billing, view, allow\n")
    assert cli("policy", "diff", "before", "--accept", "guest/billing/view").status == 0
    assert cli("policy", "diff", "policy", "before", "--accept", "guest/billing/view").status == 0
    unchanged = cli("policy", "diff", "before", "--accept", "guest/billing/view", "--accept", "guest/analytics/view")
    assert unchanged.status == 2
    assert "names nothing that differs" in unchanged.err


def test_an_accept_is_no_trouble_once_nothing_differs(cli: Cli, folder: Path, before: Path) -> None:
    assert cli("policy", "diff", "before", "--accept", "marketer/billing/view").status == 0


def test_no_star_stands_for_a_route(cli: Cli, folder: Path, before: Path) -> None:
    append(folder / "sections.toml", '\n[[public]]\npath = "/dashboard/billing/plans"\nmethods = ["GET"]\n')
    for accept in ("*", "GET /dashboard/billing/*", "GET *"):
        assert cli("policy", "diff", "before", "--accept", accept).status == 2, accept
    assert "A * in an --accept matches no" in cli("policy", "diff", "--help").out


def test_a_newly_assignable_role_is_shown_and_grants_nothing(cli: Cli, folder: Path, before: Path) -> None:
    roles = folder / "roles.toml"
    roles.write_text(roles.read_text().replace("assignable = false\n", ""))
    result = cli("policy", "diff", "before")
    assert (result.status, result.out) == (
        0,
        "ROLE    FROM            TO\nmember  not assignable  assignable\n",
    )
    told = cli("policy", "diff", "before", "--json")
    assert (told.status, told.out) == (0, "[]\n")
    assert told.err.endswith("sidecar: 1 roles differ too; --json --roles lists them\n")
    listed = cli("policy", "diff", "policy", "before", "--json", "--roles")
    assert json.loads(listed.out) == [{"role": "member", "from": "assignable", "to": "not assignable"}]
    assert cli("policy", "diff", "before", "--json", "--roles", "--routes").status == 2


def test_R3_a_route_that_becomes_public_counts_as_opening(cli: Cli, folder: Path, before: Path) -> None:
    append(folder / "sections.toml", '\n[[public]]\npath = "/dashboard/billing/plans"\nmethods = ["GET"]\n')
    cells = cli("policy", "diff", "before", "--json")
    assert (cells.status, cells.out) == (1, "[]\n")
    assert "routes differ too" in cells.err
    result = cli("policy", "diff", "before", "--json", "--routes")
    assert result.status == 1
    [first, *closing] = json.loads(result.out)
    assert first == {
        "method": "GET",
        "path": "/dashboard/billing/plans",
        "from": "billing/view",
        "to": "public",
        "opens": True,
    }
    assert {change["to"] for change in closing} == {"unmatched"}
    assert not any(change["opens"] for change in closing)
    assert cli("policy", "diff", "before", "--accept", "GET /dashboard/billing/plans").status == 0


def test_R3_a_route_that_needs_less_counts_as_opening(cli: Cli, folder: Path, before: Path) -> None:
    path = folder / "sections.toml"
    old = '"/dashboard/billing/**", methods = ["GET"], action = "view"'
    text = path.read_text().replace(f"  {{ path = {old} }},\n", "")
    text = text.replace(
        '  { path = "/dashboard/media-library/**", methods = ["GET"], action = "view" },\n',
        '  { path = "/dashboard/media-library/**", methods = ["GET"], action = "view" },\n'
        '  { path = "/dashboard/billing/**", methods = ["GET"], action = "view" },\n',
    )
    path.write_text(text)
    result = cli("policy", "diff", "before", "--json", "--routes")
    assert result.status == 1
    [change] = json.loads(result.out)
    assert (change["from"], change["to"], change["opens"]) == ("billing/view", "media-library/view", True)


def git(folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "x", f"GIT_{role}_EMAIL": "x@example.com"}
    subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True)


def test_revisions_of_git(cli: Cli, folder: Path) -> None:
    root = folder.parent
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "one")
    append(folder / "policy.csv", OPENING)
    assert [d["role"] for d in json.loads(cli("policy", "diff", "HEAD", "--json").out)] == ["marketer"]
    git(root, "commit", "-q", "-a", "-m", "two")
    assert cli("policy", "diff", "HEAD").status == 0
    assert cli("policy", "diff", "HEAD~1", "HEAD").status == 1
    assert cli("policy", "diff", "main", "HEAD~1", "--json").status == 0


def test_a_folder_of_a_revision(cli: Cli, folder: Path) -> None:
    root = folder.parent
    shutil.copytree(folder, root / "deploy" / "policy")
    shutil.copy(root / "model.conf", root / "deploy")
    append(root / "deploy" / "policy" / "policy.csv", OPENING)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "one")
    changes = json.loads(cli("policy", "diff", "main:policy", "main:deploy/policy", "--json").out)
    assert [(d["role"], d["to"]) for d in changes] == [("marketer", "allow")]
    assert cli("policy", "diff", "main:deploy/policy/", "policy").status == 0
    assert cli("policy", "diff", "deploy", "main:deploy/policy").status == 0
    assert cli("policy", "diff", "deploy/policy", "main:deploy/policy").status == 0
    for name in ("main:nowhere", "main:deploy", "elsewhere:policy"):
        assert cli("policy", "diff", name).status == 2


def test_the_model_stands_beside_the_folder(cli: Cli, folder: Path) -> None:
    """Also when the command runs in a folder with another model."""
    other = folder.parent / "other"
    shutil.copytree(folder, other / "policy")
    (other / "model.conf").write_text("[request_definition]\n")
    result = cli("policy", "diff", "other/policy", "policy")
    assert result.status == 1
    assert f"{other / 'model.conf'}:" in result.err


def test_a_revision_whose_policy_does_not_compile(cli: Cli, folder: Path) -> None:
    root = folder.parent
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "model.conf", "policy/policy.csv")
    git(root, "commit", "-q", "-m", "half")
    result = cli("policy", "diff", "main")
    assert result.status == 1
    assert "main:policy/roles.toml:1:1: missing-file" in result.err
    result = cli("policy", "diff", "main:policy")
    assert "\nmain:policy/roles.toml:1:1: missing-file" in result.err
    (root / "policy" / "policy.csv").rename(root / "policy.csv")
    git(root, "add", "policy.csv")
    git(root, "commit", "-q", "-m", "in the root")
    result = cli("policy", "diff", "main:")
    assert "\nmain:roles.toml:1:1: missing-file" in result.err


@pytest.mark.parametrize("name", ["nowhere", "--output=x", "-p", "HEAD:policy", "a b", ""])
def test_neither_a_directory_nor_a_revision(cli: Cli, folder: Path, name: str) -> None:
    result = cli("policy", "diff", "--", name)
    assert (result.status, result.out) == (2, "")
    assert not (folder / "x").exists()


# -- git revision or folder


@pytest.fixture
def history(folder: Path) -> Path:
    """A repository with a last commit that grants more."""
    root = folder.parent
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "one")
    append(folder / "policy.csv", OPENING)
    git(root, "commit", "-q", "-a", "-m", "two")
    return root


@pytest.mark.parametrize(
    ("name", "exact"),
    [("main~1", "refs/heads/main~1"), ("main", "refs/heads/main"), ("main:old", "refs/heads/main:old")],
)
def test_a_name_that_is_a_folder_and_a_revision_is_refused(cli: Cli, history: Path, name: str, exact: str) -> None:
    """Otherwise the right to add a folder would be the right to choose the base of the comparison."""
    shutil.copytree(history / "policy", history / name)
    result = cli("policy", "diff", name)
    assert (result.status, result.out) == (2, "")
    assert result.err == f"sidecar: {name} is a directory and a git revision: write ./{name} or {exact}\n"
    assert cli("policy", "diff", "HEAD~1", name).status == 2
    assert cli("policy", "diff", f"./{name}").status == 0
    assert cli("policy", "diff", str(history / name)).status == 0


def test_the_exact_name_of_a_branch_is_no_folder(cli: Cli, history: Path) -> None:
    shutil.copytree(history / "policy", history / "main~1")
    assert cli("policy", "diff", "refs/heads/main~1").status == 1


def test_a_path_is_a_folder_and_never_a_revision(cli: Cli, history: Path) -> None:
    result = cli("policy", "diff", "./main")
    assert (result.status, result.err) == (2, "sidecar: ./main: there is no such directory\n")


def test_a_folder_is_rejected_if_git_cannot_rule_out_a_revision(cli: Cli, history: Path) -> None:
    shutil.copytree(history / "policy", history / "main~1")
    (history / ".git" / "config").write_text("[broken\n")
    result = cli("policy", "diff", "main~1")
    assert result.status == 2
    problem = "main~1 is a directory, and git failed to check for a revision of that name: write ./main~1 (bad config"
    assert problem in result.err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("main~1..HEAD", "write: sidecar policy diff main~1 HEAD"),
        ("main~1...", "write: sidecar policy diff main~1 HEAD"),
        ("policy/policy.csv", "it is a file; name its directory, policy"),
    ],
)
def test_what_is_no_revision_is_told_with_what_to_write(cli: Cli, history: Path, name: str, said: str) -> None:
    result = cli("policy", "diff", name)
    assert result.status == 2
    assert result.err == f"sidecar: {name}: neither a directory nor a git revision: {said}\n"


def test_no_repository_is_told(cli: Cli, folder: Path) -> None:
    result = cli("policy", "diff", "main")
    assert result.status == 2
    assert "neither a directory nor a git revision: not a git repository" in result.err


def test_a_reason_of_gits_is_told_with_its_last_line(cli: Cli, history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    result = cli("policy", "diff", "main")
    assert result.status == 2
    assert "detected dubious ownership in repository" in result.err
    assert "git config --global --add safe.directory" in result.err
    assert result.err.count("\n") == 1


def test_a_shallow_clone_is_told(cli: Cli, history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(history, "clone", "-q", "--depth", "1", f"file://{history}", "shallow")
    monkeypatch.chdir(history / "shallow")
    result = cli("policy", "diff", "HEAD~1")
    assert result.status == 2
    assert "the clone is shallow" in result.err
    assert "fetch it (fetch-depth: 0)" in result.err


def test_without_git_only_folders_are_compared(
    cli: Cli, folder: Path, before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert "git is not installed" in cli("policy", "diff", "main").err
    assert cli("policy", "diff", "before").status == 0


# -- fmt


def test_fmt_changes_what_is_not_aligned_and_says_which(cli: Cli, folder: Path) -> None:
    assert cli("policy", "fmt").out == ""
    append(folder / "policy.csv", "\n\n#  why\np,marketer,billing,view,deny\n")
    (folder / "policy.csv").chmod(0o640)
    checked = cli("policy", "fmt", "--check")
    assert (checked.status, checked.out) == (1, "policy/policy.csv\n")
    written = cli("policy", "fmt")
    assert (written.status, written.out) == (0, "policy/policy.csv\n")
    assert (
        (folder / "policy.csv")
        .read_text()
        .endswith("\n\n#  why\np, marketer,              billing,            view, deny\n")
    )
    assert stat.S_IMODE((folder / "policy.csv").stat().st_mode) == 0o640
    assert cli("policy", "fmt", "--check").status == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in (ROOT / "policy").iterdir())


def test_fmt_leaves_a_file_alone_that_it_cannot_read(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p,marketer,billing,view,deny # why\n")
    append(folder / "routes.csv", "unmatched,GET,/x\n")
    content = (folder / "policy.csv").read_bytes()
    result = cli("policy", "fmt")
    assert result.status == 1
    assert result.out.startswith("policy/routes.csv\npolicy/policy.csv:36:30: inline-comment: ")
    assert (folder / "policy.csv").read_bytes() == content


def test_fmt_says_which_file_it_could_not_read(cli: Cli, folder: Path) -> None:
    (folder / "routes.csv").unlink()
    (folder / "policy.csv").unlink()
    (folder / "policy.csv").mkdir()
    result = cli("policy", "fmt")
    assert (result.status, result.err) == (1, "")
    told = [line.split(": ")[:2] for line in result.out.splitlines()]
    assert told == [["policy/policy.csv:1:1", "unreadable-file"], ["policy/routes.csv:1:1", "missing-file"]]


def test_fmt_writes_through_a_link(cli: Cli, folder: Path) -> None:
    real = folder.parent / "real.csv"
    (folder / "policy.csv").rename(real)
    (folder / "policy.csv").symlink_to(real)
    append(real, "p,marketer,billing,view,deny\n")
    assert cli("policy", "fmt").status == 0
    assert (folder / "policy.csv").is_symlink()
    assert real.read_text().endswith("view, deny\n")


# -- watch


class Saves:
    """Replacement of sleep: makes the edits one by one, two polls apart, then ends."""

    def __init__(self, *edits: Callable[[], object]) -> None:
        self._edits = list(edits)
        self._looks = 0

    def __call__(self, seconds: float) -> None:
        assert 0 < seconds < 1
        self._looks += 1
        if self._looks % 3:
            return
        if not self._edits:
            raise KeyboardInterrupt
        self._edits.pop(0)()


def test_watch_judges_every_save_and_shows_what_it_changes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy, expectations = folder / "policy.csv", folder / "expectations.csv"
    content, expected = policy.read_text(), expectations.read_text()

    def allow() -> None:
        policy.write_text(content + OPENING)
        line = next(
            line for line in expected.splitlines() if line.split() == ["deny,", "marketer,", "billing,", "view"]
        )
        expectations.write_text(expected.replace(line, "allow, marketer, billing, view"))

    def back() -> None:
        policy.write_text(content)
        expectations.write_text(expected)

    saves = Saves(lambda: append(policy, "x\n"), allow, back)
    with pytest.raises(KeyboardInterrupt):
        follow(Source(folder, folder.parent / "model.conf"), saves)

    out = capsys.readouterr().out
    told = [line.split(":")[0] if line.startswith("ok") else line for line in out.splitlines()]
    assert told[0] == "ok"
    assert "unknown-rule-type" in told[1]
    assert told[2] == "rejected: the last good policy would stay in force"
    assert told[3:6] == ["ROLE      SECTION  ACTION  FROM  TO", "marketer  billing  view    deny  allow", "ok"]
    assert told[6:] == ["ROLE      SECTION  ACTION  FROM   TO", "marketer  billing  view    allow  deny", "ok"]


def test_watch_does_not_judge_a_file_that_is_being_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    looks = 0

    def writing(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks > 6:
            raise KeyboardInterrupt
        append(folder / "policy.csv", f"# {looks}\n")

    with pytest.raises(KeyboardInterrupt):
        follow(Source(folder, folder.parent / "model.conf"), writing)
    assert capsys.readouterr().out == ""


# -- replay


def record(role: str, section: str, action: str, *, decision: bool, reason: str, **more: object) -> str:
    return json.dumps(
        {
            "time": "2026-11-24T10:00:00.000+00:00",
            "kind": "decision",
            "user": "usr_1",
            "role": role,
            "section": section,
            "action": action,
            "decision": decision,
            "reason": reason,
            **more,
        }
    )


LOG = "\n".join(
    [
        record("accountant", "billing", "view", decision=True, reason="allowed"),
        record("marketer", "billing", "view", decision=True, reason="allowed"),
        record("marketer", "billing", "view", decision=True, reason="allowed", user="usr_2", time="2026-11-25"),
        record("marketer", "media-library", "view", decision=False, reason="no_rule"),
        record("marketer", "nowhere", "view", decision=False, reason="unknown_section"),
        record("", "", "", decision=False, reason="missing_token"),
        record("marketer", "billing", "view", decision=False, reason="revoked"),
        record("", "", "", decision=True, reason="public"),
        '{"kind": "access", "decision": true}',
        "",
        "not json",
        "[1, 2]",
    ]
)


def test_replay_lists_the_answers_that_would_be_others(cli: Cli, folder: Path) -> None:
    (folder.parent / "log.jsonl").write_text(LOG + "\n")
    result = cli("policy", "replay", "log.jsonl", "--json")
    assert result.status == 1
    assert [(c["role"], c["section"], c["from"], c["to"], c["times"]) for c in json.loads(result.out)] == [
        ("marketer", "media-library", "deny", "allow", 1),
        ("marketer", "billing", "allow", "deny", 2),
    ]
    assert json.loads(result.out)[1]["users"] == ["usr_1", "usr_2"]
    assert json.loads(result.out)[1]["last"] == "2026-11-25"
    warnings = [
        "routes are not replayed: a decision log holds no paths; sidecar policy diff compares routes",
        "warning: log.jsonl: line 9: no decision (2 lines)",
        "warning: log.jsonl: line 11: not JSON (1 lines)",
    ]
    assert result.err.splitlines() == [
        f"sidecar: {line}" for line in ("not replayed: 3 others (missing_token 1, revoked 1, public 1)", *warnings)
    ]
    text = cli("policy", "replay", "log.jsonl")
    assert "5 decisions replayed, 3 would differ; 3 others (missing_token 1, revoked 1, public 1)" in text.out
    assert text.err.splitlines() == [f"sidecar: {line}" for line in warnings]


def test_replay_of_a_log_that_agrees(cli: Cli, folder: Path) -> None:
    (folder.parent / "log.jsonl").write_text(record("accountant", "billing", "view", decision=True, reason="allowed"))
    result = cli("policy", "replay", "log.jsonl")
    assert (result.status, result.out) == (0, "1 decisions replayed, 0 would differ; 0 others\n")
    assert cli("policy", "replay", "gone.jsonl").status == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b'{"kind": "access", "decision": true}\n{"level": "info"}\n', "line 1: no decision (2 lines)"),
        (b"\nnot json\n", "line 2: not JSON (1 lines)"),
        (b"\xff\xfe\x00\n", "line 1: not JSON (1 lines)"),
        (LOG.encode()[:40], "line 1: not JSON (1 lines)"),
        (record("", "", "", decision=False, reason="missing_token").encode(), "1 others (missing_token 1)"),
    ],
)
def test_replay_of_a_log_without_a_decision_is_wrong_usage(cli: Cli, folder: Path, content: bytes, said: str) -> None:
    (folder.parent / "log.jsonl").write_bytes(content)
    for options in ((), ("--json",)):
        result = cli("policy", "replay", "log.jsonl", *options)
        assert (result.status, result.out) == (2, "")
        assert result.err == f"sidecar: log.jsonl holds no decision of the policy: {said}\n"


def test_replay_of_a_packed_log_says_how_to_unpack_it(cli: Cli, folder: Path) -> None:
    for name in ("log.gz", "log"):
        (folder.parent / name).write_bytes(gzip.compress(LOG.encode()))
        result = cli("policy", "replay", name)
        assert (result.status, result.out) == (2, "")
        unpack = f"gzip -dc {name} | sidecar policy replay -"
        assert result.err == f"sidecar: {name}:1: compressed with gzip; unpack it: {unpack}\n"


def test_replay_passes_over_what_other_programs_write(cli: Cli, folder: Path) -> None:
    """Lines of other programs are skipped wherever they are, and none ends the replay."""
    strange = [
        '{"reason": ["x"], "decision": true}',
        '{"reason": {"a": 1}, "decision": true}',
        '{"reason": "my_own", "decision": true, "role": "marketer"}',
        '{"reason": "allowed", "decision": "yes", "role": "marketer"}',
        '{"reason": "allowed", "decision": true, "role": ["marketer"], "section": "billing", "action": "view"}',
        '{"reason": "allowed", "decision": true, "role": "marketer", "section": {}, "action": 1}',
        '{"kind": ["decision"]}',
        '"text"',
        "null",
    ]
    good = record("accountant", "billing", "view", decision=True, reason="allowed")
    (folder.parent / "log.jsonl").write_text("\n".join((*strange, good)))
    result = cli("policy", "replay", "log.jsonl")
    assert (result.status, result.out) == (0, "1 decisions replayed, 0 would differ; 0 others\n")
    assert result.err == "sidecar: warning: log.jsonl: line 1: no decision (9 lines)\n"


def test_replay_reads_standard_input_whatever_its_bytes(cli: Cli, folder: Path, typed: Any) -> None:
    typed(b"\xff\xfe\n" + record("accountant", "billing", "view", decision=True, reason="allowed").encode() + b"\n")
    result = cli("policy", "replay", "-")
    assert (result.status, result.out) == (0, "1 decisions replayed, 0 would differ; 0 others\n")
    assert result.err == "sidecar: warning: -: line 1: not JSON (1 lines)\n"


# -- init


def test_init_writes_a_policy_that_passes(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.umask(0o002)
    try:
        init.main(["new/place"], standalone_mode=False)
    finally:
        os.umask(0o022)
    assert capsys.readouterr().out.splitlines()[0] == "new/place/policy/policy.csv"
    place = tmp_path / "new" / "place"
    files = [path for path in place.rglob("*") if path.is_file()]
    assert len(files) == 9
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}
    assert stat.S_IMODE((place / "policy").stat().st_mode) == 0o755
    assert (place / "policy" / "README.md").read_bytes() == (ROOT / "policy" / "README.md").read_bytes()
    assert all(path.read_text().startswith("#") for path in files)
    options = ["--policy-dir", str(place / "policy"), "--model", str(place / "model.conf")]
    assert cli("policy", "check", "--strict", *options).status == 0
    assert cli("policy", "test", *options).status == 0


def test_init_writes_over_nothing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "roles.toml").write_text("mine")
    with pytest.raises(CliError) as stopped:
        init.main(["."], standalone_mode=False)
    assert stopped.value.status == 2
    assert "policy/roles.toml" in stopped.value.message
    assert [path.name for path in (tmp_path / "policy").iterdir()] == ["roles.toml"]
    assert not (tmp_path / "model.conf").exists()


def test_init_leaves_nothing_half_written(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path.name == "routes.csv":
            raise OSError(28, "No space left on device")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    result = cli("init", "new")
    assert (result.status, result.out) == (2, "")
    assert result.err == "sidecar: new/policy/routes.csv: No space left on device\n"
    assert [path for path in (tmp_path / "new").rglob("*") if path.is_file()] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's full disk")
def test_init_writes_all_of_it_before_it_speaks(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", "init", str(tmp_path / "new")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (2, b"sidecar: standard output: No space left on device\n")
    assert len([path for path in (tmp_path / "new").rglob("*") if path.is_file()]) == 9
