"""From a check's response to its log line and its metrics: the same for one and for many, and nothing lost
in between.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter, time
from typing import Any

import msgspec
import pytest

from sidecar.domain.decision import Decision, KnownFacts, MissingConditions, Reason
from sidecar.telemetry import check_recorder as module
from sidecar.telemetry.check_recorder import BATCH, CheckRecorder
from sidecar.telemetry.check_spans import TracedCheckRecorder
from sidecar.telemetry.decision_log import DecisionRecord, in_quotes
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import Tracer
from tests.pdp_fixture import at_once, user

ALLOW = Decision(Reason.ALLOWED, "g", "policy/policy.csv:12", user("b", "accountant"), "billing", "view")
DENY = Decision(Reason.MISSING_TOKEN, "g")


class Log:
    """Records the entries in place of a `DecisionLog`."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.announced = 0

    def write(self, block: bytes, lines: int) -> None:
        self.blocks.append(block)
        self.announced += lines

    def lines(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in b"".join(self.blocks).splitlines()]
        assert len(found) == self.announced
        return found


def book(log: Log | None, metrics: Metrics | None = None, **options: Any) -> CheckRecorder:
    return CheckRecorder(metrics or Metrics("1"), log, **{"call_soon": at_once, **options})  # type: ignore[arg-type]


def enter(recorder: CheckRecorder, decision: Decision, request_id: bytes = b"r", seconds: float = 0.000012) -> None:
    ended = perf_counter()
    recorder.record(recorder.log_entry("/check", decision, decision.section), request_id, ended - seconds, ended)


def test_a_line_says_who_what_where_and_why() -> None:
    log = Log()
    recorder = book(log)
    enter(recorder, ALLOW, b"r-1")
    enter(recorder, DENY, b"r-2", seconds=1.5)
    recorder.flush()
    allow, deny = log.lines()
    assert abs(datetime.fromisoformat(allow["time"]).timestamp() - time()) < 5
    assert (allow["user"], allow["section"], allow["action"]) == (ALLOW.user.id, "billing", "view")  # type: ignore[union-attr]
    assert (allow["decision"], allow["reason"], allow["rule"]) == (True, "allowed", "policy/policy.csv:12")
    assert (allow["request_id"], allow["duration_us"]) == ("r-1", 12)
    assert (deny["user"], deny["decision"], deny["reason"], deny["rule"]) == ("", False, "missing_token", None)
    assert (deny["request_id"], deny["duration_us"]) == ("r-2", 1_500_000)
    assert set(allow) == set(DecisionRecord.__struct_fields__) - {"unmet", "classes", "sampled", "trace_id"}, (
        "of needs, of samples and of traces"
    )


def test_a_line_of_a_cell_with_needs_holds_known_and_unmet() -> None:
    log = Log()
    recorder = book(log)
    known = KnownFacts(("password", "totp"), 900, 2, 0)
    met = msgspec.structs.replace(ALLOW, known=known, valid_until=1.0)
    unmet = msgspec.structs.replace(
        ALLOW, reason=Reason.CONDITION_UNMET, missing=MissingConditions(("office",)), known=known
    )
    other = msgspec.structs.replace(unmet, missing=MissingConditions(("office", "paid-plan")))
    for decision in (met, unmet, other, met):
        enter(recorder, decision)
    recorder.flush()
    lines = log.lines()
    classes = {"methods": ["password", "totp"], "signed_in_within": 900, "network": 2, "hours": 0}
    assert [line["classes"] for line in lines] == [classes] * 4
    assert [line.get("unmet") for line in lines] == [None, ["office"], ["office", "paid-plan"], None]
    assert [line["decision"] for line in lines] == [True, False, False, True]


