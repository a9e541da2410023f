"""action.yml's own script, run as a runner does: on a repository with two commits, with a fake GitHub."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARK = "<!-- policy-sidecar: policy diff -->"
BOT = {"login": "github-actions[bot]", "type": "Bot"}
TOKEN = "ghs_secret"
Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class GitHub:
    """Fake API: the comments of pull request 7 of acme/policies."""

    comments: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    status: int = 200
    url: str = ""

    def answer(self, method: str, path: str, body: dict[str, str]) -> tuple[int, Any]:
        self.calls.append((method, path))
        if self.status != 200:
            return self.status, {"message": "no"}
        parts = urlsplit(path)
        issue = "/repos/acme/policies/issues"
        if method == "GET" and parts.path == f"{issue}/7/comments":
            page, size = (int(parse_qs(parts.query)[name][0]) for name in ("page", "per_page"))
            return 200, self.comments[(page - 1) * size : page * size]
        if method == "POST" and parts.path == f"{issue}/7/comments":
            self.comments.append({"id": 900 + len(self.comments), "user": BOT, "body": body["body"]})
            return 201, self.comments[-1]
        found = re.fullmatch(rf"{issue}/comments/(\d+)", parts.path)
        if method == "PATCH" and found is not None:
            [comment] = [one for one in self.comments if one["id"] == int(found[1])]
            comment["body"] = body["body"]
            return 200, comment
        return 404, {"message": "Not Found"}


@pytest.fixture
def github() -> Iterator[GitHub]:
    state = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers["Content-Length"] or 0)
            state.tokens.add(self.headers["Authorization"])
            status, answer = state.answer(self.command, self.path, json.loads(self.rfile.read(length) or b"{}"))
            content = json.dumps(answer).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", state.url + "/elsewhere")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A repository with two commits. The second grants more."""
    work = tmp_path / "work"
    shutil.copytree(ROOT / "policy", work / "policy")
    shutil.copy(ROOT / "model.conf", work)
    git(work, "init", "-q", "-b", "main")
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "one")
    policy, expectations = work / "policy" / "policy.csv", work / "policy" / "expectations.csv"
    policy.write_text(policy.read_text() + "p, marketer, billing, view, allow\n")
    opened, count = re.subn(r"deny,( +marketer, +billing, +view)", r"allow,\1", expectations.read_text())
    assert count == 1
    expectations.write_text(opened)
    git(work, "commit", "-q", "-a", "-m", "two")
    return work


def clean() -> dict[str, str]:
    identity = {f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", **identity}


def git(work: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=work, env=clean(), check=True)


@pytest.fixture
def action(tmp_path: Path, work: Path) -> Run:
    """Run the action's last step. Inputs are arguments; ``env`` replaces variables of the runner."""
    programs = tmp_path / "temp" / "policy-sidecar" / "bin"
    programs.mkdir(parents=True)
    for name, call in {
        "sidecar": f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m sidecar',
        "python": f'exec "{sys.executable}"',
    }.items():
        (programs / name).write_text(f'#!/bin/sh\n{call} "$@"\n')
        (programs / name).chmod(0o755)
    text = (ROOT / "action.yml").read_text()
    script = textwrap.dedent(text.split("run: |\n")[-1])
    inputs = re.findall(r"^        ([A-Z_]+): \$\{\{ inputs\.([a-z-]+) \}\}$", text, re.MULTILINE)
    defaults = dict(re.findall(r"^  ([a-z-]+):\n(?:    .*\n)*?    default: (.*)$", text, re.MULTILINE))
    assert {name for _, name in inputs} == set(defaults)

    def run(*, env: dict[str, str] | None = None, **given: str) -> subprocess.CompletedProcess[str]:
        named = {name.replace("_", "-"): value for name, value in given.items()}
        assert set(named) <= set(defaults)
        values = {variable: named.get(name, defaults[name].strip('"')) for variable, name in inputs}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=work,
            env={**clean(), **values, "RUNNER_TEMP": str(tmp_path / "temp"), **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def runner(tmp_path: Path, github: GitHub) -> dict[str, str]:
    """Variables of a runner, for pull request 7."""
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"action": "synchronize", "pull_request": {"number": 7}}))
    return {
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_API_URL": github.url,
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_REPOSITORY": "acme/policies",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_HEAD_REF": "feature",
        "GITHUB_BASE_REF": "main",
    }


