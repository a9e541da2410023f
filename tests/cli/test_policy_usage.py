"""`sidecar policy usage`: unused rights by decision logs, and a tighter policy that changes no answer of them."""

import bz2
import gzip
import json
import lzma
import random
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import FILES
from sidecar.policy.generation import Generation

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    shutil.copy(ROOT / "model.conf", tmp_path)
    return tmp_path / "policy"


def compiled(folder: Path) -> Generation:
    files = {}
    for name in FILES:
        path = folder.parent / name if name == "model.conf" else folder / name
        files[name] = path.read_bytes()
    draft = compile_policy(files, proof=ProofScope.NONE).draft
    assert draft is not None
    return draft


def line(policy: Generation, user: str, role: str, section: str, action: str, **more: object) -> str:
    ruling = policy.cells.find(role, section, action)
    fields: dict[str, object] = {
        "time": "2026-11-24T10:00:00.000+00:00",
        "kind": "decision",
        "request_id": "r",
        "endpoint": "/check/nginx",
        "account": "acc_1",
        "user": user,
        "role": role,
        "section": section,
        "action": action,
        "decision": ruling is not None and ruling.allowed,
        "reason": str(ruling.reason) if ruling is not None else "unknown_section",
        "cause": "",
        "rule": ruling.rule if ruling is not None else None,
        "generation": policy.id,
        "duration_us": 12,
        **more,
    }
    return json.dumps(fields)


PEOPLE = {
    "usr_ada": "account-administrator",
    "usr_bob": "accountant",
    "usr_dan": "developer",
    "usr_dot": "developer",
    "usr_max": "marketer",
}
GAPS = {
    *(("account-administrator", "cache-purge", action) for action in ("view", "purge")),
    *(("developer", "cache-purge", action) for action in ("view", "purge")),
    ("developer", "integration", "manage"),
    ("accountant", "account-settings", "change-password"),
}
"""Cells that no user uses in the generated log. Together they close the section cache-purge."""

DOT_NEVER = {("analytics", "view"), ("developer", "manage")}
"""Permissions that usr_dot never uses. The other developer does."""

DENIED = ("marketer", "billing", "view", 321)


def generated(policy: Generation, lines: int = 100_000) -> Iterator[str]:
    """Yield a log with these gaps: every other allowed cell of every user appears."""
    rng = random.Random(18)
    uses = [
        (user, role, section, action)
        for user, role in PEOPLE.items()
        for section, action in sorted(policy.allowed[role])
        if (role, section, action) not in GAPS and not (user == "usr_dot" and (section, action) in DOT_NEVER)
    ]
    role, section, action, times = DENIED
    rows = [("usr_max", role, section, action)] * times + [("usr_bob", "accountant", "users", "view")] * 9
    rows += uses
    rows += rng.choices(uses, k=lines - len(rows))
    rng.shuffle(rows)
    return (line(policy, *row) for row in rows)


@pytest.fixture
def log(folder: Path) -> Path:
    path = folder.parent / "log.jsonl"
    path.write_text("\n".join(generated(compiled(folder), 2000)) + "\n")
    return path


