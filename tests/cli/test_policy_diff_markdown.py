"""`sidecar policy diff --format markdown`: opens first, inert values, bounded, with people only if asked."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from markdown_it import MarkdownIt

from sidecar.policy.diff import CellChange, Difference, RoleChange, RouteChange
from sidecar.policy.diff_markdown import MAX_CHARACTERS, to_markdown
from sidecar.policy.markdown import code
from sidecar.policy.needs.compare import NeedWitness
from tests.policy.needs_policies import CONDITIONS

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., Any]
HOSTILE = [
    "`</code><script>alert(1)</script>",
    "a | b | c",
    "x\\| y \\` z",
    "@everyone and #1 and GH-1",
    "<!-- policy-sidecar -->",
    "[link](javascript:alert(1)) ![image](https://evil.example/x.png)",
    "https://evil.example www.evil.example a@evil.example",
    "line\n# heading\r\n- list\u2028- list",
    "``` \n~~~",
    "&lt;b&gt; &#64;",
    "\u202eright to left\u202c \x1b[31m \x00",
    "| --- |",
    "$math$ :smile: ~~strike~~ **bold** __bold__",
    "`",
    "\\",
    " ` ` ",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    shutil.copy(ROOT / "model.conf", tmp_path)
    shutil.copytree(tmp_path / "policy", tmp_path / "before")
    return tmp_path / "policy"


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def inline(markdown: str) -> list[tuple[str, str]]:
    """Return type and content of every inline token, and of every block that holds no inline ones."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type in ("html_block", "fence", "code_block", "hr"):
            found.append((token.type, token.content))
        found += ((child.type, child.content) for child in token.children or ())
    return found


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_one_code_span_whatever_it_holds(value: str) -> None:
    for text in (f"a {code(value)} b\n", f"| x | y |\n| --- | --- |\n| {code(value)} | z |\n", f"- {code(value)}: c\n"):
        tokens = inline(text)
        assert {kind for kind, _ in tokens} <= {"text", "code_inline"}, tokens
        assert [kind for kind, _ in tokens].count("code_inline") == 1
        plain = "".join(content for kind, content in tokens if kind == "text")
        assert set(plain) <= set(" abcxyz:"), "nothing of the value is outside the span"
    assert not set(code(value)[1:-1]) & set("`|<>\n\r\u2028\u202e\x1b")


@pytest.mark.parametrize("value", HOSTILE)
def test_every_value_of_a_difference_is_inert(value: str) -> None:
    witness = NeedWitness("narrower", [], None, None, None, {}, value)
    difference = Difference(
        (
            CellChange(value, value, value, "deny", "allow"),
            CellChange(value, value, value, "allow", "allow", "narrower", (witness,)),
        ),
        (RouteChange(value, value, value, value, opens=True), RouteChange(value, value, value, value, opens=False)),
        (RoleChange(value, "assignable", "not assignable"),),
    )
    tokens = inline(to_markdown(difference, {value: [value, value]}))
    assert {kind for kind, _ in tokens} <= {"text", "code_inline", "strong_open", "strong_close"}
    spans = [content for kind, content in tokens if kind == "code_inline"]
    assert len(spans) == 3 + 4 + 4 + 4 + 1 + 3
    assert len(set(spans)) == 1


def test_openings_come_first_then_the_rest(cli: Cli, folder: Path) -> None:
    append(folder / "policy.csv", "p, accountant, analytics, view, deny\np, marketer, billing, view, allow\n")
    sections = folder / "sections.toml"
    sections.write_text(
        sections.read_text().replace('"/dashboard/audit/**", methods = ["GET"]', '"/audit/**", methods = ["GET"]')
    )
    roles = folder / "roles.toml"
    roles.write_text(roles.read_text().replace('title = "Marketer"\n', 'title = "Marketer"\nassignable = false\n'))
    result = cli("policy", "diff", "./before", "--format", "markdown")
    assert result.status == 1
    assert (
        result.out
        == """\
### Policy changes

**2 of 5 changes open access.**

#### Changes that open access

| role | section | action | from | to |
| --- | --- | --- | --- | --- |
| `marketer` | `billing` | `view` | deny | allow |

| method | path | from | to |
| --- | --- | --- | --- |
| `GET` | `/audit/**` | `unmatched` | `audit/view` |

#### Other changes

| role | section | action | from | to |
| --- | --- | --- | --- | --- |
| `accountant` | `analytics` | `view` | allow | deny |

| method | path | from | to |
| --- | --- | --- | --- |
| `GET` | `/dashboard/audit/**` | `audit/view` | `unmatched` |

#### Roles

| role | from | to |
| --- | --- | --- |
| `marketer` | assignable | not assignable |
"""
    )
    assert "usr_" not in result.out