@pytest.fixture
def comment(tmp_path: Path, runner: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the script of the comment alone, on a report."""

    def run(report: str = "### Policy changes\n", **changed: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "report.md"
        path.write_text(report)
        env = {**clean(), **runner, "COMMENT_TOKEN": TOKEN, "COMMENT_AUTHOR": BOT["login"], **changed}
        script = [sys.executable, "-I", str(ROOT / ".ci" / "pull_request_comment.py"), str(path)]
        return subprocess.run(script, env=env, capture_output=True, text=True, check=False)

    return run


def test_the_action_takes_strict_threshold_and_base(action: Run) -> None:
    plain = action()
    assert plain.returncode == 0, plain.stderr
    assert "191 passed" in plain.stdout
    assert action(strict="true", threshold="50", base="HEAD").returncode == 0
    assert action(strict="yes").returncode == 2
    low = action(threshold="99")
    assert low.returncode == 1
    assert "99 % are required" in low.stderr
    opening = action(base="HEAD~1")
    assert opening.returncode == 1
    assert "1 of these changes open access" in opening.stderr
    assert action(base="nowhere").returncode == 2


@pytest.mark.slow
def test_an_input_of_the_action_is_never_code(tmp_path: Path, action: Run, runner: dict[str, str]) -> None:
    scripts = re.findall(r"run: \|\n((?:        .*\n)+)", (ROOT / "action.yml").read_text())
    assert len(scripts) == 2
    assert not any("${{" in script for script in scripts)
    evil = f'$(touch {tmp_path}/made) `touch {tmp_path}/made`; touch {tmp_path}/made "'
    for name in ("strict", "threshold", "base", "comment", "people", "policy_dir", "model"):
        assert action(env=runner, **{name: evil}).returncode != 0
    assert action(base="--help").returncode == 2
    mentioned = action(
        env=runner, base="HEAD~1", comment="true", people="true",
        comment_author=evil, github_token=evil, sidecar_url=evil, sidecar_token=evil,
    )  # fmt: skip
    assert mentioned.returncode == 2, "a URL that is none"
    assert not (tmp_path / "made").exists()


def test_the_summary_has_the_changes(action: Run, runner: dict[str, str], github: GitHub) -> None:
    done = action(env=runner, base="HEAD~1")
    assert done.returncode == 1, "it opens"
    summary = Path(runner["GITHUB_STEP_SUMMARY"]).read_text()
    assert summary.startswith("### Policy changes\n\n**1 of 1 changes open access.**\n")
    assert "| `marketer` | `billing` | `view` | deny | allow |" in summary
    assert github.calls == [], "no comment without the input"


def test_one_comment_is_kept_up_to_date(action: Run, comment: Run, runner: dict[str, str], github: GitHub) -> None:
    others = [{"id": number, "user": {"login": "ada"}, "body": f"comment {number}"} for number in range(120)]
    others[3] = {"id": 3, "user": {"login": "mallory"}, "body": f"{MARK}\nof another author"}
    others[4] = {"id": 4, "user": BOT, "body": "another action"}
    others[5] = {"id": 5, "user": None, "body": None}
    github.comments = [dict(one) for one in others]
    first = action(env=runner, base="HEAD~1", comment="true", github_token=TOKEN)
    assert "comment created" in first.stdout, first.stderr
    assert github.comments[:120] == others
    body = github.comments[120]["body"]
    assert body.startswith(f"{MARK}\n### Policy changes\n")
    assert "`marketer`" in body
    assert "comment unchanged" in comment(body.removeprefix(f"{MARK}\n")).stdout
    assert "comment updated" in comment("later\n").stdout
    assert github.comments[:120] == others, "also the mark of another author"
    assert [one["body"] for one in github.comments[120:]] == [f"{MARK}\nlater\n"]
    assert github.tokens == {f"Bearer {TOKEN}"}
    assert [call for call in github.calls if call[0] == "POST"] == [("POST", "/repos/acme/policies/issues/7/comments")]
    assert TOKEN not in first.stdout + first.stderr


def test_a_comment_is_cut_to_the_limit(comment: Run, github: GitHub) -> None:
    comment("x" * 100_000)
    assert len(github.comments[0]["body"]) == 60_000


def test_a_policy_that_does_not_compile_is_in_the_comment(
    action: Run, runner: dict[str, str], github: GitHub, work: Path
) -> None:
    (work / "policy" / "policy.csv").write_text("p, nobody, nowhere, *, allow\n")
    done = action(env=runner, base="HEAD~1", comment="true", github_token=TOKEN)
    assert done.returncode == 1
    assert "::error file=policy/policy.csv" in done.stdout
    assert github.comments[0]["body"] == f"{MARK}\n### Policy changes\n\nNot compared: a policy does not compile.\n"


@pytest.mark.parametrize("status", [302, 403, 404, 500])
def test_a_comment_that_fails_is_a_warning(comment: Run, github: GitHub, status: int) -> None:
    """The summary has the report. A pull request of a fork may not comment."""
    github.status = status
    done = comment()
    assert (done.returncode, done.stderr) == (0, "")
    assert f"::warning::no comment: GitHub responds with status {status} to GET" in done.stdout
    assert ("pull-requests: write" in done.stdout) is (status in (403, 404))
    assert len(github.calls) == 1, "no redirect is followed with the token"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"GITHUB_REPOSITORY": "acme/policies/../../user"}, "GITHUB_REPOSITORY is not OWNER/NAME"),
        ({"GITHUB_REPOSITORY": ""}, "GITHUB_REPOSITORY is not OWNER/NAME"),
        ({"GITHUB_API_URL": "http://evil.example"}, "GITHUB_API_URL is not https"),
        ({"GITHUB_API_URL": ""}, "GITHUB_API_URL is not https"),
        ({"GITHUB_EVENT_PATH": "/nowhere"}, "the event names no pull request"),
        ({"GITHUB_EVENT_NAME": "push"}, "::notice::no pull request"),
        ({"COMMENT_TOKEN": ""}, "give the input github-token"),
        ({"COMMENT_TOKEN": "a\nb"}, "give the input github-token"),
    ],
)
def test_a_strange_environment_sends_nothing(comment: Run, github: GitHub, changed: dict[str, str], said: str) -> None:
    done = comment(**changed)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout
    assert github.calls == []


def test_pull_request_target_is_refused(action: Run, comment: Run, runner: dict[str, str], github: GitHub) -> None:
    """It would run with a token that may write, on files of a stranger."""
    env = {**runner, "GITHUB_EVENT_NAME": "pull_request_target"}
    done = action(env=env, base="HEAD", comment="true", github_token=TOKEN)
    assert (done.returncode, done.stdout) == (2, "::error::pull_request_target is refused: use pull_request\n")
    assert not Path(runner["GITHUB_STEP_SUMMARY"]).exists()
    assert comment(GITHUB_EVENT_NAME="pull_request_target").returncode == 2
    assert github.calls == []


HOSTILE = "x$(touch${IFS}made)`touch${IFS}made`;touch${IFS}made;#&|<!--"


def test_hostile_branch_names_do_nothing(
    action: Run, runner: dict[str, str], github: GitHub, work: Path, tmp_path: Path
) -> None:
    git(work, "branch", HOSTILE, "HEAD~1")
    env = {**runner, "GITHUB_HEAD_REF": HOSTILE, "GITHUB_BASE_REF": HOSTILE, "GITHUB_REF_NAME": HOSTILE}
    done = action(env=env, base=HOSTILE, comment="true", github_token=TOKEN)
    assert done.returncode == 1, done.stderr
    assert not (work / "made").exists()
    body = github.comments[0]["body"]
    assert "`marketer`" in body
    assert "touch" not in body
    assert body.count("<!--") == 1


def test_hostile_values_of_files_are_inert(
    action: Run, runner: dict[str, str], github: GitHub, work: Path, tmp_path: Path
) -> None:
    """Paths may hold these signs. Backticks, pipes and brackets are rejected before, and tested with the text alone."""
    hostile = "/@everyone/$(touch)/www.evil.example/!a(b@evil.example)"
    sections = work / "policy" / "sections.toml"
    route = f'  {{ path = \'{hostile}\', methods = ["GET"], action = "view" }},\n'
    sections.write_text(sections.read_text().replace(
        '  { path = "/dashboard/audit/**", methods = ["GET"], action = "view" },\n',
        '  { path = "/dashboard/audit/**", methods = ["GET"], action = "view" },\n' + route,
    ))  # fmt: skip
    done = action(env=runner, base="HEAD~1", comment="true", github_token=TOKEN)
    assert done.returncode == 1
    body = github.comments[0]["body"]
    assert "evil.example" in body, "the route is listed"
    outside = re.sub(r"`[^`\n]*`", "", body.removeprefix(MARK))
    assert not set(outside) & set("@`<>$!()["), outside
    assert not (work / "made").exists()


@pytest.mark.slow
def test_people_are_listed_on_request_only(action: Run, runner: dict[str, str], github: GitHub) -> None:
    asked = action(env=runner, base="HEAD~1", people="true")
    assert asked.returncode == 1
    summary = Path(runner["GITHUB_STEP_SUMMARY"]).read_text()
    assert summary.endswith("\nPeople: not listed, no sidecar-url and sidecar-token.\n")
    Path(runner["GITHUB_STEP_SUMMARY"]).unlink()
    action(env=runner, base="HEAD~1", people="true", sidecar_url=github.url, sidecar_token="user-token")
    assert github.calls == [("GET", "/v1/users")], "the fake has no users"
    assert github.tokens == {"Bearer user-token"}
    assert (
        "People: not listed, the sidecar responds with status 404." in Path(runner["GITHUB_STEP_SUMMARY"]).read_text()
    )
    Path(runner["GITHUB_STEP_SUMMARY"]).unlink()
    action(env=runner, base="HEAD~1", people="false", sidecar_url=github.url, sidecar_token="user-token")
    assert len(github.calls) == 1
    assert "People" not in Path(runner["GITHUB_STEP_SUMMARY"]).read_text()
