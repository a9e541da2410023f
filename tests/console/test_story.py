"""The story that the product began with: Users with five seats, and Account settings with its password popup."""

import re
from collections.abc import Callable

import pytest

from tests.console.site import CONTACT, Account, Person
from tests.console.visitor import Visitor, expect
from tests.live.support import PASSWORD

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
NEW_PASSWORD = "six green bottles on a shelf"


def test_an_administrator_invites_five_and_the_invited_joins(visit: Visit, account: Account) -> None:
    ada = account.admin
    account.join("Carl Clerk", "accountant")
    account.join("Dora Dev", "developer")
    at_ada = visit().sign_in(ada)

    # She opens Users, enters the details of a person and picks a role from the list.
    at_ada.go("Users")
    expect(at_ada.page.get_by_text(re.compile("3 members .*= 3 of 5 seats"))).to_be_visible()
    bob = Person("Bob Berg", account.email_of("Bob"))
    at_ada.button("Invite user").click()
    dialog = at_ada.dialog("Invite user")
    expect(dialog.get_by_role("radio", checked=True)).to_have_count(0)
    dialog.get_by_label("E-mail").fill(bob.email)
    dialog.get_by_label("Name", exact=True).fill(bob.name)
    at_ada.pick(dialog, "Marketer")
    dialog.get_by_role("button", name="Send invitation").click()
    link = at_ada.link_in(dialog)
    at_ada.page.keyboard.press("Escape")
    expect(at_ada.row("Bob Berg")).to_contain_text("Invited, expires in")
    expect(at_ada.page.get_by_text("3 members + 1 invitation = 4 of 5 seats")).to_be_visible()
    assert at_ada.page.get_by_role("meter").count() == 1

    # With five the button is disabled, and a sentence names the contact for the sixth.
    at_ada.invite("Eve Ebert", account.email_of("Eve"), "Developer")
    at_ada.link_in(at_ada.dialog("Invite user"))
    at_ada.page.keyboard.press("Escape")
    expect(at_ada.page.get_by_text("3 members + 2 invitations = 5 of 5 seats")).to_be_visible()
    expect(at_ada.button("Invite user")).to_be_disabled()
    expect(at_ada.page.get_by_text(CONTACT).first).to_be_visible()

    # The invited person opens the link in another browser, and joins.
    at_bob = visit().open(link)
    at_bob.sees(f"Join {account.name}")
    expect(at_bob.page.get_by_text("Ada Admin").first).to_be_visible()
    expect(at_bob.page.get_by_text("Marketer").first).to_be_visible()
    expect(
        at_bob.page.get_by_text(bob.email).or_(at_bob.page.locator(f'input[value="{bob.email}"]')).first
    ).to_be_visible()
    assert "#" not in at_bob.page.url
    at_bob.field("Your name").fill(bob.name)
    at_bob.join(PASSWORD)
    expect(at_bob.menu(bob)).to_be_visible()
    old_browser = visit().sign_in(bob)

    # He opens the menu under his own name, Account settings, "Change password": old, new, Submit.
    at_bob.account_settings(bob)
    at_bob.button("Change password").click()
    popup = at_bob.dialog("Change password")
    popup.get_by_label("Old password").fill(PASSWORD)
    popup.get_by_label("New password", exact=True).fill(NEW_PASSWORD)
    popup.get_by_label("Repeat new password").fill(NEW_PASSWORD)
    popup.get_by_role("button", name="Submit").click()

    # A confirmation, and the popup is gone. This browser stays in, the old one is out at its next click.
    at_bob.hears("Your password has been changed. 1 other session was signed out.")
    expect(popup).to_have_count(0)
    at_bob.page.reload()
    at_bob.sees("Account settings")
    old_browser.page.reload()
    old_browser.sees("Sign in")
    at_bob.sign_out(bob)
    bob.password = NEW_PASSWORD
    at_bob.sign_in(bob)
    expect(at_bob.menu(bob)).to_be_visible()


def test_another_browser_is_out_at_its_next_click(visit: Visit, account: Account) -> None:
    dora = account.join("Dora Dev", "account-administrator")
    here, there = visit(dora), visit(dora)
    there.go("Users")
    here.account_settings(dora)
    here.button("Change password").click()
    popup = here.dialog("Change password")
    popup.get_by_label("Old password").fill(PASSWORD)
    popup.get_by_label("New password", exact=True).fill(NEW_PASSWORD)
    popup.get_by_label("Repeat new password").fill(NEW_PASSWORD)
    popup.get_by_label("Repeat new password").press("Enter")
    here.hears(re.compile("Your password has been changed"))
    there.page.get_by_role("navigation").get_by_role("link", name="Audit").click()
    there.sees("Sign in")
    expect(there.page).to_have_url(re.compile(r"/console/sign-in\?rd="))
    there.sign_in(Person(dora.name, dora.email, NEW_PASSWORD))
    there.sees("Audit")


