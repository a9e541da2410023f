"""Pure modules of the policy page, on responses that the API's own code builds from the shipped policy."""

import json
import re
from typing import Any

import msgspec

from sidecar.pdp.compile.report import preview
from sidecar.policy.explain import explain
from sidecar.policy.explained import to_explained
from sidecar.policy.generation import Generation
from tests.console.node import run
from tests.console.policy_answers import MARK, TITLES, policy
from tests.fixtures import generation
from tests.needs_world import policy_with
from tests.policy.needs_policies import CHANGE_PLAN, CHANGE_PLAN_ROW, with_needs

__all__ = ["generation"]

MODULES = "titles.js,permission-rows.js,explanation.js,preview-report.js"
UNNAMED = {**MARK, "email": "max@example.com", "name": ""}


def test_the_table_has_a_row_per_action_and_a_cell_per_role(generation):
    given = policy(generation)
    rows = run(MODULES, "return m.permissionRows(data.roles, data.sections, data.cells)", given)
    assert [(row["section"], row["action"]) for row in rows] == [
        (section.id, action) for section in generation.sections.values() for action in section.actions
    ]
    for row in rows:
        assert [cell["role"] for cell in row["cells"]] == list(generation.roles)
        for cell in row["cells"]:
            ruling = generation.cells[cell["role"], row["section"], row["action"]]
            assert (cell["decision"], cell["rule"]) == (ruling.allowed, ruling.rule)
        assert row["differs"] == (len({cell["decision"] for cell in row["cells"]}) == 2)
    alike = [row["section"] for row in rows if not row["differs"]]
    assert alike == ["account-settings", "account-settings"]


def test_a_cell_that_the_matrix_lacks_is_a_denial(generation):
    rows = run(MODULES, "return m.permissionRows(data.roles, data.sections, [])", policy(generation))
    assert {cell["decision"] for row in rows for cell in row["cells"]} == {False}


def test_each_verdict_has_a_word_and_a_mark_of_its_own():
    cells = [
        {"decision": True, "reason": "allowed"},
        {"decision": False, "reason": "no_rule"},
        {"decision": False, "reason": "explicit_deny"},
    ]
    found = run(MODULES, "return data.map((cell) => m.verdict(cell))", cells)
    for member in ("word", "mark", "kind"):
        assert len({one[member] for one in found}) == 3


def explained(generation: Generation, role: str, section: str, action: str) -> dict[str, Any]:
    found = json.loads(msgspec.json.encode(to_explained(explain(generation, role, section, action))))
    body = TITLES + "return {answer: m.answer(data.found, titles), blocks: m.blocks(data.found, titles)}"
    shown = run(MODULES, body, {**policy(generation), "found": found})
    return {"answer": shown["answer"], **{block["label"]: block for block in shown["blocks"]}}


def test_a_denial_shows_the_nearest_rule_the_edit_and_who_may(generation):
    found = explained(generation, "marketer", "billing", "change-plan")
    assert found["answer"] == "No. Marketer may not do “Change the plan” in Billing."
    assert found["Why"]["sentences"] == ["No rule allows it."]
    [nearest] = found["Nearest rule"]["lines"]
    assert (nearest["place"].startswith("policy/policy.csv:"), nearest["text"].startswith("p,")) == (True, True)
    edit, row = found["What would allow it"]["lines"]
    assert edit == {"place": "Write", "text": "p, marketer, billing, change-plan, allow"}
    line = line_of(generation, "expectations.csv", "deny", "marketer", "billing", "change-plan")
    assert row == {
        "place": f"Replace policy/expectations.csv:{line} by",
        "text": "allow, marketer, billing, change-plan",
    }
    assert found["What would allow it"]["sentences"] == ["1 edit of policy.csv, and 1 edit of expectations.csv:"]
    [_, row] = explained(generation, "developer", "audit", "view")["What would allow it"]["lines"]
    assert row == {"place": "Write in expectations.csv", "text": "allow, developer, audit, view"}
    assert found["Roles that may"]["sentences"] == ["Account Administrator, Accountant"]
    assert "Inherited through" not in found


def test_an_inherited_permission_shows_its_rule_and_the_path(generation):
    found = explained(generation, "marketer", "account-settings", "view")
    assert found["answer"] == "Yes. Marketer may do “View” in Account Settings."
    assert found["Why"]["lines"][0]["text"].startswith("p, member, account-settings")
    assert [line["text"] for line in found["Inherited through"]["lines"]] == ["g, marketer, member"]
    assert "What would allow it" not in found


