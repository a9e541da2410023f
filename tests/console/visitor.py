"""A browser with its own cookies, helpers that read like the pages, and every fault that the browser reports."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.console.site import Person

if not os.environ.get("SIDECAR_TEST_CONSOLE_REQUIRED"):
    pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install -e '.[browser]'")

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Response, expect

SECONDS = 15
"""Patience with one step. The machine of a test run may be busy."""
WIDE, NARROW = 1280, 320
LINK = re.compile(r"https?://[^\s\"'<>]+/console/(?:invitation|reset)#[^\s\"'<>]+")
REPORT = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));"""

expect.set_options(timeout=SECONDS * 1000)


class Visitor:
    """One browser, as one person uses it: ``page`` is the tab in front."""

    def __init__(self, browser: Browser, origin: str, **options: Any) -> None:
        width = options.pop("width", WIDE)
        viewport = {"width": width, "height": options.pop("height", 900)}
        self.origin = origin
        self.faults: list[str] = []
        self.responses: list[Response] = []
        self._allowed: list[re.Pattern[str]] = []
        self.context: BrowserContext = browser.new_context(viewport=viewport, locale="en-GB", **options)
        self.context.set_default_timeout(SECONDS * 1000)
        self.context.add_init_script(REPORT)
        self.context.on("page", self._watch)
        self.page: Page = self.context.new_page()

    # Reports of the browser

    def _watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self._fault(f"exception on {page.url}: {error}"))
        page.on("dialog", lambda dialog: (self._fault(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("console", self._hear)
        page.on("response", self._see)
        page.on(
            "request",
            lambda request: (
                request.url.startswith((self.origin + "/", "data:", "blob:", "about:"))
                or self._fault(f"request to another origin: {request.url}")
            ),
        )

    def _hear(self, message: ConsoleMessage) -> None:
        # The status of a response is judged by _see.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self._fault(f"console {message.type}: {message.text}")

    def _see(self, response: Response) -> None:
        self.responses.append(response)
        path = response.url.removeprefix(self.origin)
        missing = response.status == 404 and path.startswith("/console/")
        if response.status >= 500 or missing:
            self._fault(f"{response.status} for {response.request.method} {path}")

    def _fault(self, text: str) -> None:
        if not any(pattern.search(text) for pattern in self._allowed):
            self.faults.append(text)

    @contextmanager
    def allowing(self, *patterns: str) -> Iterator[None]:
        """Expect faults that match a pattern inside the block."""
        self._allowed += map(re.compile, patterns)
        yield
        self.page.wait_for_timeout(50)  # reports arrive after the action that caused them
        del self._allowed[len(self._allowed) - len(patterns) :]

    # Steps of the person

    def open(self, path: str) -> "Visitor":
        """Open a page, by its path or its whole address."""
        self.page.goto(path if "://" in path else self.origin + path)
        return self

    def sign_in(self, person: Person, *, lands: bool = True) -> "Visitor":
        """Sign in at the page in front, or at the sign-in page. ``lands``: wait until that page is left."""
        if "/console/sign-in" not in self.page.url:
            self.open("/console/sign-in")
        self.field("E-mail").fill(person.email)
        self.field("Password").fill(person.password)
        self.button("Sign in").click()
        return self._landed() if lands else self

    def enter(self, person: Person) -> "Visitor":
        """Sign in past the sign-in page, with the browser's cookies, and open the first page.

        Repeats the call while the store is slower than its time-out, as on a busy machine.
        """
        sent = {"username": person.email, "password": person.password}
        for _ in range(40):
            answer = self.context.request.post(
                f"{self.origin}/v1/session", data=sent, headers={"Origin": self.origin}, fail_on_status_code=False
            )
            if answer.status != 503:
                break
            self.page.wait_for_timeout(250)
        if answer.status != 204:  # a second step, or an account to choose
            return self.sign_in(person)
        self.open("/console/")
        return self._landed()

    def _landed(self) -> "Visitor":
        expect(self.page).not_to_have_url(re.compile(r"/console/(sign-in.*)?$"))  # /console/ leads on
        self.page.wait_for_load_state("load")
        return self

    def go(self, name: str) -> None:
        """Follow a link of the navigation to the page of that name."""
        self.page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
        self.sees(name)

    def account_settings(self, person: Person) -> None:
        """Open the menu under the own name, top right, and choose "Account settings"."""
        self.menu(person).click()
        self.menu_item("Account settings").click()
        self.sees("Account settings")

    def sign_out(self, person: Person) -> None:
        """Choose "Sign out" in the menu under the own name."""
        self.menu(person).click()
        self.menu_item("Sign out").click()
        self.sees("Sign in")

    def change_password(self, old: str, new: str, repeated: str | None = None) -> Locator:
        """Fill the dialog "Change password" of the page and submit it. Returns the dialog."""
        self.button("Change password").click()
        dialog = self.dialog("Change password")
        dialog.get_by_label("Old password").fill(old)
        dialog.get_by_label("New password", exact=True).fill(new)
        dialog.get_by_label("Repeat new password").fill(new if repeated is None else repeated)
        dialog.get_by_role("button", name="Submit").click()
        return dialog

    def join(self, password: str) -> None:
        """Fill the form of the invitation's page and send it."""
        self.field("Password").fill(password)
        self.field("Repeat password").fill(password)
        self.button("Join").click()

    def invite(self, name: str, email: str, role: str) -> Locator:
        """Fill the dialog "Invite user" and send it. Returns the dialog, with the result in it."""
        self.button("Invite user").click()
        dialog = self.dialog("Invite user")
        dialog.get_by_label("E-mail").fill(email)
        dialog.get_by_label("Name", exact=True).fill(name)
        self.pick(dialog, role)
        dialog.get_by_role("button", name="Send invitation").click()
        return dialog

    def pick(self, where: "Locator | Page", role: str) -> None:
        """Choose a role of the radio group."""
        where.get_by_role("radio", name=re.compile(f"^{re.escape(role)}")).check()

    def choose(self, name: str, item: str) -> None:
        """Open the row menu of that person and choose an item."""
        self.page.get_by_role("button", name=f"Actions for {name}", exact=True).click()
        self.menu_item(item).click()

    def menu_item(self, item: str) -> Locator:
        """Return an item of the open menu."""
        return self.page.get_by_role("menuitem", name=item, exact=True)

    # Content of the page

    def sees(self, heading: str) -> None:
        expect(self.page.get_by_role("heading", level=1, name=heading, exact=True)).to_be_visible()

    def rests(self) -> None:
        """Wait until the page has drawn its data."""
        expect(self.page.get_by_role("heading", level=1)).to_be_visible()
        expect(self.page.locator("main[aria-busy=true]")).to_have_count(0)

    def hears(self, text: "str | re.Pattern[str]") -> None:
        """Expect this text in a ``role="status"``."""
        expect(self.page.get_by_role("status").filter(has_text=text).first).to_be_attached()

    def field(self, label: str) -> Locator:
        return self.page.get_by_label(label, exact=True)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def menu(self, person: Person) -> Locator:
        return self.page.get_by_role("banner").get_by_role("button", name=person.name)

    def dialog(self, name: str) -> Locator:
        return self.page.get_by_role("dialog", name=name)

    def row(self, name: str) -> Locator:
        return self.page.get_by_role("table", name="Users").get_by_role("row").filter(has_text=name)

    def pages_in_menu(self) -> list[str]:
        """Return the pages that the navigation offers."""
        expect(self.page.get_by_role("banner").get_by_role("button").first).to_be_visible()
        return [text.strip() for text in self.page.get_by_role("navigation").get_by_role("link").all_inner_texts()]

    def link_in(self, dialog: Locator) -> str:
        """Return the link that the dialog shows."""
        shown = dialog.locator("input, output, code, a, p, textarea").filter(visible=True)
        expect(dialog.get_by_role("button", name="Copy link")).to_be_visible()
        texts = shown.evaluate_all("(found) => found.map((one) => one.value || one.href || one.textContent)")
        return next(match[0] for text in texts if (match := LINK.search(text or "")))

    def screenshot(self, folder: Path, name: str) -> None:
        folder.mkdir(exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png", full_page=True)

    def history(self) -> Sequence[str]:
        """Return every address of the tab's history."""
        session = self.context.new_cdp_session(self.page)
        return [entry["url"] for entry in session.send("Page.getNavigationHistory")["entries"]]