def test_a_changed_role_shows_the_new_menu(visit: Visit, account: Account) -> None:
    bob = account.join("Bob Berg", "account-administrator")
    at_ada, at_bob = visit(account.admin), visit(bob)
    assert at_bob.pages_in_menu() == ["Users", "Policy", "Audit"]
    at_ada.open("/console/users")
    at_ada.choose("Bob Berg", "Change role")
    dialog = at_ada.page.get_by_role("dialog")
    at_ada.pick(dialog, "Marketer")
    expect(dialog).to_contain_text(re.compile(r"Bob Berg loses .*Billing"))
    expect(dialog).to_contain_text("next click")
    dialog.get_by_role("button", name=re.compile("^Change")).click()
    at_ada.hears(re.compile("Marketer"))
    expect(at_ada.row("Bob Berg")).to_contain_text("Marketer")
    at_bob.page.get_by_role("navigation").get_by_role("link", name="Audit").click()
    expect(at_bob.page.get_by_role("heading", level=1)).to_have_text("Your role (Marketer) does not open this page")
    assert at_bob.pages_in_menu() == []
    at_bob.account_settings(bob)


def test_a_sixth_person_is_refused_with_the_contact(visit: Visit, account: Account) -> None:
    """The page of another administrator still shows a free seat: the refusal is the API's."""
    for name in ("Bob", "Carl", "Dora"):
        account.join(f"{name} Berg", "developer")
    at_ada = visit(account.admin).open("/console/users")
    at_ada.button("Invite user").click()
    account.invite("Fifth Person", "marketer")
    dialog = at_ada.dialog("Invite user")
    sixth = account.email_of("Sixth")
    dialog.get_by_label("E-mail").fill(sixth)
    dialog.get_by_label("Name", exact=True).fill("Sixth Person")
    at_ada.pick(dialog, "Marketer")
    dialog.get_by_role("button", name="Send invitation").click()
    expect(dialog).to_contain_text(CONTACT)
    expect(dialog.get_by_label("E-mail")).to_have_value(sixth)
    expect(dialog.get_by_label("Name", exact=True)).to_have_value("Sixth Person")
    assert len(account.members()) == 5


def test_a_dead_invitation_says_so(visit: Visit, account: Account) -> None:
    bob, link = account.invite("Bob Berg", "marketer")
    account.ask("DELETE", f"/v1/users/{bob.id}")
    at_bob = visit().open(link)
    at_bob.sees("This invitation is no longer valid")
    assert "#" not in at_bob.page.url


def test_an_invitation_while_signed_in_as_somebody_else(visit: Visit, account: Account) -> None:
    _, link = account.invite("Bob Berg", "marketer")
    at_ada = visit(account.admin).open(link)
    expect(
        at_ada.page.get_by_text(account.admin.name).or_(at_ada.page.get_by_text(account.admin.email)).first
    ).to_be_visible()
    at_ada.button("Sign out").click()
    at_ada.sees(f"Join {account.name}")
    at_ada.join(PASSWORD)
    expect(at_ada.page.get_by_role("banner").get_by_role("button", name="Bob Berg")).to_be_visible()


def answer_in(visitor: Visitor) -> str:
    """Return the text that replaces the form."""
    expect(visitor.field("E-mail")).to_have_count(0)
    return visitor.page.get_by_role("main").inner_text()


def test_a_forgotten_password_by_link(visit: Visit, account: Account) -> None:
    bob = account.join("Bob Berg", "marketer")
    old_browser = visit(bob)
    at_bob = visit().open("/console/sign-in")
    at_bob.page.get_by_role("link", name="Forgot your password?").click()
    at_bob.sees("Forgot your password?")
    at_bob.field("E-mail").fill(bob.email)
    at_bob.button("Send a link").click()
    known = answer_in(at_bob)
    at_bob.open("/console/forgot")
    at_bob.field("E-mail").fill("nobody@" + account.domain)
    at_bob.button("Send a link").click()
    unknown = answer_in(at_bob)
    assert known.replace(bob.email, "X") == unknown.replace("nobody@" + account.domain, "X"), "the same answer"

    at_bob.open(account.reset_link(bob))
    at_bob.sees("Choose a new password")
    assert "#" not in at_bob.page.url
    at_bob.field("New password").fill(NEW_PASSWORD)
    at_bob.field("Repeat new password").fill(NEW_PASSWORD)
    at_bob.button("Set new password").click()
    at_bob.sees("Sign in")
    at_bob.sign_in(Person(bob.name, bob.email, NEW_PASSWORD))
    old_browser.page.reload()
    old_browser.sees("Sign in")


