"""The decision log: an allow-list by type, off the path, bounded, losses counted."""

import io
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from sidecar.telemetry import decision_log
from sidecar.telemetry.decision_log import DecisionLog, DecisionRecord, Lines, middle_of
from sidecar.telemetry.line_file import LineFile
from sidecar.vocabulary.decision import Decision, Reason
from tests.stand import user

ALLOW = Decision(Reason.ALLOWED, "g", "policy/policy.csv:12", user("b", "accountant"), "billing", "view")
DENY = Decision(Reason.MISSING_TOKEN, "g")
ALLOWED_FIELDS = {
    "time",
    "kind",
    "request_id",
    "endpoint",
    "account",
    "user",
    "role",
    "section",
    "action",
    "decision",
    "reason",
    "rule",
    "generation",
    "duration_us",
}


def lines(sink: io.BytesIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def test_the_record_type_is_the_allow_list() -> None:
    assert set(DecisionRecord.__struct_fields__) == ALLOWED_FIELDS


def test_a_line_says_who_what_where_and_why() -> None:
    sink = io.BytesIO()
    log = DecisionLog(sink)
    log.write((1_764_000_000.5, "r-1", "/check", ALLOW, 0.000012), allowed=True)
    log.write((1_764_000_001.0, "r-2", "/check", DENY, 0.000007), allowed=False)
    log.close()
    allow, deny = lines(sink)
    assert allow["time"] == "2025-11-24T16:00:00.500+00:00"
    assert (allow["user"], allow["section"], allow["action"]) == (ALLOW.user.id, "billing", "view")  # type: ignore[union-attr]
    assert (allow["decision"], allow["reason"], allow["rule"]) == (True, "allowed", "policy/policy.csv:12")
    assert allow["duration_us"] == 12
    assert (deny["user"], deny["decision"], deny["reason"], deny["rule"]) == ("", False, "missing_token", None)
    assert set(allow) == ALLOWED_FIELDS


def test_allows_are_sampled_and_denials_are_all_kept() -> None:
    sink = io.BytesIO()
    log = DecisionLog(sink, allows=0.25)
    for _ in range(100):
        log.write((0.0, "r", "/check", ALLOW, 0.0), allowed=True)
        log.write((0.0, "r", "/check", DENY, 0.0), allowed=False)
    log.close()
    kept = [line["decision"] for line in lines(sink)]
    assert (kept.count(True), kept.count(False)) == (25, 100)


class Stuck:
    def write(self, _lines: bytes, /) -> int:
        return 0


def test_what_cannot_be_kept_is_counted_and_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_log, "QUEUE", 10)
    dropped: list[int] = []
    log = DecisionLog(Stuck(), dropped=lambda: dropped.append(1))
    log._stop.set()
    log._thread.join()  # nobody empties the queue now
    for _ in range(15):
        log.write((0.0, "r", "/check", DENY, 0.0), allowed=False)
    assert len(dropped) == 5
    log._flush()
    assert len(dropped) == 15


@pytest.mark.parametrize("request_id", ["r-1", 'with "quotes" and \\', "ü\u2028", "", "tab\there"])
@pytest.mark.parametrize("decision", [ALLOW, DENY])
def test_a_line_is_the_record_encoded(request_id: str, decision: Decision) -> None:
    when, user = 1_764_000_000.25, decision.user
    record = DecisionRecord(
        time=datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds"),
        kind="decision",
        request_id=request_id,
        endpoint="/check",
        account=user.account if user else "",
        user=user.id if user else "",
        role=user.role if user else "",
        section=decision.section,
        action=decision.action,
        decision=decision.allowed,
        reason=decision.reason.value,
        rule=decision.rule,
        generation=decision.generation,
        duration_us=12,
    )
    written = Lines()
    plain = request_id.replace("-", "").isalnum() and request_id.isascii()
    before = [middle_of("/check", decision)] if plain else []
    for told in (decision, decision, *before):  # composed, remembered, worked out before
        (line,) = written.lines([(when, request_id, "/check", told, 0.000012)])
        assert line.encode() == msgspec.json.encode(record) + b"\n"


def test_what_is_remembered_of_a_user_goes_with_its_role() -> None:
    written = Lines()
    for role in ("accountant", "marketer"):
        decision = Decision(Reason.ALLOWED, "g", None, user("b", role), "billing", "view")
        (line,) = written.lines([(0.0, "r", "/check", decision, 0.0)])
        assert json.loads(line)["role"] == role


def test_more_lines_than_a_turn_are_all_written_in_order() -> None:
    sink = io.BytesIO()
    log = DecisionLog(sink)
    for number in range(1000):
        log.write((float(number), f"r-{number}", "/check", DENY, 0.0), allowed=False)
    log.close()
    assert [line["request_id"] for line in lines(sink)] == [f"r-{number}" for number in range(1000)]


def test_a_record_that_cannot_be_encoded_takes_no_other_with_it() -> None:
    sink = io.BytesIO()
    dropped: list[int] = []
    log = DecisionLog(sink, dropped=lambda: dropped.append(1))
    log.write((0.0, "r-1", "/check", Decision(Reason.NO_RULE, "g", section="\ud800"), 0.0), allowed=False)
    log.write((0.0, "r-2", "/check", DENY, 0.0), allowed=False)
    log.close()
    assert [line["request_id"] for line in lines(sink)] == ["r-2"]
    assert len(dropped) == 1


def test_a_file_that_is_renamed_is_left_at_a_turns_end_and_no_line_is_lost(tmp_path: Path) -> None:
    path, total, dropped = tmp_path / "decisions.jsonl", 5_000, [0]
    file = LineFile(path)
    log = DecisionLog(file, dropped=lambda: dropped.append(1), reopen=file.reopen)
    for number in range(total):
        log.write((float(number), f"r-{number}", "/check", DENY, 0.0), allowed=False)
        if number % 1_000 == 500:
            path.rename(tmp_path / f"decisions.jsonl.{number // 1_000}")
            log.rotate()
            until(path.exists)
    log.close()
    file.close()
    files = [*(tmp_path / f"decisions.jsonl.{number}" for number in range(5)), path]
    seen = [json.loads(line)["request_id"] for file in files for line in file.read_bytes().splitlines()]
    assert seen == [f"r-{number}" for number in range(total)]
    assert dropped == [0]


def test_a_file_that_cannot_be_opened_anew_is_written_on_and_that_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    file = LineFile(folder / "decisions.jsonl")
    log = DecisionLog(file, reopen=file.reopen)
    folder.rename(tmp_path / "elsewhere")
    with capture_logs() as said:
        log.rotate()
        log.write((0.0, "r-1", "/check", DENY, 0.0), allowed=False)
        log.close()
    file.close()
    assert b'"r-1"' in (tmp_path / "elsewhere" / "decisions.jsonl").read_bytes()
    assert ["cannot be opened anew" in line["event"] for line in said] == [True]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
