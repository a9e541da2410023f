"""The page Audit in a browser: sentences, filters in the address, before and after, exports."""

import csv
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.site import Account, Person, Sidecars, Site
from tests.console.visitor import Visitor, expect
from tests.live.support import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]


@pytest.fixture
def bob(account: Account) -> Person:
    """Return a member with a changed role."""
    bob = account.join("Bob Berg", "marketer")
    account.ask("PATCH", f"/v1/users/{bob.id}", {"role": "accountant"})
    return bob


def rows(visitor: Visitor) -> "Locator":
    return visitor.page.locator(".entries > li")


def seen(visitor: Visitor) -> list[str]:
    return [text.strip() for text in visitor.page.locator(".entries > li > p").all_inner_texts()]


def test_rows_are_sentences_newest_first(visit: Visit, account: Account, bob: Person) -> None:
    ada = visit(account.admin).open("/console/audit")
    expect(rows(ada).first).to_be_visible()
    texts = seen(ada)
    changed = "Ada Admin made Bob Berg an Accountant (was Marketer), from 127.0.0.1"
    assert changed in texts
    joined = texts.index("Bob Berg accepted the invitation as Marketer, from 127.0.0.1")
    assert texts.index(changed) < joined
    assert texts[-1] == f"An operator created the account {account.name} with 5 seats, on the command line"


def test_a_removed_person_keeps_the_name(visit: Visit, account: Account, bob: Person) -> None:
    account.ask("DELETE", f"/v1/users/{bob.id}")
    ada = visit(account.admin).open("/console/audit")
    expect(rows(ada).filter(has_text="Ada Admin removed Bob Berg (was Accountant)")).to_have_count(1)
    assert bob.id not in ada.page.get_by_role("main").inner_text()


def test_before_and_after_open_below_the_row(visit: Visit, account: Account, bob: Person) -> None:
    ada = visit(account.admin).open("/console/audit")
    row = rows(ada).filter(has_text="made Bob Berg an Accountant")
    row.locator("summary").click()
    role = row.get_by_role("table").get_by_role("row").filter(has_text="Role")
    expect(role.get_by_role("cell").nth(0)).to_have_text("marketer")
    expect(role.get_by_role("cell").nth(1)).to_have_text("accountant")
    expect(row).to_contain_text("user.changed")


def test_filters_live_in_the_address(visit: Visit, account: Account, bob: Person) -> None:
    ada = visit(account.admin).open("/console/audit")
    everything = rows(ada)
    expect(everything.first).to_be_visible()
    number = everything.count()
    ada.field("Kind").select_option("user.changed")
    ada.field("About").select_option(bob.id)
    ada.button("Filter").click()
    expect(rows(ada)).to_have_count(1)
    assert ada.page.url.endswith(f"/console/audit?target={bob.id}&action=user.changed")
    ada.page.reload()
    expect(rows(ada)).to_have_count(1)
    expect(ada.field("Kind")).to_have_value("user.changed")
    expect(ada.field("About")).to_have_value(bob.id)
    ada.button("Clear").click()
    expect(rows(ada)).to_have_count(number)
    assert ada.page.url.endswith("/console/audit")
    ada.page.go_back()
    expect(rows(ada)).to_have_count(1)
    expect(ada.field("Kind")).to_have_value("user.changed")


def test_operators_and_days_are_filters_too(visit: Visit, account: Account, bob: Person) -> None:
    ada = visit(account.admin).open("/console/audit?actor=operator")
    expect(rows(ada).first).to_be_visible()
    assert all(text.startswith("An operator") for text in seen(ada))
    ada.open("/console/audit?from=2001-01-01&to=2001-01-02")
    expect(ada.page.get_by_text("No row matches these filters.")).to_be_visible()
    expect(ada.field("From")).to_have_value("2001-01-01")


def test_days_in_the_wrong_order_are_an_error_at_the_field(visit: Visit, account: Account) -> None:
    ada = visit(account.admin).open("/console/audit")
    expect(rows(ada).first).to_be_visible()
    number = rows(ada).count()
    ada.field("From").fill("2026-02-02")
    ada.field("To").fill("2026-02-01")
    ada.button("Filter").click()
    error = ada.page.get_by_text("“From” is after “To”. Choose an earlier day.")
    expect(error).to_be_visible()
    expect(ada.field("From")).to_be_focused()
    expect(ada.field("From")).to_have_attribute("aria-invalid", "true")
    expect(rows(ada)).to_have_count(number)
    ada.open("/console/audit?from=2026-02-02&to=2026-02-01")
    expect(error).to_be_visible()
    expect(ada.page.locator(".empty")).to_have_text("“From” is after “To”, so no row can match.")
    ada.button("Clear").click()
    expect(error).to_be_hidden()
    expect(rows(ada)).to_have_count(number)


