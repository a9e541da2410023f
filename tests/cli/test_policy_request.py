"""`sidecar policy can|explain ROLE METHOD PATH`: which route, which section, which rule."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sidecar.sources.policy_files import packaged, read_policy_files
from tests.policy.own_policies import with_own

Cli = Callable[..., Any]
INVOICE = "/accounts/{}/invoices/1"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    """A policy with own paths where the command runs."""
    files: Mapping[str, bytes] = with_own(read_policy_files(*packaged()).files)
    (tmp_path / "policy").mkdir()
    for name, data in files.items():
        (tmp_path / name if name == "model.conf" else tmp_path / "policy" / name).write_bytes(data)
    return tmp_path / "policy"


def pairs(out: str) -> dict[str, str]:
    return dict(re.split(r"  +", line, maxsplit=1) for line in out.splitlines())  # type: ignore[misc]


def test_a_request_has_its_route_its_section_and_its_rule(cli: Cli) -> None:
    told = cli("policy", "explain", "accountant", "GET", "/dashboard/billing/invoices")
    assert told.status == 0
    assert pairs(told.out) == {
        "decision": "allow (allowed)",
        "rule": "policy/policy.csv:15: p, accountant, billing, *, allow",
        "route": "policy/sections.toml:29: GET /dashboard/billing/**",
        "target": "billing/view",
    }
    can = cli("policy", "can", "accountant", "GET", "/dashboard/billing")
    assert (can.status, can.out) == (
        0,
        "yes: allowed by policy/policy.csv:15, billing/view by policy/sections.toml:29\n",
    )
    assert cli("policy", "can", "marketer", "GET", "/login").out == "yes: public by policy/sections.toml:115\n"


def test_a_role_is_not_yours(cli: Cli) -> None:
    told = cli("policy", "explain", "accountant", "GET", INVOICE.format("acc_aaaaaaaaaaaa"))
    assert told.status == 1
    shown = pairs(told.out)
    assert (shown["decision"], shown["note"]) == ("deny (not_yours)", "for one's own: allow")
    assert (shown["target"], shown["edits"]) == (
        "own billing/view",
        "none in policy.csv: the path must have the caller's own ids",
    )
    can = cli("policy", "can", "accountant", "GET", INVOICE.format("x"), "--json")
    assert can.status == 1
    body = json.loads(can.out)
    assert (body["decision"], body["reason"], body["note"]) == (False, "not_yours", "for one's own: allow")
    assert body["request"]["pattern"] == "/accounts/{account}/invoices/**"
    assert body["request"]["target"] == "own billing/view"
    denied = cli("policy", "can", "marketer", "GET", INVOICE.format("x"))
    assert (denied.status, denied.out) == (1, "no: no_rule, own billing/view by policy/sections.toml:30\n")


def test_a_request_that_no_rule_can_allow(cli: Cli) -> None:
    for path, reason, edits in (
        ("/nope", "unmatched_path", "none in policy.csv: add a route to sections.toml"),
        ("/a//b", "ambiguous_path", "none in policy.csv: the request must have another path"),
    ):
        told = cli("policy", "explain", "accountant", "GET", path)
        assert told.status == 1
        shown = pairs(told.out)
        assert (shown["decision"], shown["target"], shown["edits"]) == (f"deny ({reason})", "unmatched", edits)
        assert cli("policy", "can", "accountant", "GET", path).out.startswith(f"no: {reason}; ")


@pytest.mark.parametrize("verb", ["can", "explain"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("accountant", "get", "/login"), '"get" is not a method (did you mean "GET"?)'),
        (("accountant", "billing", "/login"), '"billing" is not a method'),
        (("accountant", "GET", "/x?y"), '"/x?y": a path has no ?'),
        (("nobody", "GET", "/login"), '"nobody" is not a role'),
        (("accountant", "GET", "login"), '"GET" is not a section'),
        (("accountant", "GET", "/login", "--with", "x"), '"x" is not a condition'),
    ],
)
def test_a_question_that_is_none_is_wrong_usage(cli: Cli, verb: str, words: tuple[str, ...], message: str) -> None:
    result = cli("policy", verb, *words)
    assert (result.status, result.out) == (2, "")
    assert message in result.err


def test_a_user_has_ids_of_their_own(at_store: Any) -> None:
    users = json.loads(at_store("user", "list", "--account", "Acme", "--json").out)
    [ada] = users["users"] if isinstance(users, dict) else users
    account = f"acc_{ada['id'].split('_')[1]}"
    for path, status, reason in (
        (INVOICE.format(account), 0, "allowed"),
        (INVOICE.format("acc_bbbbbbbbbbbb"), 1, "not_yours"),
        (f"/reports/{ada['id']}", 0, "allowed"),
        (f"/reports/{ada['id'][:-1]}", 1, "not_yours"),
        ("/login", 0, "public"),
    ):
        can = at_store("policy", "can", "ada@acme.example", "GET", path, "--json")
        body = json.loads(can.out)
        assert (can.status, body["reason"], body["user"], "note" in body) == (status, reason, ada["id"], False)
        told = json.loads(at_store("policy", "explain", "ada@acme.example", "GET", path, "--json").out)
        assert (told["reason"], told["request"]["path"], "note" in told) == (reason, path, False)


def test_an_own_path_is_compared(cli: Cli, folder: Path, tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    for name in ("model.conf", *(f"policy/{one.name}" for one in folder.iterdir())):
        (before / Path(name).name).write_bytes((tmp_path / name).read_bytes())
    sections = folder / "sections.toml"
    sections.write_text(sections.read_text().replace("/reports/{user}/**", "/reports/*/**"))
    opened = cli("policy", "diff", str(before))
    assert opened.status == 1
    assert re.search(r"GET +/reports/\*/\*\* +own analytics/view +analytics/view +more users", opened.out)
    assert cli("policy", "diff", str(before), "--accept", "GET /reports/*/**").status == 0
    closed = cli("policy", "diff", "policy", str(before))
    assert (closed.status, "more users" in closed.out) == (0, False), closed.out + closed.err


def test_a_log_of_own_paths_is_not_replayed(cli: Cli, tmp_path: Path) -> None:
    log = tmp_path / "log"
    one = {"kind": "decision", "decision": False, "reason": "not_yours", "role": "accountant", "section": "billing"}
    allow = {**one, "decision": True, "reason": "allowed", "action": "view"}
    log.write_text(json.dumps({**one, "action": "view"}) + "\n" + json.dumps(allow) + "\n")
    result = cli("policy", "replay", str(log))
    assert result.status == 0
    assert "1 decisions replayed, 0 would differ; 1 others (not_yours 1)" in result.out
    assert "routes are not replayed" in result.err
