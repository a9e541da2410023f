"""The README's figures are those of the pages, loosely; the limits are those of the specification."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.console.figures import Figures, measure, team, written
from tests.console.pages import PAGES, SIGNED_IN
from tests.console.site import Account, Site
from tests.console.visitor import Visitor

pytestmark = pytest.mark.slow

LIMIT_KILOBYTES = 100
PATIENCE_MS = 5_000
"""Generous: a run of the tests shares its processors."""


@pytest.fixture(scope="module")
def account(site: Site) -> Account:
    return team(site.account())


@pytest.mark.parametrize("page", PAGES)
def test_figures_of_the_readme_are_true(chromium: Any, account: Account, page: str) -> None:
    found, known = measure(chromium, account, page, rounds=1), written().get(page)
    assert known is not None, "python -m tests.console.figures --write"
    assert found.kilobytes == pytest.approx(known.kilobytes, rel=0.25), "python -m tests.console.figures --write"
    assert abs(found.files - known.files) <= 3, "python -m tests.console.figures --write"
    assert abs(found.calls - known.calls) <= 2, "python -m tests.console.figures --write"
    assert found.kilobytes <= LIMIT_KILOBYTES
    assert found.milliseconds < PATIENCE_MS


def test_every_page_has_figures() -> None:
    assert set(written()) == set(PAGES)
    assert all(isinstance(one, Figures) and one.kilobytes > 1 for one in written().values())


@pytest.mark.parametrize("page", SIGNED_IN)
def test_data_is_fetched_in_parallel(visit: Callable[..., Visitor], account: Account, page: str) -> None:
    """All calls of the API are sent before one is answered. The list of people of a filter waits for the permission."""
    visitor, held = visit(account.admin), list[Any]()
    sent: list[str] = []
    visitor.page.on("request", lambda request: sent.append(request.url.partition("?")[0]))

    def hold(route: Any) -> None:
        held.append(route)

    visitor.context.route("**/v1/**", hold)
    visitor.open(f"/console/{page}")
    visitor.page.wait_for_timeout(500)
    before = {url for url in sent if "/v1/" in url}
    for route in list(held):
        route.continue_()
    visitor.context.unroute("**/v1/**")
    visitor.rests()
    visitor.page.wait_for_load_state("networkidle")
    late = {url for url in sent if "/v1/" in url} - before
    assert len(before) >= 4
    assert late <= ({f"{visitor.origin}/v1/users"} if page in {"policy", "audit"} else set())
