"""The decision log. The record type *is* the allow-list: what has no field here cannot be logged.

Written off the path: a check leaves a tuple in a bounded queue, a thread encodes and writes. When it does not keep up
the newest records are dropped and counted; a check never waits for a disk.
"""

import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import BinaryIO

import msgspec

from sidecar.vocabulary.decision import Decision

QUEUE = 65_536
"""Records. At twenty thousand checks a second, three seconds of a stuck disk."""

FLUSH_SECONDS = 0.1


class DecisionRecord(msgspec.Struct, frozen=True, omit_defaults=False):
    """One line. ``duration_us`` is the time from question to decision; ``rule`` is ``policy/policy.csv:LINE``."""

    time: str
    kind: str
    request_id: str
    endpoint: str
    account: str
    user: str
    role: str
    section: str
    action: str
    decision: bool
    reason: str
    rule: str | None
    generation: str
    duration_us: int


Entry = tuple[float, str, str, Decision, float]
"""When (Unix seconds), request id, endpoint, decision, how long (seconds)."""


class DecisionLog:
    """A bounded queue and its writer. ``allows``: the share of allows that is kept; every denial always is."""

    def __init__(self, sink: BinaryIO, *, allows: float = 1.0, dropped: Callable[[], None] = lambda: None) -> None:
        self._sink = sink
        self._allows = allows
        self._credit = 0.0
        self._dropped = dropped
        self._entries: deque[Entry] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    def write(self, entry: Entry) -> None:
        """Never blocks, never raises."""
        if self._allows < 1 and entry[3].allowed:
            self._credit += self._allows
            if self._credit < 1:
                return
            self._credit -= 1
        if len(self._entries) >= QUEUE:
            self._dropped()
            return
        self._entries.append(entry)

    def close(self) -> None:
        """Write what waits, then stop. Bounded by one flush."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        encode = msgspec.json.Encoder().encode
        lines: list[bytes] = []
        while self._entries and len(lines) < QUEUE:
            lines.append(encode(_record(self._entries.popleft())))
        if not lines:
            return
        try:
            self._sink.write(b"\n".join(lines) + b"\n")
            self._sink.flush()
        except (OSError, ValueError):  # a full disk, a closed pipe: the answers go on, the loss is counted
            for _ in lines:
                self._dropped()


def _record(entry: Entry) -> DecisionRecord:
    when, request_id, endpoint, decision, seconds = entry
    user = decision.user
    return DecisionRecord(
        time=datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds"),
        kind="decision",
        request_id=request_id,
        endpoint=endpoint,
        account=user.account if user else "",
        user=user.id if user else "",
        role=user.role if user else "",
        section=decision.section,
        action=decision.action,
        decision=decision.allowed,
        reason=decision.reason.value,
        rule=decision.rule,
        generation=decision.generation,
        duration_us=round(seconds * 1e6),
    )
