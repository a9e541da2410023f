"""`sidecar policy check|test|matrix|can|explain`: on files alone, with their exit statuses."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from sidecar.policy.diagnostics import OPTIONAL_FILES, POLICY_FILES

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., Any]
ALLOW_MARKETER = "p, marketer, billing, view, allow\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped policy where the command runs."""
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    shutil.copy(ROOT / "model.conf", tmp_path)
    return tmp_path / "policy"


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


# -- check


def test_check_is_silent_on_success(cli: Cli, folder: Path) -> None:
    result = cli("policy", "check")
    assert (result.status, result.out, result.err) == (0, "", "")


def test_check_without_a_local_policy_reports_the_packaged_one(cli: Cli) -> None:
    for form in ([], ["--json"]):
        result = cli("policy", "check", *form)
        assert (result.status, result.out) == (0, "[]\n" if form else "")
        assert result.err == f"sidecar: no ./policy: using the packaged policy, {ROOT / 'policy'}\n"


def test_R25_a_partial_policy_is_not_completed_by_the_packaged(cli: Cli, folder: Path) -> None:
    (folder.parent / "model.conf").unlink()
    result = cli("policy", "check")
    assert (result.status, result.err) == (1, "")
    assert result.out.startswith("model.conf:1:1: missing-file: ")
    shutil.copy(ROOT / "model.conf", folder.parent)
    folder.rename(folder.parent / "gone")
    folder.symlink_to("..data")
    result = cli("policy", "check")
    assert (result.status, result.err) == (1, "")
    assert [line.split(": ")[:2] for line in result.out.splitlines()] == [
        [f"policy/{name}:1:1", "missing-file"] for name in sorted({*POLICY_FILES} - {*OPTIONAL_FILES})
    ]
    folder.unlink()
    folder.write_text("not a folder\n")
    result = cli("policy", "check")
    assert result.status == 1
    assert result.out.startswith(
        "policy/expectations.csv:1:1: unreadable-file: the file cannot be read: Not a directory ("
    )


def test_check_names_the_file_as_the_user_could_open_it(cli: Cli, folder: Path, tmp_path: Path) -> None:
    append(folder / "policy.csv", "p, marketeer, billing, view, allow\n")
    message = 'unknown-role: "marketeer" is not a role (did you mean "marketer"?)'
    assert cli("policy", "check").out == f"policy/policy.csv:36:4: {message}\n"
    assert cli("policy", "check", "--policy-dir", "policy/").out == f"policy/policy.csv:36:4: {message}\n"
    assert cli("policy", "check", "--policy-dir", str(folder)).out == f"{folder}/policy.csv:36:4: {message}\n"
    shutil.move(folder, tmp_path / "other")
    result = cli("policy", "check", "--policy-dir", "other")
    assert (result.status, result.out) == (1, f"other/policy.csv:36:4: {message}\n")


