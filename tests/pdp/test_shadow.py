"""Shadow of a candidate: the counts of a replay over the same log (R45), per account, and its begin and end."""

from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.api import policy_shadow
from sidecar.cli.policy.replay import run
from sidecar.domain.decision import Decision, KnownFacts, Reason
from sidecar.domain.users import AccountId
from sidecar.pdp.candidate_answers import Prepared
from sidecar.pdp.candidate_progress import CandidateProgress, described
from sidecar.pdp.shadow import MAX_USERS, ShadowCounts, total_of
from sidecar.pdp.shadow_run import ShadowRun
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.decide import decide
from sidecar.policy.generation import Generation
from sidecar.store.generation_records import MarkState, PolicyCandidate, SidecarMark
from sidecar.telemetry.check_recorder import CheckRecorder
from sidecar.telemetry.metrics import Metrics
from tests.memory_store import bare_store
from tests.pdp_fixture import at_once, user
from tests.store.generations_fixture import PEPPER, Applying, generation, packaged_files, registered, terms_of

__all__ = ["bare_store"]


@cache
def edited() -> Generation:
    """Return the packaged policy with one opened and one closed cell. Its own tests fail, which no shadow asks."""
    files = packaged_files()
    rules = files["policy.csv"] + b"p, marketer, billing, view, allow\np, accountant, billing, view, deny\n"
    found = compile_policy({**files, "policy.csv": rules}, proof=ProofScope.NONE)
    assert found.draft is not None
    return found.draft


