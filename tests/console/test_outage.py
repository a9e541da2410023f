"""The store out, a server that does not respond or responds with nonsense, and a browser without JavaScript."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.console.pages import PAGES, SIGNED_IN
from tests.console.site import Account, Sidecars
from tests.console.visitor import Visitor, expect
from tests.live.support import PASSWORD

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
BANNER = "The sidecar cannot reach its store. Nothing was changed."


def banner(visitor: Visitor, text: "str | re.Pattern[str]" = BANNER) -> Any:
    return visitor.page.get_by_role("alert").filter(has_text=text)


def test_nothing_typed_is_lost_while_the_store_is_out(visit: Visit, account: Account, sidecars: Sidecars) -> None:
    visitor = visit(account.admin).open("/console/users")
    visitor.button("Invite user").click()
    dialog = visitor.dialog("Invite user")
    bob = account.email_of("Bob")
    dialog.get_by_label("E-mail").fill(bob)
    dialog.get_by_label("Name", exact=True).fill("Bob Berg")
    visitor.pick(dialog, "Marketer")
    with visitor.allowing("503 for", "504 for"):
        with sidecars.redis.paused():
            dialog.get_by_role("button", name="Send invitation").click()
            expect(banner(visitor).first).to_be_visible()
            expect(dialog.get_by_label("E-mail")).to_have_value(bob)
            expect(dialog.get_by_label("Name", exact=True)).to_have_value("Bob Berg")
            expect(dialog.get_by_role("radio", name=re.compile("^Marketer"))).to_be_checked()
        account.site.process.wait_ready()
        dialog.get_by_role("button", name="Send invitation").click()
        visitor.link_in(dialog)
        expect(banner(visitor)).to_have_count(0)
    assert account.member(bob)["name"] == "Bob Berg"


@pytest.mark.parametrize("page", SIGNED_IN)
def test_a_page_recovers_by_itself_after_an_outage(
    visit: Visit, account: Account, sidecars: Sidecars, page: str
) -> None:
    visitor = visit(account.admin)
    with visitor.allowing("503 for", "504 for"):
        with sidecars.redis.paused():
            visitor.open(f"/console/{page}")
            expect(banner(visitor).first).to_be_visible()
        account.site.process.wait_ready()
        expect(banner(visitor)).to_have_count(0)
        expect(visitor.menu(account.admin)).to_be_visible()


def test_a_sign_in_during_an_outage_keeps_what_was_typed(visit: Visit, account: Account, sidecars: Sidecars) -> None:
    visitor = visit().open("/console/sign-in")
    with visitor.allowing("503 for", "504 for"):
        with sidecars.redis.paused():
            visitor.sign_in(account.admin, lands=False)
            expect(banner(visitor).first).to_be_visible()
            expect(visitor.field("E-mail")).to_have_value(account.admin.email)
            expect(visitor.field("Password")).to_have_value(PASSWORD)
        account.site.process.wait_ready()
        visitor.button("Sign in").click()
        visitor.sees("Users")


NONSENSE = {
    "html": {"status": 200, "content_type": "text/html", "body": "<h1>Welcome to the captive portal</h1>"},
    "empty": {"status": 200, "body": ""},
    "half": {"status": 200, "content_type": "application/json", "body": '{"users": ['},
    "gateway": {"status": 502, "content_type": "text/html", "body": "<h1>502 Bad Gateway</h1>"},
    "null": {"status": 200, "content_type": "application/json", "body": "null"},
    "list": {"status": 200, "content_type": "application/json", "body": "[]"},
}


@pytest.mark.parametrize("kind", [*NONSENSE, "nothing"])
@pytest.mark.parametrize("page", SIGNED_IN)
def test_nonsense_gives_the_banner_and_a_way_to_try_again(visit: Visit, account: Account, page: str, kind: str) -> None:
    visitor = visit(account.admin)

    def answer(route: Any) -> None:
        route.abort() if kind == "nothing" else route.fulfill(**NONSENSE[kind])

    with visitor.allowing("502 for", "ERR_FAILED"):
        visitor.context.route("**/v1/**", answer)
        visitor.open(f"/console/{page}")
        expect(banner(visitor, re.compile("sidecar")).first).to_be_visible()
        visitor.context.unroute("**/v1/**")
        visitor.button("Try again").click()
        expect(visitor.menu(account.admin)).to_be_visible()


def test_a_change_without_a_response_keeps_the_form(visit: Visit, account: Account) -> None:
    visitor = visit(account.admin).open("/console/account-settings")
    visitor.button("Change password").click()
    popup = visitor.dialog("Change password")
    long = "another-sentence-of-words"  # a short one would not be sent
    for label, text in (("Old password", PASSWORD), ("New password", long), ("Repeat new password", long)):
        popup.get_by_label(label, exact=True).fill(text)
    with visitor.allowing("ERR_FAILED"):
        visitor.context.route("**/v1/me/password", lambda route: route.abort())
        popup.get_by_role("button", name="Submit").click()
        expect(banner(visitor, re.compile("sidecar")).first).to_be_visible()
        expect(popup.get_by_label("Old password")).to_have_value(PASSWORD)
        expect(popup.get_by_role("button", name="Submit")).to_be_enabled()


@pytest.mark.parametrize("page", [*PAGES, ""])
def test_without_javascript_one_sentence_says_so(visit: Visit, page: str) -> None:
    visitor = visit(java_script_enabled=False).open(f"/console/{page}")
    said = visitor.page.locator("noscript").all_inner_texts()
    assert len(said) == 1
    assert "JavaScript" in said[0]
    expect(visitor.page.locator("noscript")).to_be_visible()
    expect(visitor.page.get_by_role("textbox")).to_have_count(0)