def test_a_log_of_100_000_names_exactly_the_known_gaps(cli: Cli, folder: Path) -> None:
    policy = compiled(folder)
    (folder.parent / "log.jsonl").write_text("\n".join(generated(policy)) + "\n")
    result = cli("policy", "usage", "log.jsonl", "--json", "--write", "tight.csv")
    assert result.status == 0, result.err
    found = json.loads(result.out)
    assert set(found) == {"unused", "people", "denials", "proposal", "sampled", "skipped"}
    assert set(found["unused"]) == {"rules", "cells", "sections"}
    assert {(c["role"], c["section"], c["action"]) for c in found["unused"]["cells"]} == GAPS
    assert [r["text"] for r in found["unused"]["rules"]] == ["p, developer, cache-purge, *, allow"]
    assert found["unused"]["sections"] == ["cache-purge"]
    never = {person["user"]: set(person["unused"]) for person in found["people"]}
    assert never == {
        "usr_ada": {"cache-purge/view", "cache-purge/purge"},
        "usr_bob": {"account-settings/change-password"},
        "usr_dan": {"cache-purge/view", "cache-purge/purge", "integration/manage"},
        "usr_dot": {
            "cache-purge/view",
            "cache-purge/purge",
            "integration/manage",
            "analytics/view",
            "developer/manage",
        },
    }
    [denial] = found["denials"]
    assert (denial["role"], denial["section"], denial["action"], denial["times"]) == DENIED
    assert denial["roles"] == ["account-administrator", "accountant"], "who could be meant"
    assert denial["users"] == ["usr_max"]
    assert (found["sampled"], found["skipped"]) == (None, [])

    shutil.copytree(folder, folder.parent / "tight")
    (folder.parent / "tight" / "policy.csv").write_bytes((folder.parent / "tight.csv").read_bytes())
    tight = compiled(folder.parent / "tight")
    taken = GAPS - {("accountant", "account-settings", "change-password")}  # a rule of member, which others use
    for role in policy.roles:
        if policy.roles[role].assignable:
            gone = {(role, section, action) for section, action in policy.allowed[role] - tight.allowed[role]}
            assert gone == {cell for cell in taken if cell[0] == role}
            assert tight.allowed[role] <= policy.allowed[role]
    changes = {(c["role"], c["section"], c["action"], c["from"], c["to"]) for c in found["proposal"]["changes"]}
    assert changes == {(*cell, "allow", "deny") for cell in taken}
    replayed = cli("policy", "replay", "log.jsonl", "--policy-dir", "tight")
    assert replayed.status == 0
    assert "100000 decisions replayed, 0 would differ" in replayed.out


def test_the_text_names_the_gaps_and_the_diff(cli: Cli, folder: Path, log: Path) -> None:
    result = cli("policy", "usage", "log.jsonl")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("2000 decisions from 2026-11-24")
    for expected in (
        "rules without an allowed user: 1\n",
        "cells without an allowed user: 6\n",
        "sections without a visitor: 1\nSECTION\ncache-purge\n",
        "users with unused permissions: 4\n",
        "denials that came often: 1\n",
        "321    marketer  billing  view    no_rule  account-administrator, accountant",
        "\n-p, developer,             cache-purge,        *, allow\n",
        "developer              cache-purge  purge   allow  deny",
        "also edit: policy/expectations.csv:",
    ):
        assert expected in result.out, result.out
    edits = [line for line in result.out.splitlines() if line.startswith("also edit: ")]
    assert len(edits) == 3, "each cause once"
    taken = GAPS - {("accountant", "account-settings", "change-password")}
    named = {cell for cell in taken if any(f"p, {', '.join(cell)}, allow" in line for line in edits)}
    assert named == taken, "each expected allow that is taken away"


def test_R26_a_proposal_keeps_what_administrators_must_have(cli: Cli, folder: Path) -> None:
    """One use of one cell: all that is left is that cell, R26, and the sidecar's own endpoints."""
    policy = compiled(folder)
    (folder.parent / "log").write_text(line(policy, "usr_max", "marketer", "media-library", "view") + "\n")
    found = json.loads(cli("policy", "usage", "log", "--json", "--write", "policy/policy.csv").out)
    tight = compiled(folder)
    assert found["proposal"]["policy.csv"] == (folder / "policy.csv").read_text()
    assert tight.allowed["account-administrator"] == {
        *(("users", "view"), ("users", "manage"), ("policy", "view"), ("policy", "preview"), ("audit", "view")),
        *(("account-settings", "view"), ("account-settings", "change-password")),
    }
    assert tight.allowed["marketer"] == {("media-library", "view")}
    assert tight.allowed["accountant"] == tight.allowed["developer"] == frozenset()
    codes = [line.split(": ")[1] for line in cli("policy", "check").out.splitlines()]
    assert codes
    assert set(codes) <= {"failed-expectation", "unused-role"}


