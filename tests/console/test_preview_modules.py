"""Renames, grid, own segments and places of "Try an edit", on previews that the API's own code builds."""

import json
from typing import Any

import msgspec
import pytest

from sidecar.pdp.compile.report import preview
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.explain import explain
from sidecar.policy.explained import to_explained
from sidecar.policy.generation import Generation
from sidecar.policy.rename.names import RenameKind
from sidecar.policy.rename.plan import renamed_files
from sidecar.policy.rename.target import RenameTarget
from tests.console.node import run
from tests.console.policy_answers import MARK, TITLES, policy
from tests.fixtures import generation
from tests.needs_world import policy_with
from tests.policy.needs_policies import CHANGE_PLAN, CHANGE_PLAN_ROW, with_needs
from tests.policy.own_policies import BILLING, with_own

__all__ = ["generation"]

MODULES = "titles.js,permission-rows.js,explanation.js,preview-report.js,preview-grid.js"
REPORT = TITLES + (
    "const grid = m.gridOf(data.found, data);"
    "const row = (one) => [`${one.section}/${one.action}`, one.cells.map((cell) => m.cellWords(cell, titles))];"
    "return {summary: m.summary(data.found), renames: m.renameLines(data.found), omitted: m.omittedLine(data.found),"
    " routes: m.routeLines(data.found.routes, titles), none: typeof grid === 'string' ? grid : '',"
    " columns: grid.roles, rows: grid.rows && Object.fromEntries(grid.rows.map(row)),"
    " failed: data.found.expectations.failed.map((one) => m.failedLine(one, titles)),"
    " remedies: data.found.expectations.failed.map((one) => m.remedy(data.found, one))}"
)
ROLES = ["account-administrator", "accountant", "developer", "marketer", "member"]


def previewed(current: Generation, edits: dict[str, bytes], **changed: Any) -> dict[str, Any]:
    """Return what the page shows of a preview. ``changed``: members of the response with other values."""
    found = json.loads(preview(current, {**current.files, **edits}, {"accountant": [MARK]}))
    shown: dict[str, Any] = run(MODULES, REPORT, {**policy(current), "found": {**found, **changed}})
    return shown


def renamed(current: Generation, *names: tuple[RenameKind, str, str]) -> dict[str, bytes]:
    """Return all files after these renames; an action is ``SECTION/ACTION``."""
    files = dict(current.files)
    for kind, old, new in names:
        before = compile_policy(files, proof=ProofScope.NONE).draft
        assert before is not None
        section, _, name = old.rpartition("/")
        files.update(renamed_files(files, RenameTarget(kind, name, new, section), before))
    return files


def cells(shown: dict[str, Any], row: str) -> dict[str, str]:
    """Return the cells of a row in words, those that change with a star."""
    words = [f"{'* ' if one['changed'] else ''}{one['word']}, {one['note']}" for one in shown["rows"][row]]
    return dict(zip(shown["columns"], (text.removesuffix(", ") for text in words), strict=True))


# -- renames -----------------------------------------------------------------------------------------------------------


def test_a_rename_is_one_line_with_its_extent(generation):
    shown = previewed(generation, renamed(generation, (RenameKind.SECTION, "media-library", "assets")))
    assert shown["renames"] == [
        {"text": "Section media-library is renamed to assets", "extent": "15 cells, 5 routes, no answer changes"}
    ]
    assert shown["summary"] == "This edit renames 1 section. It changes no permission and no route."
    assert (shown["rows"], shown["routes"], shown["none"]) == ({}, [], "")


def test_each_kind_of_rename_is_counted(generation):
    shown = previewed(
        generation,
        renamed(
            generation,
            (RenameKind.SECTION, "media-library", "assets"),
            (RenameKind.SECTION, "analytics", "figures"),
            (RenameKind.ACTION, "billing/change-plan", "upgrade"),
            (RenameKind.ROLE, "marketer", "brand"),
        ),
    )
    assert shown["summary"] == "This edit renames 2 sections, 1 action, 1 role. It changes no permission and no route."
    assert [one["text"] for one in shown["renames"]][2:] == [
        "Action billing/change-plan is renamed to billing/upgrade",
        "Role marketer is renamed to brand",
    ]


def test_the_answers_that_change_beside_a_rename(generation):
    files = renamed(generation, (RenameKind.ROLE, "marketer", "brand"))
    for rules, said in (
        (b"p, brand, billing, view, allow\n", "1 answer changes"),
        (b"p, brand, billing, *, allow\n", "2 answers change"),
    ):
        shown = previewed(generation, {**files, "policy.csv": files["policy.csv"] + rules})
        assert shown["renames"][0]["extent"].endswith(f", 0 routes, {said}")


