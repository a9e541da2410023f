"""``rd`` of the sign-in page: the way back, and never to another origin."""

import re
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.console.site import Account, Site
from tests.console.visitor import Visitor, expect
from tests.console.web_server import serve

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
OPEN = [
    "https://evil.example/",
    "http://evil.example",
    "//evil.example",
    "///evil.example",
    "////evil.example/",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/%5Cevil.example",
    "/%5c%5cevil.example",
    "%2F%2Fevil.example",
    "%2f%5cevil.example",
    "/%09/evil.example",
    "/\t/evil.example",
    "/%0A/evil.example",
    "/%0d%0aLocation:%20//evil.example",
    "%09//evil.example",
    "%20//evil.example",
    " //evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/%2e%2e//evil.example",
    "/console/..//evil.example",
    "javascript:alert(1)",
    "%6Aavascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "blob:https://evil.example/1",
    "@evil.example",
    ":443@evil.example/",
    ".evil.example",
    "evil.example/",
    "http:evil.example",
    "https:/evil.example",
    "/%E3%80%82evil.example//",
    "//evil%E3%80%82example",
    "/\u2028/evil.example",
    "/&rd=//evil.example",
    "&rd=https://evil.example",
    "%2Fconsole%2F%2Fevil&rd=//evil.example",
    "/" + "a" * 2048,
]
"""Forms after ``rd=``: the browser stays at the sidecar's origin with each of them."""

LOOPS = ["/console/sign-in", "/console/sign-in?rd=/", "/console/./sign-in", "/console/step-up", "%2Fconsole%2Fsign-in"]
BACK = {
    "/console/audit": "/console/audit",
    "/console/audit?kind=a&from=b": "/console/audit?kind=a&from=b",
    "%2Fconsole%2Faudit%3Fkind%3Da%26from%3Db": "/console/audit?kind=a&from=b",
    "/console/account-settings": "/console/account-settings",
    "/console/audit?next=%2F%2Fevil.example": "/console/audit?next=%2F%2Fevil.example",
    "/dashboard/billing/?a=1&b=2": "/dashboard/billing/?a=1&b=2",
    "/dashboard/a%20b": "/dashboard/a%20b",
}


@pytest.fixture(scope="module")
def account(site: Site) -> Account:
    return site.account()


def arrive(visitor: Visitor, account: Account, rd: str) -> None:
    """Sign in anew, at the page with that ``rd``."""
    visitor.context.clear_cookies()
    visitor.page.goto(f"{visitor.origin}/console/sign-in?rd={rd}")
    visitor.sign_in(account.admin)
    visitor.page.wait_for_load_state("load")


def left(visitor: Visitor) -> list[str]:
    """Return addresses of other origins in the tab's history."""
    ours = (visitor.origin + "/", "about:blank")
    return [address for address in visitor.history() if not address.startswith(ours)]


def test_at_least_20_forms_are_tried() -> None:
    assert len(set(OPEN)) >= 20


@pytest.mark.parametrize("part", range(4))
def test_no_form_of_rd_leaves_the_origin(visit: Visit, account: Account, part: int) -> None:
    """A request to another origin is a fault as well, which the fixture finds."""
    visitor = visit()
    with visitor.allowing("^404 for GET /console/"):
        for rd in OPEN[part::4]:
            arrive(visitor, account, rd)
            assert visitor.page.evaluate("location.origin") == visitor.origin, rd
            assert left(visitor) == [], rd


def test_an_open_redirect_is_found(visit: Visit, account: Account) -> None:
    visitor = visit().open("/console/sign-in")
    with visitor.allowing("request to another origin"), serve() as other:
        visitor.page.goto(other.cross_site)
    assert left(visitor) == [other.cross_site + "/"]


@pytest.mark.parametrize("rd", LOOPS, ids=lambda rd: quote(rd, safe=""))
def test_rd_does_not_lead_to_the_sign_in_page_again(visit: Visit, account: Account, rd: str) -> None:
    visitor = visit()
    arrive(visitor, account, rd)
    visitor.sees("Users")


@pytest.mark.parametrize(("rd", "back"), BACK.items(), ids=lambda text: quote(text, safe=""))
def test_rd_leads_back(visit: Visit, account: Account, rd: str, back: str) -> None:
    visitor = visit()
    arrive(visitor, account, rd)
    expect(visitor.page).to_have_url(visitor.origin + back)


def test_a_page_leads_to_sign_in_and_back(visit: Visit, account: Account) -> None:
    visitor = visit().open("/console/audit?action=invited")
    expect(visitor.page).to_have_url(re.compile(r"/console/sign-in\?rd=.*audit"))
    visitor.sign_in(account.admin)
    visitor.sees("Audit")
    assert "action=invited" in visitor.page.url


def test_the_root_leads_to_the_first_page(visit: Visit, account: Account) -> None:
    bob = account.join("Bob Berg", "marketer")
    visit(account.admin).open("/").sees("Users")
    visit(bob).open("/").sees("Account settings")