def test_strange_filters_of_an_address_are_inert(visit: Visit, account: Account) -> None:
    ada = visit(account.admin).open("/console/audit?actor=%3Cimg%20src=x%3E&from=now&other=1&action=no.such")
    expect(ada.page.get_by_text("No row matches these filters.")).to_be_visible()
    expect(ada.field("Changed by")).to_have_value("<img src=x>")
    assert ada.page.locator("main img").count() == 0


def download(visitor: Visitor, button: str) -> str:
    with visitor.page.expect_download() as saved:
        visitor.button(button).click()
    return Path(saved.value.path()).read_text(encoding="utf-8")


def test_the_export_has_every_row_and_no_formula(visit: Visit, account: Account) -> None:
    eve = account.join("=HYPERLINK(1)", "marketer")
    ada = visit(account.admin).open(f"/console/audit?target={eve.id}")
    expect(rows(ada).first).to_be_visible()
    shown = seen(ada)
    found: dict[str, Any] = json.loads(download(ada, "Export JSON"))
    assert found["entries"] == account.ask("GET", f"/v1/audit?target={eve.id}&limit=500")["entries"]
    assert found["filters"]["target"] == eve.id
    text = download(ada, "Export CSV")
    assert text.startswith("\ufeffseq,at,action,")
    table = list(csv.DictReader(io.StringIO(text[1:], newline="")))
    assert [int(line["seq"]) for line in table] == [row["seq"] for row in found["entries"]]
    assert {line["target_name"] for line in table} == {"'=HYPERLINK(1)"}
    assert [line["sentence"].removeprefix("'") for line in table] == shown
    ada.hears(f"{len(table)} rows exported")


def page_of(first: int, count: int, *, last: bool) -> dict[str, Any]:
    entries = [
        {
            "seq": seq, "at": f"2026-11-{1 + seq % 28:02}T08:00:00.000+00:00", "action": "user.signed_out",
            "actor": "usr_a", "actor_name": "Ann", "actor_email": "ann@x.example", "target": "usr_b",
            "target_name": f"Bob {seq}", "target_email": None, "before": None, "after": None,
            "address": "10.0.0.4", "request_id": "r",
        }
        for seq in range(first, first - count, -1)
    ]  # fmt: skip
    return {"entries": entries, "next": None if last else first - count + 1, "verified_up_to": 900}


def test_a_thousand_rows_are_shown_in_turns(visit: Visit, account: Account) -> None:
    ada = visit(account.admin)
    asked: list[str] = []

    def respond(route: Any) -> None:
        asked.append(route.request.url)
        limit = int(route.request.url.rpartition("limit=")[2])
        first = 1000 - sum(int(url.rpartition("limit=")[2]) for url in asked[:-1])
        route.fulfill(json=page_of(first, min(limit, first), last=first <= limit))

    ada.page.route("**/v1/audit?*", respond)
    ada.open("/console/audit")
    older = ada.button("Show older rows")
    expect(rows(ada).first).to_contain_text("Bob 1000")
    expect(ada.page.get_by_text("Verified up to row 900")).to_be_visible()
    expect(ada.page.get_by_text("covered by a signed checkpoint of the exported audit")).to_be_visible()
    while older.is_visible():
        before = rows(ada).count()
        older.click()
        expect(rows(ada).nth(before)).to_be_attached()
    expect(rows(ada)).to_have_count(1000)
    expect(rows(ada).last).to_contain_text("signed Bob 1 out")


DRAWN = """() => [...document.querySelectorAll(".entries > li > p")]
  .filter((one) => one.checkVisibility({ contentVisibilityAuto: true })).length"""
"""Number of rows that the browser lays out and paints. It skips the content of the others."""