def test_cells_of_own_endpoints_are_those_of_their_guards() -> None:
    from sidecar.api.endpoints import API
    from sidecar.http.endpoint import RequirePermission
    from sidecar.policy.usage.proposal import OWN_ENDPOINTS

    guards = [one.guard for one in API if isinstance(one.guard, RequirePermission)]
    assert {(guard.section, guard.action) for guard in guards} == set(OWN_ENDPOINTS)


def test_comments_and_other_lines_of_a_proposal_stay(cli: Cli, folder: Path, log: Path) -> None:
    before = (folder / "policy.csv").read_text().splitlines()
    cli("policy", "usage", "log.jsonl", "--write", "tight.csv")
    after = (folder.parent / "tight.csv").read_text().splitlines()
    assert [text for text in before if text.startswith("#")] == [text for text in after if text.startswith("#")]
    assert [text.split() for text in before if text.startswith("g")] == [
        text.split() for text in after if text.startswith("g")
    ]
    assert "p, developer,             integration,        view, allow" in after


def test_a_sampled_log_is_named_with_what_it_cannot_show(cli: Cli, folder: Path) -> None:
    policy = compiled(folder)
    rows = [
        line(policy, "usr_max", "marketer", "media-library", "view", sampled=0.1),
        line(policy, "usr_max", "marketer", "media-library", "upload", sampled=0.25),
        line(policy, "usr_max", "marketer", "billing", "view"),
    ]
    (folder.parent / "log").write_text("\n".join(rows) + "\n")
    result = cli("policy", "usage", "log", "--json")
    sampled = json.loads(result.out)["sampled"]
    assert (sampled["allows"], sampled["decisions"]) == (0.1, 2)
    assert "can be named as unused" in sampled["cannot_show"]
    assert "are a sample (allows=0.1)" in result.err
    assert "are a sample (allows=0.1)" in cli("policy", "usage", "log").err


def test_a_log_without_an_allow_makes_no_proposal(cli: Cli, folder: Path) -> None:
    """With `allows=0` a log has denials alone. All rights would seem unused."""
    (folder.parent / "log").write_text(line(compiled(folder), "usr_max", "marketer", "billing", "view") + "\n")
    result = cli("policy", "usage", "log", "--json")
    assert (result.status, json.loads(result.out)["proposal"]) == (0, None)
    refused = cli("policy", "usage", "log", "--write", "tight.csv")
    assert refused.status == 2
    assert "no proposal: the log holds no allow of this policy" in refused.err
    assert not (folder.parent / "tight.csv").exists()


def test_older_lines_are_left_out_by_since(cli: Cli, folder: Path) -> None:
    policy, now = compiled(folder), datetime.now(UTC)
    rows = [
        line(policy, "usr_max", "marketer", "media-library", action, time=(now - timedelta(days=days)).isoformat())
        for action, days in (("view", 89), ("upload", 91), ("manage", 400))
    ]
    (folder.parent / "log").write_text("\n".join([*rows, line(policy, "u", "marketer", "audit", "view", time="?")]))
    found = json.loads(cli("policy", "usage", "log", "--since", "90d", "--json").out)
    unused = [one["action"] for one in found["unused"]["cells"] if one["section"] == "media-library"]
    assert [action for action in unused if action == "view"] == ["view"] * 2, "of the administrator and the developer"
    assert [(one["line"], one["reason"], one["lines"]) for one in found["skipped"]] == [
        (2, "older than --since", 2),
        (4, "without a readable time, which --since needs", 1),
    ]
    wrong = cli("policy", "usage", "log", "--since", "yesterday")
    assert wrong.status == 2
    assert '--since "yesterday": not a duration' in wrong.err


def test_several_logs_and_standard_input_add_up(cli: Cli, folder: Path, typed: Callable[[str], None]) -> None:
    policy = compiled(folder)
    for name in ("view", "upload"):
        (folder.parent / name).write_text(line(policy, "usr_max", "marketer", "media-library", name) + "\n")
    typed(line(policy, "usr_max", "marketer", "media-library", "manage"))
    found = json.loads(cli("policy", "usage", "view", "upload", "-", "--json").out)
    assert not [
        one for one in found["unused"]["cells"] if one["role"] == "marketer" and one["section"] != "account-settings"
    ]


