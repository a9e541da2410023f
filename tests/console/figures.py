"""Figures of each page: bytes, requests, time until it is drawn.

``python -m tests.console.figures --write`` measures them with a sidecar of its own and updates the table of the README.
"""

import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.console.pages import SIGNED_IN
from tests.console.site import Account, Redis, Sidecars

README = Path(__file__).with_name("README.md")
TABLE = re.compile(r"(<!-- table: figures -->\n).*?(<!-- /table -->)", re.DOTALL)
ROW = re.compile(r"^\| `/console/([a-z-]+)` \| ([\d.]+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
HEAD = "| page | KB | files | calls | drawn after, ms |\n| --- | ---: | ---: | ---: | ---: |\n"
ROUNDS = 5
DRAWN = """() => new Promise((done) => new PerformanceObserver((list) =>
  done(Math.max(...list.getEntries().map((one) => one.startTime)))).observe(
    {type: "largest-contentful-paint", buffered: true}))"""
FIRST = {"sign-in": "/console/sign-in", "forgot": "/console/forgot"}


@dataclass(frozen=True)
class Figures:
    """``kilobytes`` and ``files`` are of the console's files, ``calls`` are requests of the API."""

    kilobytes: float
    files: int
    calls: int
    milliseconds: int


def measure(browser: Any, account: Account, page: str, rounds: int = ROUNDS) -> Figures:
    """Open the page in ``rounds`` new browsers, with nothing in their caches. The time is the median."""
    address = {
        **FIRST,
        "invitation": account.invitation,
        "reset": f"/console/reset#{'x' * 43}",
    }.get(page, f"/console/{page}")
    found = [_open(browser, account, page, address) for _ in range(rounds)]
    drawn = statistics.median(one.milliseconds for one in found)
    return Figures(found[0].kilobytes, found[0].files, found[0].calls, round(drawn))


def _open(browser: Any, account: Account, page: str, address: str) -> Figures:
    from tests.console.visitor import Visitor

    visitor = Visitor(browser, account.site.origin)
    try:
        if page in {*SIGNED_IN, "step-up"}:
            jar = account.site.sign_in_cookies({"username": account.admin.email, "password": account.admin.password})
            pairs = (pair.partition("=") for pair in jar.split("; "))
            paths = {"sidecar": "/", "sidecar-refresh": "/v1/session"}
            domain = {"domain": "localhost"}
            visitor.context.add_cookies(
                [{"name": name, "value": value, "path": paths[name], **domain} for name, _, value in pairs]
            )
        visitor.open(address)
        visitor.page.wait_for_load_state("networkidle")
        calls = [one for one in visitor.responses if "/v1/" in one.url]
        files = [one for one in visitor.responses if "/v1/" not in one.url]
        size = sum(len(one.body()) for one in files)
        return Figures(round(size / 1000, 1), len(files), len(calls), round(visitor.page.evaluate(DRAWN)))
    finally:
        visitor.context.close()


def team(account: Account) -> Account:
    """Fill the account: the figures are of pages with content."""
    account.join("Bob Berg", "marketer")
    account.join("Carl Clerk", "accountant")
    account.invitation = account.invite("Dora Dev", "developer")[1]
    return account


def written() -> dict[str, Figures]:
    """Return the figures that the README has."""
    rows = ROW.findall(README.read_text())
    return {page: Figures(float(size), int(files), int(calls), int(drawn)) for page, size, files, calls, drawn in rows}


def write(found: dict[str, Figures]) -> None:
    rows = [
        f"| `/console/{page}` | {one.kilobytes} | {one.files} | {one.calls} | {one.milliseconds} |\n"
        for page, one in found.items()
    ]
    README.write_text(TABLE.sub(lambda match: match[1] + HEAD + "".join(rows) + match[2], README.read_text()))


@contextmanager
def chromium(program: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-first-run"])
        try:
            yield browser
        finally:
            browser.close()


def main() -> int:
    from sidecar.store.embedded.server_binary import find_server
    from tests.console.conftest import PROGRAMS
    from tests.console.pages import PAGES

    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if sys.argv[1:] != ["--write"] or program is None:
        sys.exit(__doc__ if program else "no chromium on PATH")
    folder, redis = Path(tempfile.mkdtemp(prefix="scc-")), Redis(str(find_server().path))
    sidecars = Sidecars(folder, redis)
    try:
        account = team(sidecars.plain().account())
        with chromium(program) as browser:
            write({page: measure(browser, account, page) for page in PAGES})
    finally:
        sidecars.stop()
        redis.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