def test_renames_that_are_not_listed_are_counted(generation):
    nothing = {"diagnostics": 0, "renames": 2, "changes": 0, "users": 0, "routes": 0, "failed": 0}
    shown = previewed(generation, {}, omitted=nothing)
    assert shown["omitted"] == "Not listed, because the report would be too long: 2 renames."


# -- the grid ----------------------------------------------------------------------------------------------------------


def test_the_grid_has_the_changed_rows_before_and_after(generation):
    rules = generation.files["policy.csv"] + b"p, marketer, billing, view, allow\np, accountant, billing, view, deny\n"
    shown = previewed(generation, {"policy.csv": rules})
    assert (shown["columns"], list(shown["rows"])) == (ROLES, ["billing/view"])
    assert cells(shown, "billing/view") == {
        "account-administrator": "Allowed",
        "member": "Denied",
        "marketer": "* Allowed, was denied",
        "accountant": "* Denied, was allowed",
        "developer": "Denied",
    }


def test_each_verdict_of_the_grid_has_a_mark(generation):
    rules = generation.files["policy.csv"] + b"p, marketer, billing, view, allow\n"
    row = previewed(generation, {"policy.csv": rules})["rows"]["billing/view"]
    assert {(one["word"], one["mark"], one["kind"]) for one in row} == {
        ("Allowed", "✓", "allowed"),
        ("Denied", "–", "denied"),
    }


def test_the_grid_is_under_the_new_names(generation):
    files = renamed(
        generation,
        (RenameKind.ROLE, "marketer", "brand"),
        (RenameKind.SECTION, "billing", "money"),
        (RenameKind.ACTION, "money/change-plan", "upgrade"),
    )
    files["policy.csv"] += b"p, brand, money, upgrade, allow\n"
    shown = previewed(generation, files)
    assert shown["columns"] == ["brand" if role == "marketer" else role for role in ROLES]
    assert cells(shown, "money/upgrade") == {
        "account-administrator": "Allowed",
        "member": "Denied",
        "brand": "* Allowed, was denied",
        "accountant": "Allowed",
        "developer": "Denied",
    }


def test_new_sections_and_roles_are_in_the_grid(generation):
    files = dict(generation.files)
    files["sections.toml"] += b'\n[sections.reports]\ntitle = "Reports"\nactions = ["read"]\n'
    files["roles.toml"] += b'\n[roles.auditor]\ntitle = "Auditor"\ndescription = "Reads."\n'
    files["policy.csv"] += b"p, auditor, reports, read, allow\n"
    shown = previewed(generation, files)
    assert shown["columns"] == [*ROLES, "auditor"]
    assert cells(shown, "reports/read") == {
        **dict.fromkeys(ROLES, "Denied"),
        "account-administrator": "* Allowed, was denied",
        "auditor": "* Allowed, was denied",
    }


def test_a_new_action_is_beside_its_section(generation):
    actions = b'actions = ["view", "change-plan"'
    files = dict(generation.files)
    assert actions in files["sections.toml"]
    files["sections.toml"] = files["sections.toml"].replace(actions, actions + b', "refund"')
    files["policy.csv"] += b"p, marketer, *, *, allow\n"
    rows = list(previewed(generation, files)["rows"])
    at = rows.index("billing/refund")
    assert rows[at - 1].startswith("billing/")
    assert rows[at + 1 :], "other sections follow"


def test_the_grid_shows_needs_and_how_they_change(generation):
    needed = policy_with(CHANGE_PLAN)
    rules = needed.files["policy.csv"] + b"p, marketer, billing, *, allow\n"
    shown = previewed(needed, {"policy.csv": rules})
    assert cells(shown, "billing/change-plan")["accountant"] == "Allowed, needs Second factor or Office"
    edited = with_needs(generation.files, CHANGE_PLAN, CHANGE_PLAN_ROW)
    shown = previewed(generation, edited)
    assert cells(shown, "billing/change-plan") == {
        "account-administrator": "Allowed",
        "member": "Denied",
        "marketer": "Denied",
        "accountant": "* Allowed, asks for more",
        "developer": "Denied",
    }