def test_endpoints_can_be_chosen(cli: Cli, folder: Path) -> None:
    policy = compiled(folder)
    rows = [
        line(policy, "usr_max", "marketer", "media-library", "view"),
        line(policy, "usr_max", "marketer", "media-library", "upload", endpoint="/v1/check"),
    ]
    (folder.parent / "log").write_text("\n".join(rows) + "\n")
    found = json.loads(cli("policy", "usage", "log", "--endpoint", "/check/nginx", "--json").out)
    [marketer] = found["people"]
    assert "media-library/upload" in marketer["unused"]
    assert found["skipped"] == [{"file": "log", "line": 2, "reason": "of another endpoint: /v1/check", "lines": 1}]


# -- bad input


def test_skipped_lines_are_named_with_line_and_reason(cli: Cli, folder: Path) -> None:
    policy = compiled(folder)
    good = line(policy, "usr_max", "marketer", "media-library", "view")
    rows = [
        good,
        '{"level": "info", "decision_id": "of another program"}',
        "[1, 2]",
        "127.0.0.1 - - GET /",
        '{"decision": true, "reason": "because"}',
        line(policy, "usr_max", "janitor", "media-library", "view", decision=True, reason="allowed"),
        line(policy, "usr_max", "marketer", "cellar", "view", decision=True, reason="allowed"),
        "\udcff\udcfe",
        "x" * 2_000_000,
        good[:40],
    ]
    (folder.parent / "log").write_bytes("\n".join(rows).encode("utf-8", "surrogateescape"))
    result = cli("policy", "usage", "log", "--json")
    assert result.status == 0
    assert [(one["line"], one["reason"], one["lines"]) for one in json.loads(result.out)["skipped"]] == [
        (2, "no decision of a sidecar", 3),
        (4, "not JSON", 2),
        (6, "of another policy: role 'janitor' is not in this one", 1),
        (7, "of another policy: 'cellar/view' is not in this one", 1),
        (9, "longer than 1048576 bytes", 1),
        (10, "cut off: neither JSON nor a line end", 1),
    ]
    assert "sidecar: skipped: log:10: cut off: neither JSON nor a line end (1 lines)" in result.err


@pytest.mark.parametrize(
    ("name", "pack", "how"),
    [
        ("log.gz", gzip.compress, "gzip -dc log.gz"),
        ("log.bz2", bz2.compress, "bzip2 -dc log.bz2"),
        ("log.xz", lzma.compress, "xz -dc log.xz"),
        ("log.zip", lambda data: b"PK\x03\x04" + data, "unzip -p log.zip"),
        ("log.zst", lambda data: b"\x28\xb5\x2f\xfd" + data, "zstd -dc log.zst"),
    ],
)
def test_a_compressed_log_is_named_with_its_remedy(
    cli: Cli, folder: Path, name: str, pack: Callable[[bytes], bytes], how: str
) -> None:
    (folder.parent / name).write_bytes(pack(b'{"decision": true}\n'))
    result = cli("policy", "usage", name)
    assert (result.status, result.out) == (2, "")
    assert f"{name}:1: compressed with " in result.err
    assert f"{how} | sidecar policy usage -" in result.err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is empty"),
        ("hello\n", "log:1: not JSON (1 lines)"),
        ('{"kind": "access", "decision": true, "reason": "allowed"}\n', "log:1: no decision of a sidecar (1 lines)"),
        ('{"decision": true, "reason": "allowed", "role": "x"}\n', "log:1: of another policy: role 'x' is not in this"),
        ('{"decision": false, "reason": "missing_token"}\n', "1 decisions that depend on no rule"),
    ],
)
def test_a_log_without_a_decision_is_wrong_usage(cli: Cli, folder: Path, content: str, reason: str) -> None:
    (folder.parent / "log").write_text(content)
    result = cli("policy", "usage", "log")
    assert (result.status, result.out) == (2, "")
    assert "log: no decision of this policy: " in result.err
    assert reason in result.err
    assert cli("policy", "usage", "gone").status == 2