def test_no_difference_is_one_line(cli: Cli, folder: Path) -> None:
    result = cli("policy", "diff", "./before", "--format", "markdown")
    assert (result.status, result.out) == (0, "### Policy changes\n\nNo cell, no route, no role and no name differs.\n")


def test_needs_have_their_witnesses(cli: Cli, folder: Path) -> None:
    (folder / "conditions.toml").write_text(CONDITIONS)
    (folder / "needs.csv").write_text("needs, accountant, billing, change-plan, second-factor | office\n")
    result = cli("policy", "diff", "./before", "--format", "markdown")
    assert result.status == 0
    [row] = [line for line in result.out.splitlines() if line.startswith("| `accountant`")]
    assert row.startswith("| `accountant` | `billing` | `change-plan` | allow | allow, needs narrower | `")
    assert "was allowed" in row or "denied" in row
    back = cli("policy", "diff", "./policy", "./before", "--format", "markdown")
    assert back.status == 1
    assert "allow, needs wider" in back.out


def test_a_long_report_is_cut_and_says_by_how_much() -> None:
    cells = [CellChange(f"role-{number}", "s" * 64, "a" * 64, "deny", "allow") for number in range(2000)]
    cells += [CellChange(f"role-{number}", "s" * 64, "a" * 64, "allow", "deny") for number in range(2000)]
    routes = [RouteChange("GET", "/" + "x" * 150, "unmatched", "s/a", opens=True) for _ in range(500)]
    people = {f"role-{number}": [f"usr_{index}" for index in range(200)] for number in range(2000)}
    difference = Difference(tuple(cells), tuple(routes))
    for text in (to_markdown(difference), to_markdown(difference, people), to_markdown(Difference((), tuple(routes)))):
        assert 50_000 < len(text) <= MAX_CHARACTERS
        shown = sum(line.startswith(("| `role-", "| `GET")) for line in text.splitlines())
        total = 500 if "role-1" not in text else 4500
        assert f"{total - shown} more changes are not shown" in text
        assert "| deny | allow |" in text or "unmatched" in text
        assert "| allow | deny |" not in text, "those that open have the room"


# -- people


