"""Fixtures of the console's tests: one sidecar for the run, an account per test, and browsers.

A fault that a browser reports fails the test, unless the test expects it: an exception, a line of its console, a
violation of the Content-Security-Policy, a request to another origin, a status of 500 or more.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.site import Account, Redis, Sidecars, Site

HERE = Path(__file__).resolve().parent
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SCREENSHOTS = HERE / "screenshots"


def missing(reason: str) -> None:
    """Skip, or fail where the programs have to be there (``.ci/run``)."""
    if os.environ.get("SIDECAR_TEST_CONSOLE_REQUIRED"):
        pytest.fail(f"SIDECAR_TEST_CONSOLE_REQUIRED is set: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def sidecars(redis_server_binary: str) -> Iterator[Sidecars]:
    folder, redis = Path(tempfile.mkdtemp(prefix="scc-")), Redis(redis_server_binary)
    sidecars = Sidecars(folder, redis)
    try:
        yield sidecars
    finally:
        sidecars.stop()
        redis.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def site(sidecars: Sidecars) -> Site:
    return sidecars.plain()


@pytest.fixture
def account(site: Site) -> Account:
    return site.account()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's browser. Its scope is the module, as Playwright's event loop would keep other modules from theirs."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        missing("no chromium on PATH: python -m tests.gateways.install debian chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("no playwright here: pip install -e '.[browser]'")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-first-run"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, site: Site) -> Iterator[Callable[..., Any]]:
    """``visit(person)``: one more browser, signed in past the sign-in page. ``visit()``: one that is not signed in.
    Faults fail the test at its end.
    """
    from tests.console.visitor import Visitor

    opened: list[Visitor] = []

    def open_browser(person: Any = None, *, origin: str | None = None, **options: Any) -> Visitor:
        visitor = Visitor(chromium, origin or site.origin, **options)
        opened.append(visitor)
        return visitor.enter(person) if person else visitor

    yield open_browser
    for visitor in opened:
        visitor.context.close()
    assert [fault for visitor in opened for fault in visitor.faults] == []


@pytest.fixture(scope="session")
def needs_site(sidecars: Sidecars) -> Site:
    """A sidecar on the same store, whose policy has needs (`needs.policy_folder`). Factors count at once."""
    from tests.console.needs import policy_folder

    return sidecars.start(POLICY_DIR=str(policy_folder(sidecars.folder / "needs")))
