"""Needs on the pages: a dialog asks for a proof, the call is repeated, and menus show what is locked."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.console.phone import add_phone
from tests.console.site import Account, Person, Site
from tests.console.visitor import Visitor, expect

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
PROOF = "Confirm that it is you"


@pytest.fixture
def bob(account: Account) -> Person:
    """A second administrator: the first one's token arranges the account."""
    return account.join("Bob Berg", "account-administrator")


def entered(visit: Visit, site: Site, person: Person) -> Visitor:
    """Sign in where the role needs a second factor, and put the offer of one off."""
    visitor = visit(origin=site.origin)
    visitor.sign_in(person, lands=False)
    visitor.button("Later").click()
    expect(visitor.menu(person)).to_be_visible()
    visitor.rests()
    return visitor


def refuse_once(visitor: Visitor, pattern: str, method: str) -> list[Any]:
    """Answer the first such call as a need does. Returns the bodies of all of them."""
    sent: list[Any] = []

    def answer(route: Any) -> None:
        if route.request.method != method:
            route.continue_()
            return
        sent.append(route.request.post_data_json)
        problem = {"type": "about:blank", "title": "", "status": 401, "code": "step_up_required", "detail": "prove it"}
        body = json.dumps({**problem, "max_age": 900, "unmet": ["recent-sign-in"]})
        if len(sent) == 1:
            route.fulfill(status=401, content_type="application/problem+json", body=body)
        else:
            route.continue_()

    visitor.context.route(pattern, answer)
    return sent


def test_a_call_that_needs_a_proof_is_repeated_after_it(visit: Visit, account: Account, bob: Person) -> None:
    """Nothing that was typed is lost: the dialog opens over the form, and the same call is sent again."""
    at_bob = visit(bob).open("/console/users")
    sent = refuse_once(at_bob, "**/v1/users", "POST")
    email = account.email_of("Carl")
    dialog = at_bob.invite("Carl Clerk", email, "Accountant")
    proof = at_bob.dialog(PROOF)
    expect(proof).to_contain_text("This needs: Recent sign in.")
    expect(proof.get_by_label("Password", exact=True)).to_be_focused()
    proof.get_by_label("Password", exact=True).fill("wrong one, surely")
    proof.get_by_role("button", name="Continue").click()
    expect(proof.get_by_text("The password is wrong.")).to_be_visible()
    proof.get_by_label("Password", exact=True).fill(bob.password)
    proof.get_by_role("button", name="Continue").click()
    expect(proof).to_have_count(0)
    assert at_bob.link_in(dialog)
    assert sent[0] == sent[1] == {"email": email, "name": "Carl Clerk", "role": "accountant"}


def test_a_declined_proof_leaves_the_form_as_it_was(visit: Visit, account: Account, bob: Person) -> None:
    at_bob = visit(bob).open("/console/users")
    sent = refuse_once(at_bob, "**/v1/users", "POST")
    email = account.email_of("Carl")
    dialog = at_bob.invite("Carl Clerk", email, "Accountant")
    expect(at_bob.dialog(PROOF)).to_be_visible()
    at_bob.page.keyboard.press("Escape")
    expect(at_bob.dialog(PROOF)).to_have_count(0)
    expect(dialog).to_contain_text("This needs a proof that it is you.")
    expect(dialog.get_by_label("E-mail")).to_have_value(email)
    dialog.get_by_role("button", name="Send invitation").click()
    at_bob.link_in(dialog)
    assert len(sent) == 2


def test_a_locked_page_opens_after_a_code(visit: Visit, needs_site: Site, account: Account, bob: Person) -> None:
    """The menu shows the lock; the page asks for the factor by itself, and the same session goes on."""
    at_bob = entered(visit, needs_site, bob)
    phone = add_phone(needs_site, bob)
    at_bob.open("/console/users")
    locked = at_bob.page.get_by_role("navigation").get_by_role("link", name="Audit (needs Second factor)", exact=True)
    locked.click()
    proof = at_bob.dialog(PROOF)
    expect(proof).to_contain_text("This needs: Second factor.")
    proof.get_by_label("Code").fill(phone.code())
    proof.get_by_role("button", name="Continue").click()
    at_bob.rests()
    at_bob.sees("Audit")
    expect(at_bob.page.get_by_role("main").get_by_role("listitem").first).to_be_visible()
    expect(at_bob.page.get_by_role("navigation").get_by_role("link", name="Audit", exact=True)).to_be_visible()
    at_bob.go("Users")
    expect(at_bob.button("Unlock")).to_have_count(0)


def test_users_are_managed_after_unlocking(visit: Visit, needs_site: Site, account: Account, bob: Person) -> None:
    """The line with its button goes, and an act of a row menu asks for nothing more."""
    account.join("Carl Clerk", "accountant")
    at_bob = entered(visit, needs_site, bob)
    phone = add_phone(needs_site, bob)
    at_bob.open("/console/users")
    expect(at_bob.page.get_by_text("Managing users needs: Second factor.")).to_be_visible()
    at_bob.button("Unlock").click()
    proof = at_bob.dialog(PROOF)
    proof.get_by_label("Code").fill(phone.code())
    proof.get_by_role("button", name="Continue").click()
    expect(at_bob.button("Unlock")).to_have_count(0)
    at_bob.choose("Carl Clerk", "Suspend")
    at_bob.page.get_by_role("dialog").get_by_role("button", name="Suspend Carl Clerk").click()
    expect(at_bob.row("Carl Clerk")).to_contain_text("Suspended")