class Sidecar(BaseHTTPRequestHandler):
    """Answers ``GET /v1/users`` like a sidecar."""

    answer: tuple[int, bytes] = (200, b"")
    seen: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Authorization"]))
        status, body = self.answer
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def sidecar() -> Iterator[str]:
    Sidecar.seen = []
    users = [
        {"id": "usr_2", "role": "marketer", "status": "active", "email": "max@example.com", "name": "Max"},
        {"id": "usr_1", "role": "marketer", "status": "invited", "email": "mia@example.com", "name": "Mia"},
        {"id": "usr_3", "role": "marketer", "status": "expired", "email": "old@example.com", "name": "Old"},
        {"id": "usr_4", "role": "developer", "status": "active", "email": "dan@example.com", "name": "Dan"},
    ]
    Sidecar.answer = (200, json.dumps({"users": users, "seats": {}}).encode())
    server = HTTPServer(("127.0.0.1", 0), Sidecar)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_people_are_ids_and_only_on_request(cli: Cli, folder: Path, sidecar: str, typed: Callable[[str], None]) -> None:
    append(folder / "policy.csv", "p, marketer, billing, view, allow\n")
    typed("a.b.c\n")
    result = cli("policy", "diff", "./before", "--format", "markdown", "--people", sidecar)
    assert result.status == 1
    assert "| `marketer` | `billing` | `view` | deny | allow | 2 |" in result.out
    assert "- `marketer`: `usr_1`, `usr_2`\n" in result.out
    assert Sidecar.seen == [("/v1/users", "Bearer a.b.c")]
    for name in ("example.com", "Max", "usr_3", "usr_4", "a.b.c"):
        assert name not in result.out + result.err
    assert "usr_" not in cli("policy", "diff", "./before", "--format", "markdown").out
    assert len(Sidecar.seen) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((401, b"{}"), "the sidecar responds with status 401"),
        ((302, b""), "the sidecar responds with status 302"),
        ((200, b"<html>"), "the response is not JSON"),
        ((200, b"[]"), "the response is no list of users"),
        ((200, b'{"users": {"a": 1}}'), "the response is no list of users"),
        ((200, b"[" * 100_000), "the response is not JSON"),
    ],
)
def test_a_sidecar_without_users_is_named_and_changes_nothing(
    cli: Cli, folder: Path, sidecar: str, typed: Callable[[str], None], answer: tuple[int, bytes], reason: str
) -> None:
    append(folder / "policy.csv", "p, marketer, billing, view, allow\n")
    Sidecar.answer = answer
    typed("t0ken")
    result = cli("policy", "diff", "./before", "--format", "markdown", "--people", sidecar)
    assert result.status == 1
    assert "| `marketer` | `billing` | `view` | deny | allow |\n" in result.out
    assert result.out.endswith(f"\nPeople: not listed, {reason}.\n")
    assert reason in result.err
    assert "t0ken" not in result.out + result.err
    assert len(Sidecar.seen) == 1, "no redirect is followed with the token"


@pytest.mark.parametrize(
    ("url", "token", "said"),
    [
        ("http://sidecar.example", "t0ken", "must be https, or a loopback address"),
        ("ftp://sidecar.example", "t0ken", "not a URL"),
        ("https://", "t0ken", "not a URL"),
        ("https://user:pw@sidecar.example", "t0ken", "not a URL"),
        ("https://[::1", "t0ken", "not a URL"),
        ("http://127.0.0.1:1", "t0ken\r\nX-Evil: 1", "not one word of ASCII"),
        ("http://127.0.0.1:1", "", "there is no token on standard input"),
    ],
)
def test_a_url_or_token_that_leaks_is_wrong_usage(
    cli: Cli, folder: Path, typed: Callable[[str], None], url: str, token: str, said: str
) -> None:
    typed(token)
    result = cli("policy", "diff", "./before", "--format", "markdown", "--people", url)
    assert (result.status, result.out) == (2, "")
    assert said in result.err
    assert not token or token.split(maxsplit=1)[0] not in result.err


def test_people_belong_to_markdown(cli: Cli, folder: Path) -> None:
    assert cli("policy", "diff", "./before", "--people", "https://sidecar.example").status == 2
    assert cli("policy", "diff", "./before", "--format", "json").out == "[]\n"


def test_a_sidecar_that_is_down_is_named(cli: Cli, folder: Path, typed: Callable[[str], None]) -> None:
    typed("t0ken")
    result = cli("policy", "diff", "./before", "--format", "markdown", "--people", "http://127.0.0.1:1")
    assert result.status == 0
    assert "People: not listed, no sidecar responds: Connection refused." in result.out


def test_renames_come_first(folder: Path, cli: Cli) -> None:
    assert cli("policy", "rename", "section", "media-library", "assets").status == 0
    append(folder / "policy.csv", "p, marketer, billing, view, allow\n")
    shown = cli("policy", "diff", "./before", "--format", "markdown").out
    before, _, after = shown.partition("#### Renames")
    assert "####" not in before
    assert "| section | `media-library` | `assets` |" in after
    assert after.index("`assets`") < after.index("#### Changes that open access")
    assert "**1 of 2 changes open access.**" in before
