"""The decision log: an allow-list by type, written off the loop, bounded, losses counted."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sidecar.telemetry import decision_log
from sidecar.telemetry.decision_log import DecisionLog, DecisionRecord
from sidecar.telemetry.log_file import LogFile

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
    "cause",
    "rule",
    "generation",
    "unmet",
    "classes",
    "sampled",
    "trace_id",
    "duration_us",
}


class Stuck:
    def write(self, _lines: bytes, /) -> int:
        return 0


class FullDisk:
    """A disk that is full in the middle of the third line."""

    def write(self, _lines: bytes, /) -> int:
        return 5


def test_the_record_type_is_the_allow_list() -> None:
    assert set(DecisionRecord.__struct_fields__) == ALLOWED_FIELDS


def test_blocks_are_written_whole_and_in_order() -> None:
    sink = io.BytesIO()
    log = DecisionLog(sink)
    for number in range(1000):
        log.write(b"%d\n" % number * 400, 400 if number % 50 == 0 else 1)
    log.close()
    assert sink.getvalue() == b"".join(b"%d\n" % number * 400 for number in range(1000))


def test_what_waits_is_bounded_and_what_is_lost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_log, "QUEUE_BYTES", 20)
    dropped: list[int] = []
    log = DecisionLog(Stuck(), dropped=dropped.append)
    log.close()  # no writer empties the queue now
    for _ in range(5):
        log.write(b"1\n2\n3\n", 3)
    assert dropped == [3, 3], "eighteen bytes wait, and twenty fit"
    log._flush()
    assert sum(dropped) == 15, "the disk accepted none of the waiting bytes"
    log.write(b"1\n", 1)
    assert sum(dropped) == 15, "space is free again"


def test_the_writer_outlives_what_it_cannot_write() -> None:
    written: list[bytes] = []

    class Odd:
        def write(self, lines: bytes, /) -> int:
            if b"bad" in lines:
                raise MemoryError
            written.append(lines)
            return len(lines)

    dropped: list[int] = []
    log = DecisionLog(Odd(), dropped=dropped.append)
    with capture_logs() as said:
        log.write(b"bad\n", 1)
        until(lambda: dropped == [1])
        log.write(b"good\n", 1)
        log.close()
    assert b"".join(written) == b"good\n"
    assert ["write failed" in line["event"] for line in said] == [True]


def test_of_a_block_that_is_not_taken_whole_the_rest_is_counted() -> None:
    dropped: list[int] = []
    log = DecisionLog(FullDisk(), dropped=dropped.append)
    log.write(b"1\n2\n3\n4\n", 4)
    log.close()
    assert dropped == [2]


def test_a_line_is_written_soon_though_no_other_follows() -> None:
    sink = io.BytesIO()
    log = DecisionLog(sink)
    log.write(b"1\n", 1)
    until(lambda: sink.getvalue() == b"1\n")
    log.write(b"2\n", 1)
    until(lambda: sink.getvalue() == b"1\n2\n")
    log.close()


def test_a_renamed_file_is_left_after_a_batch_losing_no_line(tmp_path: Path) -> None:
    path, total, dropped = tmp_path / "decisions.jsonl", 5_000, [0]
    file = LogFile(path)
    log = DecisionLog(file, dropped=dropped.append, reopen=file.reopen)
    for number in range(total):
        log.write(b"%d\n" % number, 1)
        if number % 1_000 == 500:
            path.rename(tmp_path / f"decisions.jsonl.{number // 1_000}")
            log.rotate()
            until(path.exists)
    log.close()
    file.close()
    files = [*(tmp_path / f"decisions.jsonl.{number}" for number in range(5)), path]
    seen = [int(line) for file in files for line in file.read_bytes().splitlines()]
    assert seen == list(range(total))
    assert dropped == [0]


def test_a_file_that_cannot_be_reopened_is_kept_and_reported(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    file = LogFile(folder / "decisions.jsonl")
    log = DecisionLog(file, reopen=file.reopen)
    folder.rename(tmp_path / "elsewhere")
    with capture_logs() as said:
        log.rotate()
        log.write(b"1\n", 1)
        log.close()
    file.close()
    assert (tmp_path / "elsewhere" / "decisions.jsonl").read_bytes() == b"1\n"
    assert ["reopen failed" in line["event"] for line in said] == [True]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