def test_inviting_asks_for_the_proof_first(visit: Visit, needs_site: Site, account: Account, bob: Person) -> None:
    """The roles that may be assigned depend on it (R11)."""
    at_bob = entered(visit, needs_site, bob)
    phone = add_phone(needs_site, bob)
    at_bob.open("/console/users")
    at_bob.button("Invite user").click()
    proof = at_bob.dialog(PROOF)
    proof.get_by_label("Code").fill(phone.code())
    proof.get_by_role("button", name="Continue").click()
    expect(at_bob.dialog("Invite user").get_by_role("radio", name=re.compile("^Accountant"))).to_be_visible()


def test_without_a_factor_the_dialog_says_where_to_add_one(visit: Visit, needs_site: Site, bob: Person) -> None:
    at_bob = entered(visit, needs_site, bob)
    at_bob.open("/console/audit")
    dialog = at_bob.dialog("A second factor is needed")
    expect(dialog).to_contain_text("an authenticator app or a passkey")
    expect(dialog.get_by_role("link")).to_have_attribute("href", "/console/account-settings?add=factor")
    dialog.get_by_role("button", name="Cancel").click()
    expect(at_bob.page.get_by_role("alert").filter(has_text="This needs a proof that it is you.")).to_be_visible()


def test_a_page_that_signing_in_cannot_open_says_why(visit: Visit, needs_site: Site, bob: Person) -> None:
    at_bob = entered(visit, needs_site, bob)
    at_bob.page.get_by_role("navigation").get_by_role("link", name="Policy (needs Office network)", exact=True).click()
    at_bob.sees("“Policy” is closed now")
    expect(at_bob.page.get_by_text("opens this page only with: Office network.")).to_be_visible()


@pytest.mark.parametrize("page", ["/console/step-up", "/console/sign-in"])
def test_a_gateways_redirect_leads_through_a_proof_and_back(
    visit: Visit, needs_site: Site, bob: Person, page: str
) -> None:
    """A signed-in browser is not sent to the sign-in form, and not in circles."""
    at_bob = entered(visit, needs_site, bob)
    phone = add_phone(needs_site, bob)
    at_bob.open(f"{page}?step_up=second-factor&rd=/console/account-settings?from=dashboard")
    at_bob.sees(PROOF)
    expect(at_bob.page.get_by_text(bob.email)).to_be_visible()
    at_bob.field("Code").fill(phone.code())
    at_bob.button("Continue").click()
    expect(at_bob.page).to_have_url(re.compile(r"/console/account-settings\?from=dashboard$"))


def test_a_proof_that_does_not_suffice_does_not_lead_on(visit: Visit, needs_site: Site, bob: Person) -> None:
    at_bob = entered(visit, needs_site, bob)
    at_bob.open("/console/step-up?step_up=second-factor&rd=/console/users")
    expect(at_bob.page.get_by_text("This needs a second factor that you do not have yet")).to_be_visible()
    at_bob.button("Try again").click()
    expect(at_bob.page.get_by_role("link", name="Go on all the same")).to_be_visible()
    assert "/console/step-up" in at_bob.page.url


def test_step_up_without_a_session_leads_to_sign_in(visit: Visit, site: Site, bob: Person) -> None:
    at_bob = visit().open("/console/step-up?step_up=second-factor&rd=/console/account-settings?a=1&b=2")
    at_bob.sees("Sign in")
    at_bob.sign_in(bob, lands=False)
    expect(at_bob.page).to_have_url(re.compile(r"/console/account-settings\?a=1&b=2$"))


def test_factors_of_others_are_marked_confirmed_and_reset(visit: Visit, account: Account, bob: Person) -> None:
    carl = account.join("Carl Clerk", "accountant")
    at_bob = visit(bob).open("/console/users")
    expect(at_bob.row("Carl Clerk")).to_contain_text("No second factor")
    at_bob.page.get_by_role("button", name="Actions for Carl Clerk", exact=True).click()
    expect(at_bob.menu_item("Change role")).to_be_visible()
    expect(at_bob.menu_item("Reset second factors")).to_have_count(0)
    at_bob.page.keyboard.press("Escape")

    add_phone(account.site, carl)
    at_bob.page.reload()
    expect(at_bob.row("Carl Clerk")).not_to_contain_text("No second factor")
    at_bob.choose("Carl Clerk", "Confirm factor")
    at_bob.page.get_by_role("dialog").get_by_role("button", name="Confirm factor of Carl Clerk").click()
    at_bob.hears("Carl Clerk's second factor counts now.")
    at_bob.choose("Carl Clerk", "Reset second factors")
    at_bob.page.get_by_role("dialog").get_by_role("button", name="Reset second factors of Carl Clerk").click()
    at_bob.hears("Carl Clerk's second factors were removed.")
    expect(at_bob.row("Carl Clerk")).to_contain_text("No second factor")
    at_carl = visit()
    at_carl.sign_in(carl)
