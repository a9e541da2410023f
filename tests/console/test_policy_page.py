"""The page Policy in a browser: the table, explanations, the question, an edit from files and from pasted text."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.console.edits import MISSPELT, OPENED, POLICY, POLICY_FOLDER, choose_files, renamed_and_opened, report
from tests.console.site import Account
from tests.console.visitor import Visitor, expect
from tests.policy.needs_policies import with_needs

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]


@pytest.fixture
def ada(visit: Visit, account: Account) -> Visitor:
    account.join("Mark Maler", "marketer")
    visitor = visit(account.admin).open("/console/policy")
    expect(permissions(visitor)).to_be_visible()
    return visitor


def permissions(visitor: Visitor) -> "Locator":
    return visitor.page.get_by_role("table", name="Permissions")


def choose_file(visitor: Visitor, name: str, content: bytes) -> None:
    choose_files(visitor, {name: content})


def test_the_page_shows_generation_state_and_fleet(ada: Visitor, account: Account) -> None:
    policy = account.ask("GET", "/v1/policy")
    facts = ada.page.get_by_role("region", name="In force")
    expect(facts).to_contain_text(policy["generation"])
    expect(facts).to_contain_text("Current")
    expect(facts).to_contain_text(re.compile(r"In force on [1-9]\d* of [1-9]\d* sidecars?"))
    exact = facts.locator("time").get_attribute("datetime")
    assert exact == policy["loaded_at"]


def test_a_rejected_edit_is_said(visit: Visit, account: Account) -> None:
    visitor = visit(account.admin)
    policy = account.ask("GET", "/v1/policy") | {"state": "rejected"}
    visitor.page.route("**/v1/policy", lambda route: route.fulfill(json=policy))
    visitor.open("/console/policy")
    expect(visitor.page.get_by_role("region", name="In force")).to_contain_text("The last edit was rejected.")


def test_each_cell_has_a_word_and_a_mark(ada: Visitor, account: Account) -> None:
    cells = account.ask("GET", "/v1/policy/matrix")["cells"]
    buttons = permissions(ada).get_by_role("button")
    expect(buttons).to_have_count(len(cells))
    texts = buttons.all_inner_texts()
    assert sum("Allowed" in text and "✓" in text for text in texts) == sum(cell["decision"] for cell in cells)
    assert sum("Denied" in text for text in texts) == sum(not cell["decision"] for cell in cells)


def test_only_rows_that_differ_are_shown_on_request(ada: Visitor) -> None:
    everything = permissions(ada).get_by_role("row").count()
    ada.field("Only where roles differ").check()
    expect(permissions(ada)).not_to_contain_text("Account Settings")
    expect(permissions(ada)).to_contain_text("Billing")
    ada.field("Only where roles differ").uncheck()
    expect(permissions(ada).get_by_role("row")).to_have_count(everything)


def test_a_cell_opens_its_explanation_by_keyboard(ada: Visitor) -> None:
    cell = ada.button("Denied: Marketer, Billing, View")
    cell.focus()
    ada.page.keyboard.press("Enter")
    dialog = ada.dialog("Marketer · Billing: View")
    expect(dialog).to_contain_text("No. Marketer may not do “View” in Billing.")
    expect(dialog).to_contain_text(re.compile(r"policy/policy\.csv:\d+"))
    expect(dialog).to_contain_text("p, marketer, billing, view, allow")
    expect(dialog).to_contain_text("Account Administrator, Accountant")
    ada.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(cell).to_be_focused()


def test_cells_have_a_hint_and_sections_a_jump_list(ada: Visitor) -> None:
    expect(ada.page.get_by_text("Choose a cell to see which rule decides it")).to_be_visible()
    jumps = ada.page.get_by_role("navigation", name="Sections of the table")
    expect(jumps).to_be_hidden()
    ada.page.set_viewport_size({"width": 320, "height": 640})
    links = jumps.get_by_role("link")
    sections = dict.fromkeys(permissions(ada).locator("tr[id]").evaluate_all("(all) => all.map((one) => one.id)"))
    assert [link.get_attribute("href") for link in links.all()] == [f"#{section}" for section in sections]
    links.filter(has_text="Billing").click()
    expect(permissions(ada).locator("#section-billing")).to_be_in_viewport()
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ada.field("Only where roles differ").check()
    expect(jumps).not_to_contain_text("Account Settings")


def test_only_a_return_to_a_generation_is_pointed_out(visit: Visit, account: Account) -> None:
    visitor = visit(account.admin)
    again = {"generation": "b", "first_at": "2026-11-30T08:00:00Z", "last_at": None, "noticed_by": "edit"}
    generations = [again | {"direction": "back"}, again | {"generation": "a", "direction": "forward"}]
    found = {"generations": generations, "current": "b"}
    visitor.page.route("**/v1/policy/generations", lambda route: route.fulfill(json=found))
    visitor.open("/console/policy")
    table = visitor.page.get_by_role("table", name="Generations so far")
    expect(table.get_by_text("an earlier generation again")).to_have_count(1)
    expect(table).not_to_contain_text("Forward")


def test_a_person_is_asked_about_by_name(ada: Visitor) -> None:
    ada.field("Role or person").locator("option", has_text="Mark Maler").wait_for(state="attached")
    value = ada.field("Role or person").locator("option", has_text="Mark Maler").get_attribute("value")
    ada.field("Role or person").select_option(value)
    ada.field("Section").select_option("media-library")
    ada.field("Action").select_option("upload")
    ada.button("Find out").click()
    expect(ada.page.get_by_text("Yes. Mark Maler may do “Upload” in Media Library.")).to_be_visible()


def test_a_chosen_file_is_previewed_with_people(ada: Visitor) -> None:
    choose_file(ada, "policy.csv", (POLICY + OPENED).encode())
    found = report(ada)
    expect(found).to_contain_text("This edit would be rejected: 1 failed expectation.")
    expect(found.locator(".opens li")).to_contain_text("Marketer: Billing: View")
    expect(found.locator(".opens li")).to_contain_text("1 person: Mark Maler")
    expect(found).to_contain_text("It closes no permission.")
    expect(found).to_contain_text("It changes no route.")


def test_pasted_text_is_previewed_and_findings_lead_to_lines(ada: Visitor) -> None:
    wrong = "p, marketeer, billing, view, allow"
    ada.field("Its whole text").fill(POLICY + wrong + "\n")
    found = report(ada)
    expect(found).to_contain_text("This edit would be rejected: 1 error.")
    line = POLICY.count("\n") + 1
    found.get_by_role("button", name=f"policy.csv, line {line}, column 4").click()
    area = ada.field("Its whole text")
    expect(area).to_be_focused()
    assert area.evaluate("(one) => one.value.slice(one.selectionStart, one.selectionEnd)") == wrong


def test_a_failed_expectation_leads_to_the_rule(ada: Visitor) -> None:
    ada.field("Its whole text").fill(POLICY + OPENED)
    found = report(ada)
    expect(found).to_contain_text(
        re.compile(r"Fix line \d+ of policy\.csv, or change line \d+ of expectations\.csv to")
    )
    found.get_by_role("button", name=f"line {POLICY.count(chr(10)) + 1} of policy.csv").click()
    selected = ada.field("Its whole text").evaluate("(one) => one.value.slice(one.selectionStart, one.selectionEnd)")
    assert selected == OPENED.strip()
    expect(found.get_by_role("button", name="of expectations.csv")).to_have_count(0)


def test_an_edit_shows_renames_grid_and_places(ada: Visitor) -> None:
    """The report's own modules and style sheet come with the first preview."""
    asked: list[str] = []
    ada.page.on("request", lambda request: asked.append(request.url.removeprefix(ada.origin)))
    choose_files(ada, renamed_and_opened())
    found = report(ada)
    expect(found).to_contain_text("Section media-library is renamed to assets")
    expect(found).to_contain_text("15 cells, 5 routes, no answer changes")
    grid = found.get_by_role("table", name="Grid")
    expect(grid.get_by_role("row")).to_have_count(2)
    changed = grid.get_by_role("row", name="Billing: View")
    expect(changed.get_by_role("cell").filter(has_text="was denied")).to_have_count(1)
    expect(changed.get_by_role("cell").nth(3)).to_have_text(re.compile("Allowed.*was denied"))
    assert {"/console/report.css", "/console/grid-view.js"} <= set(asked)
    expect(found.locator(".outcome")).to_have_css("border-radius", "8px")
    for name in ("sections.toml", "expectations.csv", "routes.csv"):
        ada.button(f"Remove {name}").click()
    choose_file(ada, "policy.csv", (POLICY + MISSPELT).encode())
    found = report(ada)
    found.get_by_text("1 further place").click()
    found.get_by_role("button", name=f"policy.csv, line {POLICY.count(chr(10)) + 2}, column 4").click()
    selected = ada.field("Its whole text").evaluate("(one) => one.value.slice(one.selectionStart, one.selectionEnd)")
    assert selected == MISSPELT.splitlines()[1]
    assert asked.count("/console/report.css") == 1