def test_of_a_thousand_rows_few_are_drawn_at_once(visit: Visit, account: Account) -> None:
    """A step of scrolling costs as much as with few rows. Counts, because times differ between machines."""
    ada = visit(account.admin)
    ada.page.route("**/v1/audit?*", lambda route: route.fulfill(json=page_of(1000, 1000, last=True)))
    ada.open("/console/audit")
    expect(rows(ada)).to_have_count(1000)
    positions = set()
    for step in range(11):
        ada.page.evaluate(f"scrollTo(0, document.documentElement.scrollHeight * {step / 10})")
        ada.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert 0 < ada.page.evaluate(DRAWN) <= 150
        positions.add(ada.page.evaluate("scrollY"))
    assert len(positions) == 11
    ada.page.get_by_text("signed Bob 1 out").scroll_into_view_if_needed()
    expect(ada.page.get_by_text("signed Bob 1 out")).to_be_in_viewport()


def test_a_search_goes_on_past_empty_responses(visit: Visit, account: Account) -> None:
    ada = visit(account.admin)
    answers = [{"entries": [], "next": 500, "verified_up_to": None}, page_of(3, 3, last=True)]
    ada.page.route("**/v1/audit?*", lambda route: route.fulfill(json=answers.pop(0)))
    ada.open("/console/audit?action=user.signed_out")
    expect(rows(ada)).to_have_count(3)
    expect(ada.button("Show older rows")).to_be_hidden()


@pytest.fixture
def edited(sidecars: Sidecars, tmp_path: Path) -> Iterator[tuple[Site, Account, Callable[[], None]]]:
    """A sidecar with a policy of its own, an account of it, and the edit that opens Billing to marketers."""
    folder = tmp_path / "policy"
    shutil.copytree(ROOT / "policy", folder)
    site = sidecars.start(POLICY_DIR=str(folder), MODEL=str(ROOT / "model.conf"))
    account = site.account()

    def edit() -> None:
        rules, expected = folder / "policy.csv", folder / "expectations.csv"
        denied = re.compile(r"^deny(,\s*marketer,\s*billing,\s*view)$", re.MULTILINE)
        text, count = denied.subn(r"allow\1", expected.read_text())
        assert count == 1
        expected.write_text(text)
        rules.write_text(rules.read_text().rstrip("\n") + "\np, marketer, billing, view, allow\n")
        deadline = time.monotonic() + 30
        while not account.ask("GET", "/v1/audit")["policy_changes"]:
            assert time.monotonic() < deadline, account.ask("GET", "/v1/policy")
            time.sleep(0.1)

    yield site, account, edit
    site.process.popen.kill()


def test_a_policy_change_names_what_it_opened(visit: Visit, edited: Any) -> None:
    site, account, edit = edited
    edit()
    account.join("Mia Maler", "marketer")
    ada = visit(account.admin, origin=site.origin).open("/console/audit")
    text = "The policy changed. Marketer gained Billing."
    expect(rows(ada).filter(has_text=text)).to_have_count(1)
    texts = seen(ada)
    assert texts.index("Mia Maler accepted the invitation as Marketer, from 127.0.0.1") < texts.index(text)
    assert texts[-1].startswith("An operator created the account")
    row = rows(ada).filter(has_text=text)
    row.locator("summary").click()
    generation = account.ask("GET", "/v1/policy")["generation"]
    expect(row.get_by_role("row").filter(has_text="Generation")).to_contain_text(generation)
    found = json.loads(download(ada, "Export JSON"))
    assert [one["generation"] for one in found["policy_changes"]] == [generation]
    exported = list(csv.DictReader(io.StringIO(download(ada, "Export CSV")[1:], newline="")))
    assert [line["sentence"] for line in exported] == texts
    assert [line["sentence"] for line in exported if not line["seq"]] == [text]
    ada.field("Kind").select_option(label="Policy changed")
    ada.button("Filter").click()
    expect(rows(ada)).to_have_count(1)
    expect(rows(ada)).to_contain_text(text)


def test_an_actor_that_is_no_user_is_marked(visit: Visit, account: Account) -> None:
    """A person's name is a `bdi`, and stands in a group of its own among the filters."""
    ada = visit(account.admin).open("/console/audit")
    created = rows(ada).filter(has_text="created the account")
    expect(created.locator(".system")).to_have_text("An operator")
    expect(created.locator("bdi")).to_have_text([account.name])
    signed_in = rows(ada).filter(has_text="Ada Admin signed in").first
    expect(signed_in.locator("bdi")).to_have_text("Ada Admin")
    expect(signed_in.locator(".system")).to_have_count(0)
    people = ada.field("Changed by").locator("optgroup[label=People] > option")
    expect(people).to_have_text(["Ada Admin"])
    expect(ada.field("Changed by").locator("> option")).to_have_text(["Everybody", "An operator, or the sidecar"])