class Log:
    """Decision log in memory."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, block: bytes, _lines: int) -> None:
        self.lines += block.decode().splitlines()


class Traffic:
    """Decisions of the active policy, recorded as checks are."""

    def __init__(self, active: Generation) -> None:
        self.active, self.log = active, Log()
        self.recorder = CheckRecorder(Metrics("0"), self.log, call_soon=at_once)

    def check(self, who: Any, section: str, action: str, times: int = 1) -> None:
        ruling = decide(self.active, who.role, section, action)
        decision = Decision(ruling.reason, self.active.id, ruling.rule, who, section, action)
        self.record(decision, times)

    def record(self, decision: Decision, times: int = 1) -> None:
        for _ in range(times):
            entry = self.recorder.log_entry("nginx", decision, decision.section)
            self.recorder.record(entry, b"r", 0.0, 0.001)


def mixed(traffic: Traffic) -> None:
    marketer, accountant, admin = user("b", "marketer"), user("c", "accountant"), user("d", "account-administrator")
    for who, times in ((marketer, 3), (accountant, 200), (admin, 5)):
        for section, action in (("billing", "view"), ("audit", "view"), ("unknown", "view")):
            traffic.check(who, section, action, times)
    traffic.record(Decision(Reason.MISSING_TOKEN, traffic.active.id))
    traffic.record(Decision(Reason.UNMATCHED_PATH, traffic.active.id, user=marketer))
    facts = KnownFacts(signed_in_within=None, methods=("password",), network=0, hours=0)
    traffic.record(Decision(Reason.STEP_UP_REQUIRED, "x", None, accountant, "billing", "view", known=facts))


def test_R45_a_shadow_counts_what_a_replay_of_the_log_counts() -> None:
    traffic, counts = Traffic(generation("a")), ShadowCounts(edited())
    traffic.recorder.shadow = counts.count
    mixed(traffic)
    traffic.recorder.flush()
    replay = run(traffic.log.lines, edited())
    total = total_of([counts.report(done=True)])
    assert (total.decisions, total.unclear) == (replay.replayed, replay.unclear)
    assert {(one.cell, one.opens): one.times for one in total.changes} == {
        ((one.role, one.section, one.action), one.opens): one.times for one in replay.changed.values()
    }
    assert total.changed == 203
    assert [one.cell[0] for one in total.changes] == ["marketer", "accountant"], "opened cells first"


def test_without_a_shadow_nothing_is_counted() -> None:
    traffic, counts = Traffic(generation("a")), ShadowCounts(edited())
    mixed(traffic)
    traffic.recorder.flush()
    assert counts.decisions == 0


def test_R45_users_of_another_account_are_not_named() -> None:
    traffic, counts = Traffic(generation("a")), ShadowCounts(edited())
    traffic.recorder.shadow = counts.count
    other = AccountId("acc_" + "b" * 12)
    from dataclasses import replace

    mine = user("b", "marketer")
    theirs = replace(user("c", "marketer"), account=other)
    traffic.check(mine, "billing", "view", 2)
    traffic.check(theirs, "billing", "view", 7)
    traffic.recorder.flush()
    reports = [counts.report(done=False)]
    own = total_of(reports, account=mine.account)
    assert [(one.times, list(one.users)) for one in own.changes] == [(2, [mine.id])]
    every = total_of([*reports, *reports])
    assert [(one.times, set(one.users)) for one in every.changes] == [(18, {mine.id, theirs.id})]
    assert total_of(reports, account="acc_" + "c" * 12).changes == ()


async def test_R45_the_api_shows_the_counts_of_the_readers_account() -> None:
    mine = user("b", "marketer")
    changes = [[mine.account, "marketer", "billing", "view", True, 2, [mine.id]], ["x", "a", "b", "c", True, 9, ["u"]]]
    report = {"decisions": 50, "unclear": 4, "more": 3, "changes": changes, "done": False}
    marks = (SidecarMark("one", MarkState.READY), SidecarMark("two", MarkState.WAITING, "secret reason"))
    progress = CandidateProgress(PolicyCandidate(terms_of(generation("a"), 1), "t", "", 60_000), marks, {"one": report})

    async def candidate() -> CandidateProgress:
        return progress

    caller = SimpleNamespace(record=mine)
    call = SimpleNamespace(app=SimpleNamespace(stored_policy=SimpleNamespace(candidate=candidate)), caller=caller)
    shown = (await policy_shadow.shadow(call)).body
    assert (shown.candidate, shown.ready, shown.sidecars) == (generation("a").id, 1, 2)
    assert [(one.role, one.before, one.after, one.times, one.users) for one in shown.changes] == [
        ("marketer", "deny", "allow", 2, [mine.id])
    ]
    assert "secret" not in str(shown)
    assert described(progress.total)["changed"] == 14, "operators read all"
    nothing = SimpleNamespace(app=SimpleNamespace(stored_policy=None), caller=caller)
    assert (await policy_shadow.shadow(nothing)).body == policy_shadow.NONE


def test_a_cell_names_at_most_20_users() -> None:
    traffic, counts = Traffic(generation("a")), ShadowCounts(edited())
    traffic.recorder.shadow = counts.count
    for letter in "abcdefghijklmnopqrstuvwxyz":
        traffic.check(user(letter, "marketer"), "billing", "view")
    traffic.recorder.flush()
    (change,) = total_of([counts.report(done=False)] * 2).changes
    assert (change.times, len(change.users)) == (52, MAX_USERS)


# -- the run -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shadowing(bare_store, clock):
    applying = Applying(bare_store)
    shadow, hooks = ShadowRun(applying.generations, clock.time), []
    shadow.attach("one", hooks.append)
    return SimpleNamespace(applying=applying, shadow=shadow, hooks=hooks, clock=clock, store=bare_store)


async def begun(shadowing, seconds: float = 60):
    await registered(shadowing.store, "one")
    found = generation("a")
    stored = await shadowing.applying.generations.store_candidate(terms_of(found, 5), b"", seconds=600, shadow=seconds)
    until = round((shadowing.clock.time() + seconds) * 1000)
    candidate = PolicyCandidate(stored.terms, stored.attempt, stored.code, until)
    prepared = Prepared(stored.terms.digest, found, ())
    shadowing.shadow.follow(candidate, prepared)
    return candidate, prepared


async def test_a_shadow_reports_and_ends_at_its_time(shadowing) -> None:
    candidate, prepared = await begun(shadowing)
    assert callable(shadowing.hooks[-1])
    await shadowing.shadow.report()
    reports = await shadowing.applying.generations.shadow_reports(candidate)
    assert reports["one"]["done"] is False
    shadowing.clock.advance(61)
    await shadowing.shadow.report()
    assert (await shadowing.applying.generations.shadow_reports(candidate))["one"]["done"] is True
    assert shadowing.hooks[-1] is None
    shadowing.shadow.follow(candidate, prepared)
    assert shadowing.hooks[-1] is None, "it begins once"


async def test_another_candidate_ends_a_shadow(shadowing) -> None:
    await begun(shadowing)
    shadowing.shadow.follow(None, None)
    assert shadowing.hooks[-1] is None


async def test_a_candidate_without_a_shadow_has_none(shadowing) -> None:
    await begun(shadowing, seconds=0)
    assert shadowing.hooks == []


async def test_reports_of_an_earlier_attempt_do_not_count(shadowing) -> None:
    candidate, _ = await begun(shadowing)
    await shadowing.shadow.report()
    other = PolicyCandidate(candidate.terms, "other", "")
    assert await shadowing.applying.generations.shadow_reports(other) == {}
    assert PEPPER
