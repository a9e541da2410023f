"""The second step at sign-in: code, recovery code, kept entries, and the offer to add a factor."""

import re
from collections.abc import Callable

import pytest

from tests.console.phone import add_phone
from tests.console.site import Account, Person, Sidecars, Site
from tests.console.visitor import Visitor, expect

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]


@pytest.fixture
def bob(account: Account) -> Person:
    return account.join("Bob Berg", "marketer")


def test_a_code_is_asked_for_after_the_password(visit: Visit, site: Site, bob: Person) -> None:
    phone, at_bob = add_phone(site, bob), visit()
    at_bob.sign_in(bob, lands=False)
    at_bob.sees("Second step")
    expect(at_bob.page.get_by_text(f"Signing in as {bob.email}")).to_be_visible()
    expect(at_bob.field("Code")).to_be_focused()
    expect(at_bob.field("Code")).to_have_attribute("autocomplete", "one-time-code")
    assert at_bob.context.cookies() == [], "no session yet"

    at_bob.button("Continue").click()
    expect(at_bob.page.get_by_text("Enter the code.")).to_be_visible()
    at_bob.field("Code").fill("000000")
    at_bob.button("Continue").click()
    expect(at_bob.page.get_by_text("This code is wrong, too old or used already.")).to_be_visible()
    expect(at_bob.field("Code")).to_be_focused()
    at_bob.field("Code").fill(phone.code())
    at_bob.button("Continue").click()
    at_bob.sees("Account settings")


def test_a_sixth_attempt_has_a_challenge_of_its_own(visit: Visit, site: Site, bob: Person) -> None:
    """A challenge takes five attempts (R36). The page asks for another one by itself, and nothing is typed again."""
    phone, at_bob = add_phone(site, bob), visit()
    at_bob.sign_in(bob, lands=False)
    for number in range(6):
        at_bob.field("Code").fill(f"{number:06}")
        with at_bob.page.expect_response("**/v1/session/factor") as sent:
            at_bob.button("Continue").click()
        assert sent.value.status == 401
    at_bob.field("Code").fill(phone.code())
    at_bob.button("Continue").click()
    at_bob.sees("Account settings")


def test_a_recovery_code_works_once(visit: Visit, site: Site, bob: Person) -> None:
    code = add_phone(site, bob).recovery_codes[0]
    for turn in range(2):
        at_bob = visit()
        at_bob.sign_in(bob, lands=False)
        at_bob.field("Code").fill("12")
        at_bob.button("Use a recovery code instead").click()
        expect(at_bob.field("Recovery code")).to_be_focused()
        at_bob.field("Recovery code").fill(code.upper())
        at_bob.button("Use your authenticator app instead").click()
        expect(at_bob.field("Code")).to_have_value("12")
        at_bob.button("Use a recovery code instead").click()
        expect(at_bob.field("Recovery code")).to_have_value(code.upper())
        at_bob.button("Continue").click()
        if turn == 0:
            at_bob.sees("Account settings")
    expect(at_bob.page.get_by_text("This recovery code is wrong or used already.")).to_be_visible()


def test_back_keeps_what_was_typed(visit: Visit, site: Site, bob: Person) -> None:
    add_phone(site, bob)
    at_bob = visit()
    at_bob.sign_in(bob, lands=False)
    at_bob.sees("Second step")
    at_bob.button("Back").click()
    at_bob.sees("Sign in")
    expect(at_bob.field("E-mail")).to_have_value(bob.email)
    expect(at_bob.field("Password")).to_have_value(bob.password)


def test_the_way_back_leads_through_the_second_step(visit: Visit, site: Site, bob: Person) -> None:
    phone, at_bob = add_phone(site, bob), visit()
    at_bob.open("/console/account-settings?from=mail").sees("Sign in")
    at_bob.sign_in(bob, lands=False)
    at_bob.field("Code").fill(phone.code())
    at_bob.button("Continue").click()
    expect(at_bob.page).to_have_url(re.compile(r"/console/account-settings\?from=mail$"))


def test_the_offer_of_a_factor_comes_once_after_signing_in(
    visit: Visit, sidecars: Sidecars, needs_site: Site, account: Account
) -> None:
    """Only a role that needs a second factor is led to add one, and may do it later."""
    bob = account.join("Bob Berg", "accountant")
    at_bob = visit(origin=needs_site.origin).open("/console/sign-in?rd=/console/account-settings?from=mail")
    at_bob.sign_in(bob, lands=False)
    at_bob.sees("Add a second factor")
    at_bob.button("Later").click()
    expect(at_bob.page).to_have_url(re.compile(r"/console/account-settings\?from=mail$"))
    at_bob.page.reload()
    at_bob.sees("Account settings")

    marketer = account.join("Mia Muster", "marketer")
    at_mia = visit(marketer, origin=needs_site.origin)
    at_mia.sees("Account settings")
