"""The section "Being applied" of the page Policy: a real shadow, its end, and progress that is read again."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.console.applying import GENERATION, NONE, Candidate, change, progress
from tests.console.site import Account, Person, Redis, Sidecars, Site
from tests.console.visitor import Visitor, expect
from tests.live.forkserver import AVAILABLE, fork_server
from tests.live.policy_support import Policy
from tests.live.support import sidecar_env

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
INTERVAL = 3.0
"""Seconds between two reads of the page."""
HIDE = """(hidden) => { Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
  document.dispatchEvent(new Event("visibilitychange")) }"""


def section(visitor: Visitor) -> "Locator":
    return visitor.page.get_by_role("region", name="Being applied")


def decisions(visitor: Visitor) -> "Locator":
    return visitor.page.get_by_role("table", name="Decisions that would change").locator("tbody tr")


def opened(visit: Visit, account: Account, **shown: object) -> tuple[Visitor, Candidate]:
    visitor = visit(account.admin)
    candidate = Candidate(visitor, {**progress(), **shown})
    visitor.open("/console/policy")
    return visitor, candidate


# -- a real shadow -----------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(redis_server_binary: str) -> Iterator[tuple[Site, Policy]]:
    """A sidecar of a store of its own, which takes its policy from there: another one would have to accept it too."""
    folder, redis = Path(tempfile.mkdtemp(prefix="scc-")), Redis(redis_server_binary)
    sidecars, policy = Sidecars(folder, redis), Policy(folder / "edited")
    try:
        yield sidecars.start(POLICY_SOURCE="store", LEASE="10s", **policy.settings), policy
    finally:
        sidecars.stop()
        redis.stop()
        shutil.rmtree(folder, ignore_errors=True)


def checks(account: Account, person: Person, times: int) -> None:
    bearer = f"Bearer {account.site.token(person)}"
    for _ in range(times):
        found = account.site.ask("GET", "/check/sections/billing/view", Authorization=bearer)
        assert found.status == 403, found


@pytest.mark.skipif(not AVAILABLE, reason="the shadow's command needs os.fork")
def test_R45_a_shadow_shows_the_own_account_alone(stored: tuple[Site, Policy], visit: Visit) -> None:
    site, policy = stored
    own, other = site.account(), site.account()
    mark, theirs = own.join("Mark Maler", "marketer"), other.join("Olga Other", "marketer")
    policy.write(policy.granting())
    wanted = policy.generation_of(policy.files())
    words = ["policy", "apply", str(policy.folder), "--shadow", "30m"]
    with (policy.folder.parent / "apply.log").open("wb") as sink:
        applying = fork_server().start(words, sidecar_env(site.process.settings), sink, sink)
    try:
        ada = visit(own.admin, origin=site.origin)
        for _ in range(60):
            if own.ask("GET", "/v1/policy/shadow")["ready"]:
                break
            ada.page.wait_for_timeout(250)
        checks(own, mark, 2)
        checks(other, theirs, 7)
        ada.open("/console/policy")
        expect(section(ada)).to_contain_text(wanted[:8])
        expect(section(ada)).to_contain_text("1 of 1 sidecar ready.")
        expect(decisions(ada)).to_have_count(1)
        cells = decisions(ada).locator("th, td")
        expect(cells).to_have_text(
            ["Marketer", "Billing", "View", "Denied → , then Allowed", "2", "1 userMark Maler"], use_inner_text=False
        )
        checks(own, mark, 3)
        expect(cells.nth(4)).to_have_text("5")
        text = ada.page.locator("main").inner_text()
        assert theirs.name not in text
        assert theirs.id not in ada.page.content()
    finally:
        applying.kill()
        applying.wait(10)
    site.operate("policy", "apply", wanted)
    expect(ada.page.get_by_text(f"Generation {wanted[:8]} is in force now.")).to_be_visible()
    expect(section(ada)).to_have_count(0)
    ada.page.get_by_role("link", name="Load the page again").click()
    expect(ada.page.get_by_role("region", name="In force")).to_contain_text(wanted)
    expect(section(ada)).to_have_count(0)


# -- what the page makes of its reads ----------------------------------------------------------------------------------


def test_without_a_candidate_nothing_is_loaded_or_repeated(visit: Visit, account: Account) -> None:
    visitor, candidate = opened(visit, account, **NONE)
    visitor.rests()
    reads = candidate.reads
    visitor.page.wait_for_timeout(INTERVAL * 1000 + 1000)
    assert candidate.reads == reads
    assert [one.url for one in visitor.responses if one.url.endswith("being-applied.js")] == []
    expect(section(visitor)).to_have_count(0)


def test_a_candidate_without_a_shadow_shows_the_fleet(visit: Visit, account: Account) -> None:
    visitor, candidate = opened(visit, account, until=None)
    status = section(visitor).get_by_role("status")
    expect(status).to_have_text("1 of 2 sidecars ready. The policy changes when all of them are.")
    expect(section(visitor)).not_to_contain_text("Shadow")
    candidate.shown = progress(2, 2, None)
    expect(status).to_contain_text("2 of 2 sidecars ready.")


def test_counts_grow_without_a_word_to_screen_readers(visit: Visit, account: Account) -> None:
    mark = account.join("Mark Maler", "marketer")
    visitor, candidate = opened(visit, account)
    status = section(visitor).get_by_role("status")
    expect(status).to_contain_text("No decision of this account would change so far.")
    users = [mark.id, *(f"usr_{number}" for number in range(19))]
    candidate.shown["changes"] = [change([mark.id]), change(users, 4, action="change-plan", opens=False)]
    expect(status).to_contain_text("Decisions of this account would change in 2 cells so far.")
    expect(decisions(visitor).nth(0)).to_contain_text("1 userMark Maler", use_inner_text=False)
    expect(decisions(visitor).nth(1)).to_contain_text("20 users or moreMark Maler and 19 more", use_inner_text=False)
    expect(decisions(visitor).nth(1)).to_contain_text("Allowed → , then Denied", use_inner_text=False)
    status.evaluate("(one) => { one.firstChild.kept = true }")
    decisions(visitor).evaluate_all("(rows) => rows.forEach((row) => { row.kept = true })")
    candidate.shown["changes"] = [change([mark.id], 900), candidate.shown["changes"][1]]
    expect(decisions(visitor).nth(0)).to_contain_text("900")
    assert status.evaluate("(one) => one.firstChild.kept"), "its text was not set again"
    assert decisions(visitor).evaluate_all("(rows) => rows.every((row) => row.kept)"), "the rows stay"


def test_a_hidden_page_reads_nothing(visit: Visit, account: Account) -> None:
    visitor, candidate = opened(visit, account)
    expect(section(visitor)).to_be_visible()
    visitor.page.evaluate(HIDE, True)
    visitor.page.wait_for_timeout(300)
    before = candidate.reads
    visitor.page.wait_for_timeout(2 * INTERVAL * 1000)
    assert candidate.reads == before
    candidate.shown = progress(2, 2)
    visitor.page.evaluate(HIDE, False)
    expect(section(visitor)).to_contain_text("2 of 2 sidecars ready.", timeout=INTERVAL * 1000)


def test_an_application_that_changed_nothing_leaves_a_line(visit: Visit, account: Account) -> None:
    visitor, candidate = opened(visit, account)
    line = section(visitor).get_by_role("status").element_handle()
    candidate.shown = NONE
    ended = f"The application of generation {GENERATION[:8]} has ended, and it is not in force."
    expect(visitor.page.get_by_role("status").filter(has_text=ended)).to_be_visible()
    expect(section(visitor)).to_have_count(0)
    assert line.text_content() == ended, "the element that screen readers listen to"
    reads = candidate.reads
    visitor.page.wait_for_timeout(INTERVAL * 1000 + 1000)
    assert candidate.reads == reads


def test_a_refused_read_ends_the_section(visit: Visit, account: Account) -> None:
    visitor, candidate = opened(visit, account)
    expect(section(visitor)).to_be_visible()
    candidate.shown = {"status": 403, "code": "step_up_required", "detail": "a proof is needed", "unmet": ["office"]}
    visitor.hears("The progress of the policy is not shown any more: A proof is needed.")
    expect(visitor.page.get_by_role("dialog")).to_have_count(0)
    expect(section(visitor)).to_have_count(0)


def test_a_shadow_that_is_over_says_so(visit: Visit, account: Account) -> None:
    visitor, _ = opened(visit, account, until="2020-11-30T18:30:00Z")
    expect(section(visitor)).to_contain_text("ended 30 Nov 2020")