def test_wrong_words_stand_beside_the_field(visit: Visit, account: Account) -> None:
    bob = account.join("Bob Berg", "marketer")
    at_bob = visit().open("/console/sign-in")
    at_bob.sign_in(Person(bob.name, bob.email, "not this one"), lands=False)
    expect(at_bob.field("Password")).to_have_attribute("aria-invalid", "true")
    expect(at_bob.field("Password")).to_be_focused()
    expect(at_bob.field("E-mail")).to_have_value(bob.email)
    at_bob.sign_in(bob)
    at_bob.account_settings(bob)
    at_bob.button("Change password").click()
    popup = at_bob.dialog("Change password")
    for label, typed in (
        ("Old password", "wrong"),
        ("New password", NEW_PASSWORD),
        ("Repeat new password", NEW_PASSWORD),
    ):
        popup.get_by_label(label, exact=True).fill(typed)
    popup.get_by_role("button", name="Submit").click()
    expect(popup.get_by_label("Old password")).to_have_attribute("aria-invalid", "true")
    expect(popup.get_by_label("Old password")).to_be_focused()
    expect(popup.get_by_label("New password", exact=True)).to_have_value(NEW_PASSWORD)
    popup.get_by_label("Old password").fill(PASSWORD)
    for weak in ("short", "password1234", bob.email):
        popup.get_by_label("New password", exact=True).fill(weak)
        popup.get_by_label("Repeat new password").fill(weak)
        popup.get_by_role("button", name="Submit").click()
        expect(popup.get_by_label("New password", exact=True)).to_have_attribute("aria-invalid", "true")
        expect(popup.get_by_label("Old password")).to_have_value(PASSWORD)


def test_an_e_mail_in_two_accounts(visit: Visit, account: Account) -> None:
    other = account.site.account()
    ann = account.join("Ann Both", "marketer")
    there = other.ask("POST", "/v1/users", {"email": ann.email, "name": "Ann Both", "role": "developer"})
    secret = there["invitation"]["url"].partition("#")[2]
    done = account.site.ask("POST", "/v1/invitations/accept", {"token": secret, "password": PASSWORD})
    assert done.status == 201, done
    at_ann = visit().open("/console/sign-in").sign_in(ann, lands=False)
    at_ann.field("Account").select_option(label=other.name)
    at_ann.button("Sign in").click()
    expect(at_ann.page.get_by_role("banner")).to_contain_text(other.name)


@pytest.mark.parametrize("item", ["Suspend", "Remove", "Sign out everywhere"])
def test_a_members_access_ends(visit: Visit, account: Account, item: str) -> None:
    bob = account.join("Bob Berg", "account-administrator")
    at_ada, at_bob = visit(account.admin), visit(bob)
    at_ada.open("/console/users")
    at_ada.choose("Bob Berg", item)
    dialog = at_ada.page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    verb = f"{item} Bob Berg" if item != "Sign out everywhere" else re.compile("Sign .*out.*")
    dialog.get_by_role("button", name=verb).click()
    expect(dialog).to_have_count(0)
    at_bob.page.get_by_role("navigation").get_by_role("link", name="Audit").click()
    at_bob.sees("Sign in")


def test_a_suspended_member_comes_back(visit: Visit, account: Account) -> None:
    bob = account.join("Bob Berg", "marketer")
    account.ask("PATCH", f"/v1/users/{bob.id}", {"status": "suspended"})
    at_ada = visit(account.admin).open("/console/users")
    expect(at_ada.row("Bob Berg")).to_contain_text("Suspended")
    at_ada.choose("Bob Berg", "Resume")
    resume = at_ada.page.get_by_role("dialog").get_by_role("button", name="Resume Bob Berg")
    expect(resume.or_(at_ada.page.get_by_role("status").filter(has_text="Bob Berg")).first).to_be_visible()
    if resume.count():
        resume.click()
    expect(at_ada.row("Bob Berg")).not_to_contain_text("Suspended")
    visit(bob)