@pytest.mark.parametrize("micros", [0, 1, 999, 1000, 123_456_789])
@pytest.mark.parametrize("request_id", ["r-1", 'with "quotes" and \\', "ü\u2028", "", "tab\there"])
@pytest.mark.parametrize("decision", [ALLOW, DENY])
def test_a_line_is_the_record_encoded(
    decision: Decision, request_id: str, micros: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    when, asked = 1_764_000_000.25, decision.user
    monkeypatch.setattr(module, "time", lambda: when)
    monkeypatch.setattr(module, "perf_counter", lambda: 5_000.0)
    record = DecisionRecord(
        time=datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds"),
        kind="decision",
        request_id=request_id,
        endpoint="/check",
        account=asked.account if asked else "",
        user=asked.id if asked else "",
        role=asked.role if asked else "",
        section=decision.section,
        action=decision.action,
        decision=decision.allowed,
        reason=decision.reason.value,
        cause=decision.cause,
        rule=decision.rule,
        generation=decision.generation,
        duration_us=micros,
    )
    log = Log()
    recorder = book(log)
    for _ in range(2):  # composed, and cached
        told = recorder.log_entry("/check", decision, decision.section)
        recorder.record(told, in_quotes(request_id), 5_000.0 - micros / 1e6, 5_000.0)
    recorder.flush()
    assert b"".join(log.blocks) == (msgspec.json.encode(record) + b"\n") * 2


def test_a_line_of_a_traced_check_is_the_record_encoded() -> None:
    log = Log()
    recorder = TracedCheckRecorder(Metrics("1"), log, call_soon=at_once)  # type: ignore[arg-type]
    with Tracer(lambda _span: None, share=0.0).root("check") as span:
        enter(recorder, ALLOW, in_quotes('a"b'))
    enter(recorder, ALLOW, in_quotes('a"b'))
    recorder.flush()
    first, second = [msgspec.json.decode(line, type=DecisionRecord) for line in b"".join(log.blocks).splitlines()]
    assert (first.request_id, first.trace_id) == ('a"b', span.context.trace_id)
    assert (second.request_id, second.trace_id) == ('a"b', "")
    assert b"".join(log.blocks).splitlines()[0] == msgspec.json.encode(first)


def test_several_decisions_of_a_request_leave_their_number() -> None:
    recorder = TracedCheckRecorder(Metrics("1"), None, call_soon=at_once)
    with Tracer(lambda _span: None, share=0.0).root("check") as span:
        for decision in (ALLOW, DENY):
            enter(recorder, decision)
    assert span.attributes == {"sidecar.decisions": 2}


def test_each_line_has_its_own_time_to_the_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", lambda: 1_764_000_010.0)
    monkeypatch.setattr(module, "perf_counter", lambda: 10.0)
    log = Log()
    recorder = book(log)
    told = recorder.log_entry("/check", DENY, "")
    moments = [at / 4096 for at in range(4096)]  # four per millisecond, without rounding
    for at in moments:
        recorder.record(told, b"r", at, at)
        if at == 0.5:
            recorder.flush()
    recorder.flush()
    wanted = [datetime.fromtimestamp(1_764_000_000 + int(at * 1000) / 1000, UTC) for at in moments]
    assert [line["time"] for line in log.lines()] == [each.isoformat(timespec="milliseconds") for each in wanted]


def test_allows_are_sampled_and_denials_are_all_kept() -> None:
    log, metrics = Log(), Metrics("1")
    recorder = book(log, metrics, allows=0.25)
    for _ in range(100):
        enter(recorder, ALLOW)
        enter(recorder, DENY)
    recorder.flush()
    kept = [line["decision"] for line in log.lines()]
    assert (kept.count(True), kept.count(False)) == (25, 100)
    shares = {(line["decision"], line.get("sampled")) for line in log.lines()}
    assert shares == {(True, 0.25), (False, None)}, "the share is beside each kept allow, so that a reader knows of it"
    assert metrics.checks.counter("/check", ALLOW, "billing") == metrics.checks.counter("/check", DENY, "") == [100]


def test_a_log_of_all_allows_names_no_share() -> None:
    log = Log()
    recorder = book(log)
    enter(recorder, ALLOW)
    recorder.flush()
    assert "sampled" not in log.lines()[0]


def test_none_of_the_allows_may_be_wanted() -> None:
    log = Log()
    recorder = book(log, allows=0.0)
    for decision in (ALLOW, DENY, ALLOW):
        enter(recorder, decision)
    recorder.flush()
    assert [line["decision"] for line in log.lines()] == [False]
    enter(recorder, ALLOW)
    recorder.flush()
    assert len(log.blocks) == 1, "the writer is not woken without need"


def test_what_is_remembered_of_a_user_goes_with_its_role() -> None:
    log = Log()
    recorder = book(log)
    for role in ("accountant", "marketer"):
        enter(recorder, Decision(Reason.ALLOWED, "g", None, user("b", role), "billing", "view"))
    recorder.flush()
    assert [line["role"] for line in log.lines()] == ["accountant", "marketer"]


def test_an_unknown_section_is_in_the_log_line_and_in_no_label() -> None:
    log, metrics = Log(), Metrics("1")
    recorder = book(log, metrics)
    strange = Decision(Reason.UNKNOWN_SECTION, "g", section="of-the-request")
    recorder.record(recorder.log_entry("/check", strange, ""), b"r", 0.0, 0.0)
    recorder.flush()
    assert log.lines()[0]["section"] == "of-the-request"
    assert "of-the-request" not in metrics.exposition().decode()


def test_names_that_a_request_makes_up_are_not_remembered() -> None:
    recorder = book(Log())
    for number in range(3):
        recorder.log_entry("/check", Decision(Reason.UNKNOWN_SECTION, "g", section=f"section-{number}"), "")
    assert not recorder._kept
    assert recorder.log_entry("/check", ALLOW, "billing") is recorder.log_entry("/check", ALLOW, "billing")
    assert recorder.log_entry("/check", DENY, "") is recorder.log_entry("/check", DENY, "")


def test_text_that_is_none_is_logged_as_far_as_it_is() -> None:
    log = Log()
    recorder = book(log)
    enter(recorder, Decision(Reason.NO_RULE, "g", section="half \ud800 a pair"))
    enter(recorder, DENY)
    recorder.flush()
    assert [line["section"] for line in log.lines()] == ["half ? a pair", ""]


def test_a_full_batch_is_flushed_after_the_check() -> None:
    soon: list[Callable[[], None]] = []
    log = Log()
    recorder = book(log, call_soon=soon.append)
    for _ in range(BATCH + 3):  # more arrive before the loop reaches it
        enter(recorder, DENY)
    assert len(soon) == 1
    assert not log.blocks
    soon[0]()
    assert len(log.lines()) == BATCH + 3
    for _ in range(BATCH):
        enter(recorder, DENY)
    assert len(soon) == 2


def test_a_scrape_counts_what_waits() -> None:
    metrics = Metrics("1")
    recorder = book(None, metrics)
    for _ in range(3):
        enter(recorder, ALLOW)
        assert recorder.log_entry("/check", ALLOW, "billing").line == b"", "the log is off"
    text = metrics.exposition().decode()
    assert 'sidecar_checks_total{decision="allow",endpoint="/check",reason="allowed",section="billing"} 3.0' in text
    assert "sidecar_check_duration_seconds_count 3.0" in text
    assert "sidecar_check_duration_seconds_count 3.0" in metrics.exposition().decode(), "and counts it once"


async def test_a_check_that_no_other_follows_is_settled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.001)
    log = Log()
    recorder = book(log)
    keeping = asyncio.create_task(recorder.keep())
    async with asyncio.timeout(10):
        for count in (1, 2):
            enter(recorder, DENY)
            while len(log.blocks) < count:
                await asyncio.sleep(0.001)
    keeping.cancel()
    assert len(log.lines()) == 2