@pytest.mark.parametrize("kind", ["changes", "renames"])
def test_a_report_with_omissions_has_no_grid(generation, kind: str):
    """A cell whose change is left out would look unchanged."""
    rules = generation.files["policy.csv"] + b"p, marketer, billing, view, allow\n"
    omitted = {"diagnostics": 0, "renames": 0, "changes": 0, "users": 0, "routes": 0, "failed": 0, kind: 1}
    shown = previewed(generation, {"policy.csv": rules}, omitted=omitted)
    assert shown["none"] == "There is no grid, because this report does not list every change."


def test_another_generation_has_no_grid(generation):
    shown = previewed(generation, {}, generation="another")
    assert shown["none"].startswith("The policy in force changed during this preview.")


# -- own segments ------------------------------------------------------------------------------------------------------

CELL = "Billing: View"
OWN = f"{CELL}, for one's own"
ROUTE = '{ path = "/accounts/{account}/invoices/**", methods = ["GET"], action = "view" }'
PLACED = '{ path = "/accounts/{account}/*", methods = ["GET"], action = "view" }'
MOVED = '{ path = "/accounts/*/{account}", methods = ["GET"], action = "view" }'


def with_route(current: Generation, route: str) -> dict[str, bytes]:
    sections = current.files["sections.toml"].decode()
    return {"sections.toml": sections.replace(BILLING, f"{BILLING}  {route},\n").encode()}


def test_a_route_for_ones_own_says_so(generation):
    opened = previewed(generation, with_route(generation, ROUTE))
    assert ("denied, no route", OWN, True) in {(one["from"], one["to"], one["opens"]) for one in opened["routes"]}
    before = compile_policy({**generation.files, **with_route(generation, ROUTE)}, proof=ProofScope.NONE).draft
    assert before is not None
    widened = previewed(before, with_route(generation, ROUTE.replace("{account}", "*")))
    assert [(one["from"], one["to"], one["opens"]) for one in widened["routes"]] == [(OWN, CELL, True)]


def test_a_moved_own_segment_says_where(generation):
    before = compile_policy({**generation.files, **with_route(generation, PLACED)}, proof=ProofScope.NONE).draft
    assert before is not None
    moved = previewed(before, with_route(generation, MOVED))
    assert {(one["from"], one["to"]) for one in moved["routes"]} == {
        (f"{OWN} ({{account}} as segment 2)", f"{OWN} ({{account}} as segment 3)")
    }


def test_a_failed_test_of_an_own_path_keeps_its_hint(generation):
    files = with_own(generation.files)
    tests = files["routes.csv"].decode()
    foreign = tests.replace("GET, /accounts/{account}/invoices/1", "GET, /accounts/acc_bbbbbbbbbbbb/invoices/1")
    assert foreign != tests
    shown = previewed(generation, {**files, "routes.csv": foreign.encode()})
    [failed] = [one for one in shown["failed"] if "acc_bbbbbbbbbbbb/invoices/1" in one]
    assert failed == f"GET /accounts/acc_bbbbbbbbbbbb/invoices/1: expected {OWN}; got denied, not one's own"
    place, hint = shown["remedies"][shown["failed"].index(failed)]
    assert place["file"] == "routes.csv"
    assert hint.startswith(": fix the routes of sections.toml, or write own billing/view here, with the braces written")


def test_an_explanation_lists_the_own_routes(generation):
    own = compile_policy(with_own(generation.files), proof=ProofScope.NONE).draft
    assert own is not None
    found = _explained(own, "accountant", "billing", "view")
    [block] = [one for one in found if one["label"] == "For one's own"]
    assert block["sentences"] == ["On these routes, the path must hold the caller's own ids."]
    assert all("{account}" in line["text"] for line in block["lines"])
    labels = [one["label"] for one in _explained(own, "accountant", "audit", "view")]
    assert "For one's own" not in labels


def _explained(current: Generation, role: str, section: str, action: str) -> list[dict[str, Any]]:
    found = json.loads(msgspec.json.encode(to_explained(explain(current, role, section, action))))
    blocks: list[dict[str, Any]] = run(
        MODULES, TITLES + "return m.blocks(data.found, titles)", {**policy(current), "found": found}
    )
    return blocks


# -- failed expectations -----------------------------------------------------------------------------------------------


def test_a_failed_expectation_names_missing_conditions(generation):
    rows = "allow, accountant, billing, change-plan, without second-factor | office\n"
    shown = previewed(generation, with_needs(generation.files, CHANGE_PLAN, rows))
    assert shown["failed"] == [
        "Accountant: Billing: Change the plan without Second factor and Office: expected allow, got deny"
    ]