def previewed(generation: Generation, edits: dict[str, bytes]) -> dict[str, Any]:
    people = {"marketer": [MARK, UNNAMED]}
    found = json.loads(preview(generation, {**generation.files, **edits}, people))
    body = TITLES + (
        "return {summary: m.summary(data.found), opens: m.changes(data.found, 'allow', titles),"
        " closes: m.changes(data.found, 'deny', titles), omitted: m.omittedLine(data.found),"
        " routes: m.routeLines(data.found.routes, titles), findings: m.findings(data.found),"
        " failed: data.found.expectations.failed.map((one) => m.failedLine(one, titles)),"
        " remedies: data.found.expectations.failed.map((one) => m.remedy(data.found, one))}"
    )
    shown: dict[str, Any] = run(MODULES, body, {**policy(generation), "found": found})
    return shown


def test_an_edit_that_opens_access_names_the_people(generation):
    opened = generation.files["policy.csv"] + b"p, marketer, billing, view, allow\n"
    found = previewed(generation, {"policy.csv": opened})
    assert found["opens"] == [
        {"text": "Marketer: Billing: View", "people": ["Mark", "max@example.com"], "without": [], "tokenOnly": []}
    ]
    assert (found["closes"], found["routes"], found["omitted"], found["findings"]) == ([], [], "", [])
    assert found["summary"] == "This edit would be rejected: 1 failed expectation."
    assert found["failed"] == ["Marketer: Billing: View: expected deny, got allow"]


def line_of(generation: Generation, file: str, *fields: str) -> int:
    """Return the number of the line with these fields."""
    lines = generation.files[file].decode().splitlines()
    return 1 + [re.split(r",\s*", line) for line in lines].index(list(fields))


def test_a_failed_expectation_names_both_lines_and_the_remedy(generation):
    rules = generation.files["policy.csv"]
    there = {
        "file": "expectations.csv",
        "line": line_of(generation, "expectations.csv", "deny", "marketer", "billing", "view"),
    }
    opened = previewed(generation, {"policy.csv": rules + b"p, marketer, billing, view, allow\n"})
    rule = {"file": "policy.csv", "line": rules.count(b"\n") + 1}
    assert opened["remedies"] == [["Fix ", rule, ", or change ", there, " to “allow”."]]
    expected = generation.files["expectations.csv"].splitlines(keepends=True)
    expected[there["line"] - 1] = b"allow, marketer, billing, view\n"
    closed = previewed(generation, {"expectations.csv": b"".join(expected)})
    missing = "Add p, marketer, billing, view, allow to policy.csv"
    assert closed["remedies"] == [[missing, ", or change ", there, " to “deny”."]]
    omitted = run(MODULES, "return m.remedy({diagnostics: []}, data)", {"rule": "policy/expectations.csv:7"})
    assert omitted == [{"file": "expectations.csv", "line": 7}]


def test_each_place_of_one_finding_has_the_remedy(generation):
    """The rows that one rule breaks are one diagnostic, and a failed expectation each."""
    rules = generation.files["policy.csv"]
    found = previewed(generation, {"policy.csv": rules + b"p, marketer, *, *, allow\n"})
    assert len(found["remedies"]) == len(found["failed"]) == 17
    assert {parts[1]["line"] for parts in found["remedies"]} == {rules.count(b"\n") + 1}
    assert len({parts[3]["line"] for parts in found["remedies"]}) == 17


def test_an_edit_that_changes_nothing_says_so(generation):
    assert previewed(generation, {})["summary"] == "This edit changes no permission and no route."


def test_an_edit_with_an_error_is_rejected_for_it(generation):
    broken = previewed(
        generation, {"policy.csv": generation.files["policy.csv"] + b"p, marketeer, billing, view, allow\n"}
    )
    assert broken["summary"] == "This edit would be rejected: 1 error."
    [finding] = broken["findings"]
    assert (finding["code"], finding["line"] > 1, finding["column"] > 1) == ("unknown-role", True, True)


