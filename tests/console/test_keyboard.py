"""One flow by keyboard alone, and the places of the focus."""

import re
from collections.abc import Callable

from tests.console.site import Account
from tests.console.visitor import Visitor, expect
from tests.live.support import PASSWORD

Visit = Callable[..., Visitor]
NAME = """() => { const one = document.activeElement;
  const names = [one.getAttribute("aria-label"), one.labels?.[0]?.textContent, one.textContent];
  return names.find((text) => text?.trim()) ?? ""; }"""


def focused(visitor: Visitor) -> str:
    return str(visitor.page.evaluate(NAME)).strip()


def tab_to(visitor: Visitor, name: str, *, at_most: int = 40) -> None:
    """Press Tab until the element of that name has the focus."""
    seen = []
    for _ in range(at_most):
        visitor.page.keyboard.press("Tab")
        seen.append(focused(visitor))
        if seen[-1] == name:
            return
    raise AssertionError(f"{name} is not reached by Tab: {seen}")


def test_invite_and_sign_out_without_a_mouse(visit: Visit, account: Account) -> None:
    ada, bob = account.admin, account.email_of("Bob")
    visitor = visit().open("/console/sign-in")
    press, write = visitor.page.keyboard.press, visitor.page.keyboard.type
    expect(visitor.field("E-mail")).to_be_focused()
    write(ada.email)
    tab_to(visitor, "Password")
    write(PASSWORD)
    press("Enter")
    visitor.sees("Users")
    tab_to(visitor, "Invite user")
    press("Enter")
    dialog = visitor.dialog("Invite user")
    expect(dialog.get_by_label("E-mail")).to_be_focused()
    write(bob)
    tab_to(visitor, "Name")
    write("Bob Berg")
    press("Tab")  # into the radio group: arrows choose
    press("ArrowDown")
    chosen = dialog.get_by_role("radio", checked=True)
    expect(chosen).to_have_count(1)
    press("Enter")  # submits, as "Cancel" is no submit button
    expect(dialog.get_by_role("button", name="Copy link")).to_be_visible()
    press("Escape")
    expect(dialog).to_have_count(0)
    expect(visitor.button("Invite user")).to_be_focused()
    assert account.member(bob)["name"] == "Bob Berg"

    tab_to(visitor, "Actions for Bob Berg")
    press("Enter")
    expect(visitor.page.get_by_role("menuitem").first).to_be_focused()
    press("Escape")
    assert focused(visitor) == "Actions for Bob Berg"
    press("ArrowDown")
    press("r")
    press("Enter")
    revoke = visitor.page.get_by_role("dialog")
    expect(revoke.get_by_role("button", name="Cancel")).to_be_focused()
    press("Escape")
    expect(revoke).to_have_count(0)
    assert focused(visitor) == "Actions for Bob Berg"

    visitor.menu(ada).focus()
    press("Enter")
    press("End")
    press("Enter")
    visitor.sees("Sign in")


def test_the_focus_stays_in_a_dialog(visit: Visit, account: Account) -> None:
    visitor = visit(account.admin).open("/console/account-settings")
    visitor.button("Change password").click()
    dialog = visitor.dialog("Change password")
    expect(dialog.get_by_label("Old password")).to_be_focused()
    inside = 0
    for _ in range(12):
        visitor.page.keyboard.press("Tab")
        where = visitor.page.evaluate(
            "document.activeElement.closest('dialog') ? 1 : document.activeElement === document.body ? 0 : -1"
        )
        assert where >= 0, focused(visitor)
        inside += where
    assert inside > 6
    visitor.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(visitor.button("Change password")).to_be_focused()


def test_the_skip_link_leads_to_the_content(visit: Visit, account: Account) -> None:
    visitor = visit(account.admin).open("/console/users")
    visitor.sees("Users")
    visitor.page.keyboard.press("Tab")
    assert focused(visitor) == "Skip to the content"
    visitor.page.keyboard.press("Enter")
    expect(visitor.page).to_have_url(re.compile("#main$"))
