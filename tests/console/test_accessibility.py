"""axe on every page and every open dialog, light and dark, wide and narrow; nothing moves sideways at 320 px.

Each state leaves a picture in ``screenshots/``, which git ignores.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.console.axe import violations
from tests.console.conftest import SCREENSHOTS
from tests.console.site import Account, Site
from tests.console.states import SIGNED_OUT, STATES
from tests.console.visitor import NARROW, WIDE, Visitor

pytestmark = pytest.mark.slow

SIDEWAYS = """() => [...document.querySelectorAll("body *")]
  .filter((one) => { const at = one.getBoundingClientRect(); return at.width > 0 && at.right > innerWidth + 1
    && !one.closest("[data-scrolls], .scroll, .visually-hidden") })
  .map((one) => `${one.localName}.${one.className}`).slice(0, 5)"""
REST = "document.fonts.ready.then(() => Promise.allSettled(document.getAnimations().map((one) => one.finished)))"


@pytest.fixture(scope="module")
def team(site: Site) -> Account:
    """An account with members of several roles and an open invitation, and with a row of each kind in its audit."""
    account = site.account(seats=6)
    account.join("Bob Berg", "marketer")
    carl = account.join("Carl Clerk-with-a-long-name of the Northern Branch", "accountant")
    account.ask("PATCH", f"/v1/users/{carl.id}", {"status": "suspended"})
    account.invitation = account.invite("Dora Dev", "developer")[1]
    return account


@pytest.fixture
def visitor(visit: Callable[..., Visitor], team: Account, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    yield visit(team.admin if request.node.callspec.params["state"] in STATES else None)


@pytest.mark.parametrize("state", [*SIGNED_OUT, *STATES])
def test_axe_finds_nothing(state: str, visitor: Visitor, team: Account) -> None:
    (STATES | SIGNED_OUT)[state](visitor, team)
    found = []
    for scheme in ("light", "dark"):
        for name, width in (("wide", WIDE), ("narrow", NARROW)):
            visitor.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            visitor.page.set_viewport_size({"width": width, "height": 900})
            visitor.page.evaluate(REST)
            where = f"{scheme}, {width} px"
            found += [f"{where}: {violation}" for violation in violations(visitor)]
            scrolls = visitor.page.evaluate("document.documentElement.scrollWidth > innerWidth")
            if scrolls:
                found.append(f"{where}: scrolls sideways: {visitor.page.evaluate(SIDEWAYS)}")
            visitor.screenshot(SCREENSHOTS, f"{state}-{scheme}-{name}")
    assert found == []


def test_axe_finds_a_fault(visit: Callable[..., Visitor]) -> None:
    visitor = visit().open("/console/sign-in")
    visitor.page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    assert any(line.startswith("label:") for line in violations(visitor))


@pytest.mark.parametrize("page", ["users", "account-settings", "policy", "audit"])
def test_forced_colours_and_reduced_motion(visit: Callable[..., Visitor], team: Account, page: str) -> None:
    visitor = visit(team.admin, forced_colors="active", reduced_motion="reduce").open(f"/console/{page}")
    visitor.rests()
    moving = "document.getAnimations().filter((one) => one.effect.getTiming().iterations > 1).length"
    assert visitor.page.evaluate(moving) == 0
    visitor.screenshot(SCREENSHOTS, f"{page}-forced-colours")


@pytest.mark.parametrize("page", ["sign-in", "users", "account-settings"])
def test_zoom_of_200_percent_scrolls_one_way(visit: Callable[..., Visitor], team: Account, page: str) -> None:
    """A window of 1280 px at 200 % has 640 CSS pixels at a device scale of 2."""
    visitor = visit(team.admin, width=640, device_scale_factor=2).open(f"/console/{page}")
    visitor.rests()
    assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