def test_a_change_of_the_edit_withdraws_the_verdict(ada: Visitor) -> None:
    outdated = "Outdated: the edit has changed since this preview."
    ada.field("Its whole text").fill(POLICY)
    found = report(ada)
    expect(found).to_contain_text("This edit changes no permission and no route.")
    ada.field("Its whole text").press("End")
    ada.page.keyboard.type("x")
    expect(found.get_by_role("heading", level=3)).to_have_text(outdated)
    expect(found).not_to_contain_text("This edit changes no")
    ada.hears(outdated)
    expect(report(ada)).not_to_contain_text("Outdated")
    ada.button("Remove policy.csv").click()
    expect(found.get_by_role("heading", level=3)).to_have_text(outdated)


def test_pasted_text_needs_no_final_newline(ada: Visitor) -> None:
    ada.field("Its whole text").fill(POLICY + "p, marketeer, billing, view, allow")
    expect(report(ada)).to_contain_text("This edit would be rejected: 1 error.")
    choose_file(ada, "policy.csv", POLICY.rstrip("\n").encode())
    expect(report(ada)).to_contain_text("the last line has no line end")


def test_dropped_files_are_taken(ada: Visitor) -> None:
    data = ada.page.evaluate_handle(
        """(text) => { const data = new DataTransfer();
        data.items.add(new File([text], "policy.csv")); return data; }""",
        POLICY + OPENED,
    )
    ada.field("Its whole text").dispatch_event("drop", {"dataTransfer": data})
    expect(ada.page.get_by_role("list", name="Files of this edit")).to_contain_text("policy.csv")
    expect(ada.field("Its whole text")).to_have_value(POLICY + OPENED)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("notes.txt", b"x", "“notes.txt” is no file of a policy."), ("policy.csv", b"\xff\xfe", "is not UTF-8")],
)
def test_a_file_that_cannot_be_taken_is_named(ada: Visitor, name: str, content: bytes, said: str) -> None:
    choose_file(ada, name, content)
    expect(ada.page.locator(".error:visible")).to_contain_text(said)
    expect(ada.page.get_by_role("list", name="Files of this edit")).to_have_count(0)