def test_the_last_administrator_stays(visit: Visit, account: Account) -> None:
    account.join("Bob Berg", "marketer")
    at_ada = visit(account.admin).open("/console/users")
    at_ada.choose("Ada Admin", "Change role")
    dialog = at_ada.page.get_by_role("dialog")
    at_ada.pick(dialog, "Marketer")
    dialog.get_by_role("button", name=re.compile("^Change")).click()
    expect(dialog).to_contain_text(re.compile("administrator", re.IGNORECASE))
    assert account.member(account.admin.email)["role"] == "account-administrator"


def test_sessions_by_browser_and_signed_out_one_by_one(visit: Visit, account: Account) -> None:
    bob = account.join("Bob Berg", "marketer")
    here, there, third = visit(bob), visit(bob), visit(bob)
    here.open("/console/account-settings")
    table = here.page.get_by_role("table", name="Sessions")
    expect(table.get_by_role("row").filter(has_text="This session")).to_have_count(1)
    expect(table).to_contain_text("Chrom")
    expect(table).to_contain_text("127.0.0.1")
    other = (
        table.get_by_role("row")
        .filter(has_not_text="This session")
        .filter(has=here.page.get_by_role("button", name="Sign out"))
    )
    before = other.count()
    assert before >= 2
    other.first.get_by_role("button", name=re.compile("Sign out")).click()
    confirm = here.page.get_by_role("dialog").get_by_role("button", name=re.compile("^Sign out"))
    expect(other.nth(before - 1).or_(confirm).first).to_be_hidden()
    here.button("Sign out all other sessions").click()
    if confirm.count():
        confirm.click()
    expect(other).to_have_count(0)
    for gone in (there, third):
        gone.page.reload()
        gone.sees("Sign in")


def test_a_name_is_changed(visit: Visit, account: Account) -> None:
    bob = account.join("Bob Berg", "marketer")
    at_bob = visit(bob)
    at_bob.account_settings(bob)
    name = at_bob.page.get_by_label(re.compile("^(Your n|N)ame$"))
    name.fill("Robert Berg")
    name.press("Enter")
    at_bob.hears(re.compile(r"\w"))
    expect(at_bob.page.get_by_role("banner").get_by_role("button", name="Robert Berg")).to_be_visible()
    assert account.member(bob.email)["name"] == "Robert Berg"


@pytest.mark.parametrize("page", ["invitation", "reset"])
def test_a_second_link_in_the_same_tab_starts_over(visit: Visit, account: Account, page: str) -> None:
    if page == "invitation":
        link, heading = account.invite("Bob Berg", "marketer")[1], f"Join {account.name}"
    else:
        link, heading = account.reset_link(account.admin), "Choose a new password"
    visitor = visit().open(f"/console/{page}#{'x' * 43}")
    if page == "invitation":
        visitor.sees("This invitation is no longer valid")
    else:
        visitor.field("New password").fill(NEW_PASSWORD)
        visitor.field("Repeat new password").fill(NEW_PASSWORD)
        visitor.button("Set new password").click()
        visitor.sees("This link is no longer valid")
    visitor.open(link).sees(heading)
    expect(visitor.page.locator("form")).to_be_visible()
    expect(visitor.page.locator("input[type=password]").first).to_have_value("")
    assert "#" not in visitor.page.url


@pytest.mark.parametrize("page", ["invitation", "reset"])
def test_a_page_without_its_token_asks_for_the_link(visit: Visit, account: Account, page: str) -> None:
    link = account.invite("Bob Berg", "marketer")[1] if page == "invitation" else account.reset_link(account.admin)
    visitor = visit().open(link)
    expect(visitor.page.locator("form")).to_be_visible()
    visitor.page.reload()
    expect(visitor.page.get_by_text("Open the link again, copied completely.")).to_be_visible()
    expect(visitor.page.get_by_role("heading", level=1)).not_to_contain_text("no longer valid")


def test_a_reset_without_mail_leads_to_the_link(visit: Visit, account: Account) -> None:
    account.join("Bob Berg", "marketer")
    at_ada = visit(account.admin).open("/console/users")
    at_ada.choose("Bob Berg", "Send password reset")
    dialog = at_ada.page.get_by_role("dialog")
    expect(dialog).to_contain_text("If mail is set up, ")
    dialog.get_by_role("button", name="Send password reset").click()
    dialog.get_by_role("button", name="Show the link").click()
    assert "/console/reset#" in at_ada.link_in(dialog)


