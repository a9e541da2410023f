"""What a stylesheet can break unseen: overlaps, cut texts, colours of states, heights."""

from collections.abc import Callable

import pytest

from tests.console.site import Account
from tests.console.visitor import NARROW, Visitor, expect

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
ON_TOP = """(one) => { const at = one.getBoundingClientRect();
  one.style.pointerEvents = "auto";
  const found = [0.1, 0.5, 0.9].every((share) => {
    const y = at.top + share * at.height;
    const seen = document.elementFromPoint(at.left + at.width / 2, y);
    return y > 0 && y < innerHeight && one.contains(seen);
  });
  one.style.pointerEvents = ""; return found }"""
"""An announcement lets clicks pass, and `elementFromPoint` finds only what takes them."""
OVERLAP = """(row) => { const range = document.createRange(); range.selectNodeContents(row.querySelector("th"));
  const button = row.querySelector("button").getBoundingClientRect();
  return [...range.getClientRects()].some((at) => at.width > 0
    && at.right > button.left && at.left < button.right && at.bottom > button.top && at.top < button.bottom) }"""
LOOK = "(one) => { const look = getComputedStyle(one); return [look.color, look.backgroundColor, look.filter] }"


def test_a_card_and_its_button_do_not_overlap(visit: Visit, account: Account) -> None:
    visit(account.admin)
    here = visit(account.admin, width=NARROW).open("/console/account-settings")
    rows = here.page.get_by_role("table", name="Sessions").locator("tbody tr")
    expect(rows).not_to_have_count(0)
    assert [rows.nth(at).evaluate(OVERLAP) for at in range(rows.count())] == [False] * rows.count()


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (NARROW, 480)])
def test_the_status_of_a_dialog_is_fully_visible(visit: Visit, account: Account, width: int, height: int) -> None:
    at_ada = visit(account.admin, width=width, height=height).open("/console/users")
    dialog = at_ada.invite("Bob Berg", account.email_of("Bob"), "Marketer")
    dialog.get_by_role("button", name="Copy link").click()
    status = dialog.get_by_role("status")
    expect(status).to_contain_text("The link")
    assert status.evaluate(ON_TOP)


def test_a_full_account_has_a_plain_button_and_no_good_meter(visit: Visit, account: Account) -> None:
    full = account.site.account(seats=1)
    at_ada = visit(full.admin).open("/console/users")
    button = at_ada.button("Invite user")
    expect(button).to_be_disabled()
    before = button.evaluate(LOOK)
    button.hover(force=True)
    assert button.evaluate(LOOK) == before
    meter = at_ada.page.get_by_role("meter")
    assert meter.evaluate("(one) => one.value > one.high && one.optimum < one.high")


@pytest.mark.parametrize("page", ["sign-in", "forgot", "reset", "invitation"])
def test_a_short_page_does_not_scroll(visit: Visit, page: str) -> None:
    visitor = visit().open(f"/console/{page}")
    expect(visitor.page.locator("#content > *").first).to_be_visible()
    assert visitor.page.evaluate("document.documentElement.scrollHeight <= innerHeight")