def test_decisions_of_other_generations_count_and_are_named(cli: Cli, folder: Path) -> None:
    policy = compiled(folder)
    rows = [
        line(policy, "usr_max", "marketer", "media-library", "view", generation="0" * 32),
        line(policy, "usr_max", "marketer", "billing", "view", decision=True, reason="allowed", generation="0" * 32),
    ]
    (folder.parent / "log").write_text("\n".join(rows) + "\n")
    result = cli("policy", "usage", "log", "--json")
    assert f"2 decisions are of other generations ({'0' * 32})" in result.err
    assert "1 allows are of cells that this policy denies" in result.err
    assert "media-library/view" not in json.loads(result.out)["people"][0]["unused"]


def test_denied_names_that_do_not_exist_have_a_near_one(cli: Cli, folder: Path) -> None:
    policy = compiled(folder)
    rows = [line(policy, "usr_max", "marketer", "media-libary", "view")] * 10
    rows += [line(policy, "usr_max", "marketer", "media-library", "uplod", reason="unknown_action")] * 11
    rows += [line(policy, "usr_max", "marketer", "media-library", "view")]
    (folder.parent / "log").write_text("\n".join(rows) + "\n")
    found = json.loads(cli("policy", "usage", "log", "--json").out)
    assert [(d["section"], d["action"], d["meant"]) for d in found["denials"]] == [
        ("media-library", "uplod", "media-library/upload"),
        ("media-libary", "view", "media-library/view"),
    ]
    assert len(json.loads(cli("policy", "usage", "log", "--often", "11", "--json").out)["denials"]) == 1


def test_kinds_of_denials_are_bounded(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.policy.usage.counts.MAX_DENIALS", 5)
    policy = compiled(folder)
    rows = [line(policy, "usr_max", "marketer", f"made-up-{number}", "view") for number in range(12)]
    (folder.parent / "log").write_text("\n".join(rows) + "\n")
    result = cli("policy", "usage", "log", "--often", "1", "--json")
    assert len(json.loads(result.out)["denials"]) == 5
    assert "7 denials of further kinds are not listed" in result.err


def test_a_cell_that_a_need_denied_stays(cli: Cli, folder: Path) -> None:
    """A step-up was asked for: the right is in use, although no allow is in the log."""
    policy = compiled(folder)
    rows = [
        line(
            policy, "b", "accountant", "billing", "change-plan", decision=False, reason="step_up_required", unmet=["x"]
        ),
        line(policy, "b", "accountant", "billing", "view"),
    ]
    (folder.parent / "log").write_text("\n".join(rows) + "\n")
    found = json.loads(cli("policy", "usage", "log", "--often", "1", "--json").out)
    assert ("accountant", "billing", "change-plan") in {
        (one["role"], one["section"], one["action"]) for one in found["unused"]["cells"]
    }
    assert not [c for c in found["proposal"]["changes"] if (c["role"], c["section"]) == ("accountant", "billing")]
    assert [(d["reason"], d["unmet"]) for d in found["denials"]] == [("step_up_required", ["x"])]


def test_control_characters_of_a_log_never_reach_the_terminal(cli: Cli, folder: Path) -> None:
    policy = compiled(folder)
    rows = [line(policy, "usr\x1b[31m", "marketer", "sec\x1b[2J", "view", time="2\x1b[0m")] * 20
    rows += [line(policy, "usr\x1b[31m", "marketer", "media-library", "view"), line(policy, "u", "\x1b]0;x", "a", "b")]
    (folder.parent / "log").write_text("\n".join(rows) + "\n")
    result = cli("policy", "usage", "log")
    assert result.status == 0
    assert "\x1b" not in result.out + result.err
    assert re.search(r"usr\\x1b\[31m", result.out)