@pytest.mark.parametrize("page", ["forgot", "sign-in"])
def test_text_that_is_no_e_mail_is_not_sent(visit: Visit, page: str) -> None:
    visitor = visit().open(f"/console/{page}")
    visitor.field("E-mail").fill("bob")
    visitor.field("E-mail").press("Enter")
    expect(visitor.field("E-mail")).to_have_attribute("aria-invalid", "true")
    expect(visitor.field("E-mail")).to_be_focused()
    assert [one.url for one in visitor.responses if one.request.method == "POST"] == []


def test_a_form_whose_session_ended_says_so(visit: Visit, account: Account) -> None:
    bob = account.join("Bob Berg", "marketer")
    at_bob = visit(bob).open("/console/account-settings")
    at_bob.sees("Account settings")
    account.ask("DELETE", f"/v1/users/{bob.id}/sessions")
    at_bob.field("Name").fill("Robert Berg")
    at_bob.button("Save name").click()
    at_bob.sees("Sign in")
    expect(at_bob.page.get_by_text("Your session ended. Sign in again.")).to_be_visible()
    at_bob.sign_in(bob)
    at_bob.sees("Account settings")


@pytest.mark.parametrize(
    "query", ["", "?rd=/console/users?done=ended", "?done=constructor", "?done=ended2", "?x=1&done=ended"]
)
def test_only_a_first_done_has_a_text(visit: Visit, query: str) -> None:
    visitor = visit().open(f"/console/sign-in{query}")
    visitor.sees("Sign in")
    expect(visitor.page.locator(".notice")).to_have_count(0)


def test_all_wrong_fields_are_named_at_once(visit: Visit, account: Account) -> None:
    at_ada = visit(account.admin).open("/console/account-settings")
    at_ada.button("Change password").click()
    dialog = at_ada.dialog("Change password")
    dialog.get_by_role("button", name="Submit").click()
    for text in ("Enter your old password.", "Enter a new password.", "Repeat the password."):
        expect(dialog.get_by_text(text, exact=True)).to_be_visible()
    dialog.get_by_label("New password", exact=True).fill("short")
    dialog.get_by_label("Repeat new password").fill("other")
    dialog.get_by_role("button", name="Submit").click()
    expect(dialog.locator("[aria-invalid=true]")).to_have_count(3)
    expect(dialog.get_by_label("Old password")).to_be_focused()


def test_the_words_of_the_api_name_the_field_as_its_label(visit: Visit, account: Account) -> None:
    at_ada = visit(account.admin).open("/console/users")
    dialog = at_ada.invite("Bob Berg", "bob@", "Marketer")
    expect(dialog.get_by_text("E-mail is not an e-mail address")).to_be_visible()


def test_the_own_session_is_active_now(visit: Visit, account: Account) -> None:
    page = visit(account.admin).open("/console/account-settings").page
    own = page.get_by_role("table", name="Sessions").get_by_role("row").filter(has_text="This session")
    expect(own.locator("[data-label='Last active']")).to_have_text("now")


def test_invite_again_looks_like_the_removal_it_is(visit: Visit, account: Account) -> None:
    account.join("Bob Berg", "marketer")
    at_ada = visit(account.admin).open("/console/users")
    at_ada.page.get_by_role("button", name="Actions for Bob Berg", exact=True).click()
    colour = "(one) => getComputedStyle(one).color"
    again, remove = at_ada.menu_item("Invite again"), at_ada.menu_item("Remove")
    assert again.evaluate(colour) == remove.evaluate(colour) != at_ada.menu_item("Change role").evaluate(colour)


def test_too_many_wrong_passwords_say_when_to_try_again(visit: Visit, account: Account) -> None:
    bob = account.join("Bob Berg", "marketer")
    at_bob = visit().open("/console/sign-in")
    at_bob.field("E-mail").fill(bob.email)
    refused = at_bob.page.get_by_text(re.compile(r"^Too many attempts\. Try again in \d+ "))
    for _ in range(15):
        with at_bob.page.expect_response("**/v1/session") as answer:
            at_bob.field("Password").fill("none-of-these-words-4")
            at_bob.button("Sign in").click()
        if answer.value.status == 429:
            break
    expect(refused).to_be_visible()
    expect(at_bob.field("E-mail")).to_have_value(bob.email)
