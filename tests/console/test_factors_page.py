"""Second factors in Account settings: add, use, rename, remove, recover; passkeys by the virtual authenticator."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.console.phone import Phone, add_authenticator, add_phone
from tests.console.site import Account, Person, Sidecars, Site
from tests.console.visitor import Locator, Visitor, expect
from tests.ports import free_port

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
CODE = re.compile(r"^[a-z2-9]{4}(?:-[a-z2-9]{4}){3}$")


@pytest.fixture
def bob(account: Account) -> Person:
    return account.join("Bob Berg", "marketer")


def settings(visitor: Visitor) -> None:
    visitor.open("/console/account-settings")
    visitor.rests()


def factors(visitor: Visitor) -> Locator:
    return visitor.page.get_by_role("table", name="Second factors").get_by_role("row")


def codes_in(dialog: Locator) -> list[str]:
    """Return the recovery codes that the dialog shows."""
    shown = dialog.get_by_role("list", name="Recovery codes").get_by_role("listitem")
    expect(shown).to_have_count(10)
    found = [text.strip() for text in shown.all_inner_texts()]
    assert all(CODE.match(code) for code in found), found
    return found


def add_app(visitor: Visitor, name: str = "") -> Phone:
    """Add an authenticator app by the key that the dialog shows, as typed into a phone."""
    visitor.button("Add authenticator app").click()
    dialog = visitor.dialog("Add authenticator app")
    image = dialog.get_by_role("img", name="QR code of the key")
    expect(image).to_be_visible()
    assert image.evaluate("(one) => one.decode().then(() => one.naturalWidth)") > 100, "the QR code is drawn"
    phone = Phone(dialog.locator("#key").inner_text().replace(" ", ""))
    dialog.get_by_label("Code").fill("000000")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_text("This code is wrong or too old.")).to_be_visible()
    dialog.get_by_label("Code").fill(phone.code())
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_role("button", name="Add", exact=True).click()
    return phone


def add_passkey(visitor: Visitor, name: str = "") -> None:
    visitor.button("Add passkey").click()
    dialog = visitor.dialog("Add passkey")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_role("button", name="Create passkey").click()


def test_an_app_is_added_used_renamed_and_removed(visit: Visit, bob: Person, tmp_path: Path) -> None:
    at_bob = visit(bob)
    at_bob.context.grant_permissions(["clipboard-read", "clipboard-write"])
    settings(at_bob)
    expect(at_bob.page.get_by_text("You have no second factor.")).to_be_visible()
    phone = add_app(at_bob, "Old phone")
    dialog = at_bob.dialog("Recovery codes")
    codes = codes_in(dialog)
    dialog.get_by_role("button", name="Copy").click()
    at_bob.hears("The codes have been copied.")
    assert at_bob.page.evaluate("navigator.clipboard.readText()").split() == codes
    with at_bob.page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    download.value.save_as(tmp_path / "codes.txt")
    assert set(codes) <= set((tmp_path / "codes.txt").read_text().split())
    dialog.get_by_role("button", name="Done").click()
    expect(factors(at_bob)).to_have_count(2)
    expect(factors(at_bob).nth(1)).to_contain_text("Counts from")
    expect(at_bob.page.get_by_text("10 recovery codes left")).to_be_visible()

    at_bob.choose("Old phone", "Rename")
    rename = at_bob.dialog("Rename Old phone")
    rename.get_by_label("Name").fill("New phone")
    rename.get_by_role("button", name="Rename").click()
    at_bob.hears("Old phone is now New phone.")
    at_bob.sign_out(bob)
    at_bob.sign_in(bob, lands=False)
    at_bob.field("Code").fill(phone.code())
    at_bob.button("Continue").click()
    at_bob.sees("Account settings")
    at_bob.choose("New phone", "Remove")
    at_bob.page.get_by_role("dialog").get_by_role("button", name="Remove New phone").click()
    at_bob.hears("New phone was removed.")
    expect(at_bob.page.get_by_text("You have no second factor.")).to_be_visible()
    visit(bob).sees("Account settings")


def test_a_passkey_is_added_and_signs_in_alone(visit: Visit, bob: Person) -> None:
    at_bob = visit(bob)
    session, device = add_authenticator(at_bob)
    settings(at_bob)
    add_passkey(at_bob, "Laptop")
    codes_in(at_bob.dialog("Recovery codes"))
    at_bob.button("Done").click()
    expect(factors(at_bob).nth(1)).to_contain_text("Laptop")
    held = session.send("WebAuthn.getCredentials", {"authenticatorId": device})["credentials"]
    assert [one["isResidentCredential"] for one in held] == [True]

    # By the passkey alone.
    at_bob.sign_out(bob)
    at_bob.button("Use a passkey").click()
    at_bob.sees("Account settings")

    # As the second step after the password.
    at_bob.sign_out(bob)
    at_bob.sign_in(bob, lands=False)
    at_bob.sees("Second step")
    at_bob.button("Use your passkey").click()
    at_bob.sees("Account settings")

    # The same device has one already.
    add_passkey(at_bob)
    expect(at_bob.page.get_by_role("alert").filter(has_text="has a passkey of yours already")).to_be_visible()
    at_bob.page.keyboard.press("Escape")
    at_bob.choose("Laptop", "Remove")
    at_bob.page.get_by_role("dialog").get_by_role("button", name="Remove Laptop").click()
    at_bob.hears("Laptop was removed.")
    at_bob.sign_out(bob)
    at_bob.button("Use a passkey").click()
    expect(at_bob.page.get_by_text("It may have been removed from your user.")).to_be_visible()


def test_a_refused_passkey_is_said_in_words(visit: Visit, bob: Person) -> None:
    at_bob = visit(bob)
    add_authenticator(at_bob, verifies=False)
    settings(at_bob)
    add_passkey(at_bob)
    expect(at_bob.page.get_by_role("alert").filter(has_text="No passkey was used")).to_be_visible()
    at_bob.page.keyboard.press("Escape")
    expect(at_bob.page.get_by_text("You have no second factor.")).to_be_visible()


def test_an_old_sign_in_shows_factors_after_a_proof(visit: Visit, site: Site, bob: Person) -> None:
    at_bob = visit(bob)
    phone = add_phone(site, bob)
    settings(at_bob)
    assert at_bob.page.get_by_role("dialog").count() == 0, "the page itself asks for nothing"
    at_bob.button("Show second factors").click()
    proof = at_bob.dialog("Confirm that it is you")
    expect(proof).to_contain_text("a proof of your sign-in from the last 15 minutes")
    proof.get_by_label("Code").fill(phone.code())
    proof.get_by_role("button", name="Continue").click()
    expect(factors(at_bob)).to_have_count(2)
    at_bob.button("New recovery codes").click()
    at_bob.page.get_by_role("dialog").get_by_role("button", name="Make new codes").click()
    fresh = codes_in(at_bob.dialog("Recovery codes"))
    assert set(fresh).isdisjoint(phone.recovery_codes)
    at_bob.button("Done").click()

    at_home = visit()
    at_home.sign_in(bob, lands=False)
    at_home.button("Use a recovery code instead").click()
    at_home.field("Recovery code").fill(phone.recovery_codes[0])
    at_home.button("Continue").click()
    expect(at_home.page.get_by_text("This recovery code is wrong or used already.")).to_be_visible()
    at_home.field("Recovery code").fill(fresh[0])
    at_home.button("Continue").click()
    at_home.sees("Account settings")


def test_a_reader_who_was_led_here_goes_on(visit: Visit, needs_site: Site, account: Account) -> None:
    """After signing in: the offer, the factor, its codes, and on to the page that was opened first."""
    carl = account.join("Carl Clerk", "accountant")
    at_carl = visit(origin=needs_site.origin).open("/console/sign-in?rd=/console/account-settings?from=mail")
    at_carl.sign_in(carl, lands=False)
    at_carl.page.get_by_role("link", name="Add a second factor").click()
    expect(at_carl.button("Add authenticator app")).to_be_focused()
    add_app(at_carl)
    at_carl.page.get_by_role("link", name="Go on to the page that you opened").click()
    expect(at_carl.page).to_have_url(re.compile(r"/console/account-settings\?from=mail$"))


def test_R38_an_ip_address_has_no_passkeys_and_says_why(visit: Visit, sidecars: Sidecars, bob: Person) -> None:
    port = free_port()
    site = sidecars.start(f"http://127.0.0.1:{port}", port=port)
    at_bob = visit(origin=site.origin).open("/console/sign-in")
    expect(at_bob.button("Sign in")).to_be_visible()
    expect(at_bob.button("Use a passkey")).to_have_count(0)
    at_bob.sign_in(bob)
    settings(at_bob)
    expect(at_bob.page.get_by_text("Passkeys are off: they need a host name")).to_be_visible()
    expect(at_bob.button("Add authenticator app")).to_be_visible()
    expect(at_bob.button("Add passkey")).to_have_count(0)