def test_a_moved_route_is_shown_with_both_targets(generation):
    text = generation.files["sections.toml"].decode()
    found = previewed(generation, {"sections.toml": text.replace("/dashboard/billing/", "/dashboard/money/").encode()})
    denied, change, view = "denied, no route", "Billing: Change the plan", "Billing: View"
    methods = "DELETE, PATCH, POST, PUT"
    assert [tuple(line.values()) for line in found["routes"]] == [
        ("/dashboard/money/**", methods, denied, change, True),
        ("/dashboard/money/**", "GET", denied, view, True),
        ("/dashboard/billing/**", methods, change, denied, False),
        ("/dashboard/billing/**", "GET", view, denied, False),
    ]
    assert f"GET /dashboard/billing: expected {view}; got {denied}" in found["failed"]


def test_a_cell_shows_what_it_needs():
    given = policy(policy_with(CHANGE_PLAN + "needs, *, billing, *, recent-sign-in\n"))
    rows = run(MODULES, "return m.permissionRows(data.roles, data.sections, data.cells)", given)
    texts = run(
        MODULES,
        "return data.map((row) => row.cells.map((cell) => m.needsOf(cell, m.inWords)))",
        rows,
    )
    shown = {
        (cell["role"], row["section"], cell["action"]): text
        for row, line in zip(rows, texts, strict=True)
        for cell, text in zip(row["cells"], line, strict=True)
    }
    assert shown["accountant", "billing", "change-plan"] == "Second factor or Office; Recent sign in"
    assert shown["accountant", "billing", "view"] == "Recent sign in"
    assert shown["marketer", "billing", "change-plan"] == "", "a denied cell needs nothing"
    assert shown["accountant", "analytics", "view"] == ""


def test_roles_differ_by_their_needs_as_well():
    given = policy(policy_with("needs, marketer, account-settings, view, recent-sign-in\n"))
    rows = run(MODULES, "return m.permissionRows(data.roles, data.sections, data.cells)", given)
    [view] = [row for row in rows if (row["section"], row["action"]) == ("account-settings", "view")]
    assert view["differs"] is True


def test_an_explanation_quotes_the_needs():
    found = explained(policy_with(CHANGE_PLAN), "accountant", "billing", "change-plan")
    assert found["Needs"]["lines"][0]["text"] == CHANGE_PLAN.strip()
    assert found["Needs"]["sentences"][0] == "One condition of each line must be met at that moment."
    assert "Needs" not in explained(policy_with(CHANGE_PLAN), "accountant", "billing", "view")


def test_an_edit_names_who_lacks_the_factor_that_it_asks_for(generation):
    people = {"accountant": [{**MARK, "factors": 0}, {**UNNAMED, "factors": 2}]}
    body = TITLES + "return m.needChanges(data.found, titles)"
    people["accountant"].append({**MARK, "name": "Sync", "factors": 0, "token_only": True})
    lacking = (["Mark"], ["Sync"])
    for condition, lack in (
        ("second-factor", lacking),
        ("second-factor | office", ([], [])),
        ("recent-sign-in", ([], [])),
    ):
        edited = with_needs(generation.files, f"needs, accountant, billing, view, {condition}\n", "")
        found = json.loads(preview(generation, edited, people))
        [line] = run(MODULES, body, {**policy(generation), "found": found})
        assert line["people"] == ["Mark", "max@example.com", "Sync"]
        assert (line["without"], line["tokenOnly"]) == lack


def test_an_edit_of_needs_shows_witnesses(generation):
    """A need that comes asks for more, one that goes for less: neither opens nor closes a whole cell."""
    narrowed = with_needs(generation.files, CHANGE_PLAN, CHANGE_PLAN_ROW)
    body = TITLES + (
        "return {needs: m.needChanges(data.found, titles), opens: m.changes(data.found, 'allow', titles),"
        " closes: m.changes(data.found, 'deny', titles), summary: m.summary(data.found)}"
    )
    for before, after, asks, opens, now in (
        (generation, narrowed, "asks for more", False, "allowed, now denied"),
        (policy_with(CHANGE_PLAN), generation.files, "asks for less", True, "denied, now allowed"),
    ):
        edited = {"conditions.toml": b"", "needs.csv": b"", **after}
        found = json.loads(preview(before, edited, {"accountant": [MARK]}))
        shown = run(MODULES, body, {**policy(before), "found": found})
        [line] = shown["needs"]
        assert (line["text"], line["people"]) == ("Accountant: Billing: Change the plan", ["Mark"])
        assert (line["asks"], line["opens"]) == (asks, opens)
        assert line["witnesses"]
        assert all(one.endswith(now) for one in line["witnesses"])
        assert (shown["opens"], shown["closes"]) == ([], [])
