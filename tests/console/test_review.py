"""R48 on the page Users: a user whose change the store lost is held, and released with the role and status chosen."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import redis

from tests.console.axe import violations
from tests.console.site import Account, Person, Sidecars
from tests.console.visitor import Visitor, expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]


@pytest.fixture
def hold(sidecars: Sidecars) -> Callable[..., None]:
    """Hold a user as recovery does after the store lost a change to this role and status."""

    def hold(person: Person, role: str, status: str) -> None:
        lost = json.dumps({"role": role, "status": status, "t": "1764000000000"})
        with redis.Redis(unix_socket_path=sidecars.redis.url.removeprefix("unix://")) as store:
            (key,) = [found for form in "ui" for found in store.keys(f"*:{form}:{person.id}")]
            store.hset(key, "hold", lost)

    return hold


def review_of(visitor: Visitor, name: str) -> "Locator":
    visitor.choose(name, "Review")
    dialog = visitor.dialog(f"Review {name}")
    expect(dialog.get_by_role("table")).to_be_visible()
    return dialog


def cells(dialog: "Locator") -> list[list[str]]:
    lines = dialog.get_by_role("table").get_by_role("row").all()[1:]
    return [[*line.get_by_role("rowheader").all_inner_texts(), *line.get_by_role("cell").all_inner_texts()]
            for line in lines]  # fmt: skip


def test_R48_a_held_user_is_reviewed_in_the_row_menu(visit: Visit, account: Account, hold: Callable[..., None]) -> None:
    bob = account.join("Bob Berg", "developer")
    hold(bob, "marketer", "suspended")
    at_bob = visit().sign_in(bob, lands=False)
    expect(at_bob.field("Password")).to_have_attribute("aria-invalid", "true")
    at_ada = visit(account.admin).open("/console/users")
    expect(at_ada.row("Bob Berg")).to_contain_text("Held for review")
    at_ada.page.get_by_role("button", name="Actions for Bob Berg", exact=True).click()
    expect(at_ada.menu_item("Change role")).to_have_count(0)
    at_ada.page.keyboard.press("Escape")

    dialog = review_of(at_ada, "Bob Berg")
    expect(dialog).to_contain_text("Until you decide, Bob Berg cannot sign in and has no access.")
    assert cells(dialog) == [["Role", "Marketer", "Developer"], ["Status", "Suspended", "Active"]]
    expect(dialog.locator("input:checked")).to_have_count(0)
    assert violations(at_ada) == []
    dialog.get_by_role("button", name="Release Bob Berg").click()
    expect(dialog.get_by_text("Choose a role.")).to_be_visible()
    expect(dialog.get_by_text("Choose a status.")).to_be_visible()
    at_ada.pick(dialog, "Accountant")
    at_ada.pick(dialog, "Active")
    dialog.get_by_role("button", name="Release Bob Berg").click()
    at_ada.hears("Bob Berg is released: Accountant, active. All sidecars have it.")
    expect(at_ada.row("Bob Berg")).not_to_contain_text("Held for review")
    expect(at_ada.row("Bob Berg")).to_contain_text("Accountant")
    expect(at_ada.page.get_by_role("button", name="Actions for Bob Berg", exact=True)).to_be_focused()
    at_bob.sign_in(bob)
    at_ada.open("/console/audit")
    expect(at_ada.page.get_by_text("reviewed Bob Berg: Accountant, active")).to_be_visible()


def test_R48_a_user_who_had_been_removed_is_said_to_be(
    visit: Visit, account: Account, hold: Callable[..., None]
) -> None:
    bob = account.join("Bob Berg", "marketer")
    hold(bob, "marketer", "removed")
    at_ada = visit(account.admin).open("/console/users")
    dialog = review_of(at_ada, "Bob Berg")
    assert cells(dialog) == [["Role", "Marketer", "Marketer"], ["Status", "Removed", "Active"]]
    expect(dialog.get_by_role("radio", name="Marketer")).to_be_checked()
    expect(dialog).to_contain_text("Bob Berg had been removed.")
    dialog.get_by_role("button", name="Cancel").click()
    at_ada.choose("Bob Berg", "Remove")
    at_ada.page.get_by_role("dialog").get_by_role("button", name="Remove Bob Berg").click()
    expect(at_ada.row("Bob Berg")).to_have_count(0)


def test_R48_a_held_invitation_has_no_status_to_choose(
    visit: Visit, account: Account, hold: Callable[..., None]
) -> None:
    bob, _ = account.invite("Bob Berg", "marketer")
    hold(bob, "developer", "invited")
    at_ada = visit(account.admin).open("/console/users")
    dialog = review_of(at_ada, "Bob Berg")
    expect(dialog.get_by_role("radiogroup")).to_have_count(1)
    at_ada.pick(dialog, "Developer")
    dialog.get_by_role("button", name="Release Bob Berg").click()
    expect(at_ada.row("Bob Berg")).to_contain_text("Invited")
    expect(at_ada.row("Bob Berg")).to_contain_text("Developer")