def test_check_reads_the_settings_of_the_server(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.rename(folder.parent / "elsewhere")
    append(folder.parent / "elsewhere" / "policy.csv", "x\n")
    monkeypatch.setenv("SIDECAR_POLICY_DIR", "elsewhere")
    assert cli("policy", "check").out.startswith("elsewhere/policy.csv:36:1: unknown-rule-type")


def test_check_names_the_model_as_it_was_given(cli: Cli, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "my.conf").write_text("[matchers]\n")
    result = cli("policy", "check", "--model", "my.conf")
    assert result.status == 1
    assert all(line.startswith("my.conf:1:1: model-section: ") for line in result.out.splitlines())
    assert cli("policy", "check", "--model", "gone.conf").out.startswith("gone.conf:1:1: missing-file: ")


def test_a_folder_that_is_not_there_is_wrong_usage(cli: Cli) -> None:
    result = cli("policy", "check", "--policy-dir", "nowhere")
    assert (result.status, result.out) == (2, "")
    assert result.err == "sidecar: nowhere: there is no such directory\n"


def test_a_warning_is_no_failure_unless_strict(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, marketer, account-settings, view, allow\n")
    relaxed = cli("policy", "check")
    assert relaxed.status == 0
    assert relaxed.out.startswith("policy/policy.csv:36:1: shadowed-rule: warning: ")
    strict = cli("policy", "check", "--strict")
    assert strict.status == 1
    assert strict.out == relaxed.out.replace(": warning: ", ": ")


def test_check_as_json_has_the_shape_of_the_contract(cli: Cli, folder: Path) -> None:
    assert json.loads(cli("policy", "check", "--json").out) == []
    append(folder / "policy.csv", "p, marketer, biling, view, allow\n")
    result = cli("policy", "check", "--format", "json")
    assert result.status == 1
    assert json.loads(result.out) == [
        {
            "severity": "error",
            "code": "unknown-section",
            "file": "policy/policy.csv",
            "line": 36,
            "column": 14,
            "message": '"biling" is not a section',
            "hint": 'did you mean "billing"?',
            "places": [],
        }
    ]


def test_check_as_sarif(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, marketer, account-settings, view, allow\np, x, billing, view, allow\nP\n")
    report = json.loads(cli("policy", "check", "--format", "sarif").out)
    assert report["version"] == "2.1.0"
    [run] = report["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    results = [(rules[r["ruleIndex"]], r["ruleId"], r["level"]) for r in run["results"]]
    assert results == [("unknown-role",) * 2 + ("error",), ("unknown-rule-type",) * 2 + ("error",)]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "policy/policy.csv"},
        "region": {"startLine": 37, "startColumn": 4},
    }


def test_sarif_has_the_further_places_of_a_finding(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, nobody, billing, view, allow\np, nobody, audit, view, allow\n")
    [run] = json.loads(cli("policy", "check", "--format", "sarif").out)["runs"]
    [result] = run["results"]
    [related] = result["relatedLocations"]
    assert related["physicalLocation"]["region"] == {"startLine": 37, "startColumn": 4}


def test_sarif_says_what_each_rule_means(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, marketer, account-settings, view, allow\n")
    [run] = json.loads(cli("policy", "check", "--format", "sarif").out)["runs"]
    [rule] = run["tool"]["driver"]["rules"]
    assert rule["shortDescription"] == {"text": "Shadowed rule"}
    assert rule["help"]["text"] == "The rule is redundant: a wider or an inherited rule covers it."


def test_sarif_names_files_relative_to_the_repository(cli: Cli, folder: Path) -> None:
    def uri(where: Path) -> str:
        report = json.loads(cli("policy", "check", "--format", "sarif", "--policy-dir", str(where)).out)
        found: str = report["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        return found

    append(folder / "policy.csv", "P\n")
    assert uri(folder) == "policy/policy.csv"
    odd = folder.parent / "rules of ä#1"
    folder.rename(odd)
    assert uri(odd) == uri(Path(odd.name)) == "rules%20of%20%C3%A4%231/policy.csv"
    (folder.parent / "here").mkdir()
    os.chdir(folder.parent / "here")
    shutil.copy(ROOT / "model.conf", ".")
    assert uri(odd) == f"file://{folder.parent}/rules%20of%20%C3%A4%231/policy.csv"


def test_check_for_github(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, 100%, billing, view, allow\n")
    out = cli("policy", "check", "--format", "github").out
    assert out.startswith('::error file=policy/policy.csv,line=36,col=4,title=unknown-role::"100%25" is not a role')
    assert out.count("\n") == 1
    assert cli("policy", "test", "--format", "github").out == out


def test_what_a_terminal_would_obey_is_shown_and_not_sent(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, \x1b[31mred, billing, view, allow\n")
    assert "\x1b" not in cli("policy", "check").out


def test_an_unknown_format_is_wrong_usage(cli: Cli, folder: Path) -> None:
    assert cli("policy", "check", "--format", "xml").status == 2


@pytest.mark.parametrize("verb", ["check", "test", "matrix", "can marketer billing view"])
def test_the_file_verbs_load_neither_a_web_server_nor_redis(folder: Path, verb: str) -> None:
    code = (
        "import sys; from sidecar.cli.main import run; run(['policy', *sys.argv[1:]]);"
        "loaded = {'aiohttp', 'redis', 'argon2', 'grpc', 'rich', 'structlog'} & set(sys.modules);"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *verb.split()],
        cwd=folder.parent,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


# -- test


def test_test_passes_with_a_summary(cli: Cli, folder: Path) -> None:
    result = cli("policy", "test")
    assert result.status == 0
    assert "82 expectations and 109 routes: 191 passed, 0 failed" in result.out
    assert "rules: 15 of 16 decide something (93.8 %)" in result.out
    assert "cells: 88 of 88 are expected (100.0 %), 7 of them by rows with *" in result.out
    assert len(re.findall(r"^policy/policy\.csv:\d+ .* decides$", result.out, re.MULTILINE)) == 15
    assert re.search(
        r"^policy/policy\.csv:32 +g, account-administrator, member +0 +0 +never fires$", result.out, re.MULTILINE
    )


def test_a_failed_expectation_fails_at_its_line(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", ALLOW_MARKETER)
    result = cli("policy", "test")
    assert result.status == 1
    assert result.out.startswith(
        "policy/expectations.csv:80:1: failed-expectation: marketer on billing/view: expected deny, got allow"
    )
    assert "190 passed, 1 failed" in result.out


def test_a_missing_cell_fails(cli: Cli, folder: Path) -> None:
    path = folder / "expectations.csv"
    path.write_text(re.sub(r"deny, +marketer, +billing, +view\n", "", path.read_text()))
    result = cli("policy", "test")
    assert result.status == 1
    assert "missing-expectation" in result.out
    assert "cells: 87 of 88 are expected (98.9 %)" in result.out


def test_a_rule_without_effect_is_shown_and_lowers_coverage(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, marketer, billing, view, deny\n")
    result = cli("policy", "test")
    assert result.status == 0
    assert re.search(r"^policy/policy\.csv:36 .* fires, never decisive$", result.out, re.MULTILINE)
    assert cli("policy", "test", "--threshold", "88").status == 0
    below = cli("policy", "test", "--threshold", "95")
    assert below.status == 1
    assert below.err == "sidecar: 88.2 % of the rules are covered, 95 % are required\n"
    assert cli("policy", "test", "--threshold", "101").status == 2


def test_verbose_lists_every_cell(cli: Cli, folder: Path) -> None:
    out = cli("policy", "test", "-v").out
    assert len(re.findall(r" expected$", out, re.MULTILINE)) == 81
    assert len(re.findall(r" expected by \*$", out, re.MULTILINE)) == 7


def test_test_as_json(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", ALLOW_MARKETER)
    report = json.loads(cli("policy", "test", "--json").out)
    assert [d["code"] for d in report["diagnostics"]] == ["failed-expectation"]
    assert (report["passed"], report["failed"], report["missing"]) == (190, 1, [])
    assert report["coverage"] == {"rules": 94.12, "cells": 100.0}
    assert report["rules"][-2] == {
        "rule": "policy/policy.csv:35",
        "text": "g, marketer, member",
        "fired": 2,
        "decisive": 2,
    }
    assert report["rules"][-1] == {
        "rule": "policy/policy.csv:36",
        "text": "p, marketer, billing, view, allow",
        "fired": 1,
        "decisive": 1,
    }
    assert len(report["cells"]) == 88


def test_test_of_a_policy_that_does_not_compile_says_why(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, nobody, billing, view, allow\n")
    result = cli("policy", "test")
    assert result.status == 1
    assert result.out.startswith("policy/policy.csv:36:4: unknown-role: ")
    assert result.out.endswith("82 expectations and 109 routes: not judged: the policy does not compile\n")
    told = json.loads(cli("policy", "test", "--json").out)
    assert told["generation"] is None
    assert (told["passed"], told["failed"], told["not_judged"]) == (0, 0, 191)


def test_junit(cli: Cli, folder: Path, tmp_path: Path) -> None:
    append(folder / "policy.csv", ALLOW_MARKETER)
    result = cli("policy", "test", "--junit", "report.xml")
    assert result.status == 1
    root = ET.fromstring((tmp_path / "report.xml").read_text())  # noqa: S314 - our own
    counts = [(s.get("name"), s.get("tests"), s.get("failures"), s.get("errors")) for s in root]
    assert counts == [
        ("policy/expectations.csv", "82", "1", "0"),
        ("policy/routes.csv", "109", "0", "0"),
        ("policy", "0", "0", "0"),
    ]
    [failed] = [case for case in root.iter("testcase") if len(case)]
    assert failed.get("classname") == "policy/expectations.csv:80"
    assert failed.get("name") == "deny marketer billing/view"
    assert cli("policy", "test", "--format", "junit").out == (tmp_path / "report.xml").read_text()
    assert cli("policy", "test", "--junit", "no/such/folder.xml").status == 2


def test_junit_has_what_keeps_the_tests_from_running(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", 'p, <a>&"b", billing, view, allow\n')
    root = ET.fromstring(cli("policy", "test", "--format", "junit").out)  # noqa: S314 - our own
    assert [suite.get("errors") for suite in root] == ["0", "0", "1"]
    assert [suite.get("skipped") for suite in root] == ["82", "109", "0"]
    skipped = [case.find("skipped") for suite in root[:2] for case in suite]
    assert {one is not None and one.get("message") for one in skipped} == {"not judged: the policy does not compile"}


def test_junit_has_the_errors_of_strict(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, marketer, account-settings, view, allow\n")
    relaxed = cli("policy", "test", "--format", "junit")
    assert (relaxed.status, "shadowed-rule" in relaxed.out) == (0, False)
    strict = cli("policy", "test", "--format", "junit", "--strict")
    assert strict.status == 1
    root = ET.fromstring(strict.out)  # noqa: S314 - our own
    assert [suite.get("errors") for suite in root] == ["0", "0", "1"]
    assert root[2][0].get("name") == "policy/policy.csv:36 shadowed-rule"


def test_coverage_below_the_threshold_is_in_every_report(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, marketer, billing, view, deny\n")
    message = f"{cli('policy', 'test', '--threshold', '99').err.removeprefix('sidecar: ').strip()}"
    junit, sarif, github, told = (
        cli("policy", "test", "--threshold", "99", "--format", form) for form in ("junit", "sarif", "github", "json")
    )
    assert {junit.status, sarif.status, github.status, told.status} == {1}
    root = ET.fromstring(junit.out)  # noqa: S314 - our own
    assert [suite.get("failures") for suite in root] == ["0", "0", "1"]
    failure = root[2][0].find("failure")
    assert failure is not None
    assert failure.get("message") == message
    results = json.loads(sarif.out)["runs"][0]["results"]
    assert [(r["ruleId"], r["message"]["text"]) for r in results if r["level"] == "error"] == [
        ("low-coverage", message)
    ]
    assert (
        f"::error file=policy/policy.csv,line=1,col=1,title=low-coverage::{message}".replace("%", "%25") in github.out
    )
    assert [d["message"] for d in json.loads(told.out)["diagnostics"] if d["severity"] == "error"] == [message]
    assert "low-coverage" not in cli("policy", "test", "--threshold", "50", "--format", "junit").out


# -- matrix, can, explain


def test_the_matrix_has_every_cell(cli: Cli, folder: Path) -> None:
    result = cli("policy", "matrix", "--json")
    matrix = json.loads(result.out)
    assert result.status == 0
    assert re.fullmatch("[0-9a-f]{32}", matrix["generation"])
    assert len(matrix["cells"]) == 5 * 22
    assert {
        "role": "accountant",
        "section": "billing",
        "action": "change-plan",
        "decision": True,
        "reason": "allowed",
        "rule": "policy/policy.csv:15",
    } in matrix["cells"]
    expected = [line.split(", ") for line in (folder / "expectations.csv").read_text().splitlines() if "," in line[:6]]
    cells = {(c["role"], c["section"], c["action"]): c["decision"] for c in matrix["cells"]}
    assert all(
        cells[role.strip(), section.strip(), action]
        for e, role, section, action in map(fields, expected)
        if e == "allow"
    )


def fields(parts: list[str]) -> list[str]:
    return [part.strip() for part in ",".join(parts).split(",") if part.strip()]


def test_the_matrix_can_be_narrowed(cli: Cli, folder: Path) -> None:
    out = cli("policy", "matrix", "--role", "marketer", "--section", "media-library").out
    assert len(out.splitlines()) == 4
    assert cli("policy", "matrix", "--role", "marketeer").status == 2


@pytest.mark.parametrize(
    ("asked", "status", "out"),
    [
        ("accountant billing change-plan", 0, "yes: allowed by policy/policy.csv:15\n"),
        ("marketer account-settings view", 0, "yes: allowed by policy/policy.csv:30\n"),
        ("marketer billing view", 1, "no: no_rule\n"),
        ("member billing view", 1, "no: no_rule\n"),
    ],
)
def test_can(cli: Cli, folder: Path, asked: str, status: int, out: str) -> None:
    result = cli("policy", "can", *asked.split())
    assert (result.status, result.out) == (status, out)


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("marketeer billing view", 'did you mean "marketer"?'),
        ("Marketer billing view", 'did you mean "marketer"?'),
        ("role:marketer billing view", 'did you mean "marketer"?'),
        ("marketer biling view", 'did you mean "billing"?'),
        ("marketer billing vew", 'did you mean "view"?'),
        ("marketer billing purge", "known: view, change-plan"),
        ("marketer * view", "known: users"),
        ("marketer billing *", "known: view, change-plan"),
    ],
)
def test_can_of_an_unknown_name_is_an_error_and_no_decision(cli: Cli, folder: Path, asked: str, hint: str) -> None:
    result = cli("policy", "can", *asked.split())
    assert (result.status, result.out) == (2, "")
    assert hint in result.err


def test_can_as_json(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, accountant, billing, view, deny\n")
    answer = json.loads(cli("policy", "can", "accountant", "billing", "view", "--json").out)
    assert answer.pop("generation")
    assert answer == {
        "role": "accountant",
        "section": "billing",
        "action": "view",
        "decision": False,
        "reason": "explicit_deny",
        "rule": "policy/policy.csv:36",
        "user": None,
    }


def test_a_policy_that_fails_its_tests_decides_with_a_warning(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", ALLOW_MARKETER)
    result = cli("policy", "can", "marketer", "billing", "view")
    assert (result.status, result.out) == (0, "yes: allowed by policy/policy.csv:36\n")
    assert "failed-expectation" in result.err
    assert "the server would reject this policy" in result.err


def test_a_policy_that_does_not_compile_answers_nothing(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "x\n")
    for verb in ("matrix", "can marketer billing view", "explain marketer billing view", "diff policy"):
        result = cli("policy", *verb.split())
        assert (result.status, result.out) == (1, "")
        assert "unknown-rule-type" in result.err
        assert result.err.endswith("sidecar: the policy does not compile\n")


def test_explain_of_a_deny(cli: Cli, folder: Path) -> None:
    result = cli("policy", "explain", "marketer", "billing", "view")
    assert result.status == 1
    told = dict(re.split(r"  +", line, maxsplit=1) for line in result.out.splitlines())
    assert told["decision"] == "deny (no_rule)"
    assert told["nearest"] == "policy/policy.csv:15: p, accountant, billing, *, allow"
    assert told["edits"] == (
        "add to policy/policy.csv: p, marketer, billing, view, allow; "
        "write in place of policy/expectations.csv:80: allow, marketer, billing, view"
    )
    assert told["allowed roles"] == "account-administrator, accountant"


def test_explain_shows_the_allow_that_a_deny_overrides(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, accountant, billing, view, deny\n")
    result = cli("policy", "explain", "accountant", "billing", "view")
    told = dict(re.split(r"  +", line, maxsplit=1) for line in result.out.splitlines())
    assert told["rule"] == "policy/policy.csv:36: p, accountant, billing, view, deny"
    assert told["overrides"] == told["nearest"] == "policy/policy.csv:15: p, accountant, billing, *, allow"


def test_explain_of_an_inherited_allow_as_json(cli: Cli, folder: Path) -> None:
    result = cli("policy", "explain", "marketer", "account-settings", "view", "--json")
    told = json.loads(result.out)
    assert result.status == 0
    assert told["decision"] is True
    assert told["rule"] == "policy/policy.csv:30"
    assert told["path"] == [{"rule": "policy/policy.csv:35", "text": "g, marketer, member"}]


def test_the_change_that_explain_proposes_works(cli: Cli, folder: Path) -> None:
    told = json.loads(cli("policy", "explain", "marketer", "billing", "view", "--json").out)
    [edit] = told["edits"]
    assert (edit["edit"], edit["rule"]) == ("write", None)
    append(folder / "policy.csv", edit["line"] + "\n")
    assert cli("policy", "can", "marketer", "billing", "view").status == 0
    assert cli("policy", "check").status == 1
    [row] = told["expectations"]
    assert (row["edit"], row["rule"]) == ("replace", "policy/expectations.csv:80")
    lines = (folder / "expectations.csv").read_text().split("\n")
    lines[79] = row["line"]
    (folder / "expectations.csv").write_text("\n".join(lines))
    assert cli("policy", "check").status == 0


def test_explain_names_the_row_that_a_wildcard_row_lacks(cli: Cli, folder: Path) -> None:
    result = cli("policy", "explain", "developer", "audit", "view")
    assert "; add to policy/expectations.csv: allow, developer, audit, view\n" in result.out


def test_help_names_every_verb(cli: Cli) -> None:
    out = cli("policy", "--help").out
    for verb in ("check", "test", "matrix", "can", "explain", "diff", "fmt", "watch", "replay", "usage"):
        assert re.search(rf"^  {verb} ", out, re.MULTILINE), verb
        assert cli("policy", verb, "--help").status == 0


def test_an_unknown_verb_is_wrong_usage(cli: Cli) -> None:
    assert cli("policy", "chekc").status == 2