def test_a_preview_without_files_is_refused_at_the_field(ada: Visitor) -> None:
    ada.button("Preview this edit").click()
    expect(ada.page.locator(".error:visible")).to_contain_text("Drop, choose or paste at least one file.")
    expect(ada.field("Its whole text")).to_be_focused()


def test_what_the_api_refuses_stays_with_the_typed_text(ada: Visitor) -> None:
    ada.page.route("**/v1/policy/preview", lambda route: route.fulfill(
        status=413, json={"code": "too_large", "detail": "a preview takes at most 20,000 rules", "status": 413}
    ))  # fmt: skip
    ada.field("Its whole text").fill(POLICY)
    ada.button("Preview this edit").click()
    expect(ada.page.locator(".error:visible")).to_have_text("A preview takes at most 20,000 rules.")
    expect(ada.field("Its whole text")).to_have_value(POLICY)


def test_a_cell_shows_what_it_needs(visit: Visit, account: Account) -> None:
    visitor, found = visit(account.admin), account.ask("GET", "/v1/policy/matrix")
    for cell in found["cells"]:
        if (cell["role"], cell["section"], cell["action"]) == ("accountant", "billing", "change-plan"):
            cell["needs"] = [["second-factor", "office"], ["recent-sign-in"]]
    found["conditions"] = [{"name": "office", "title": "Our office"}, {"name": "second-factor", "title": "2FA"}]
    visitor.page.route("**/v1/policy/matrix", lambda route: route.fulfill(json=found))
    visitor.open("/console/policy")
    name = re.compile("^Allowed with 2FA or Our office; Recent sign in: Accountant, Billing, ")
    shown = permissions(visitor).get_by_role("button", name=name)
    expect(shown).to_have_count(1)
    expect(shown).to_contain_text("2FA or Our office; Recent sign in")


def test_an_edit_of_needs_is_shown_with_examples(ada: Visitor) -> None:
    edited = with_needs({"expectations.csv": (POLICY_FOLDER / "expectations.csv").read_bytes()})
    for name, content in edited.items():
        choose_file(ada, name, content)
    found = report(ada)
    changed = found.get_by_role("listitem").filter(has_text=re.compile(r"^Accountant: Billing: .* asks for more"))
    expect(changed).to_have_count(1)
    expect(changed.get_by_role("list", name="Examples").get_by_role("listitem").first).to_contain_text(
        "allowed, now denied"
    )
    expect(found).to_contain_text("It opens no permission.")
