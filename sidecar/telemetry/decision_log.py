"""The decision log. The record type *is* the allow-list: what has no field here cannot be logged.

Written off the path: a check leaves a tuple in a bounded queue, a thread encodes and writes. When it does not keep up
the newest records are dropped and counted; a check never waits for a disk. The thread shares one interpreter with the
loop, so it works in short turns, and what many lines have in common is encoded once.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from time import sleep
from typing import Final, Protocol

import msgspec

from sidecar.telemetry.logs import logger
from sidecar.vocabulary.decision import Decision
from sidecar.vocabulary.recent import Recent

QUEUE = 65_536
"""Records. At twenty thousand checks a second, three seconds of a stuck disk."""

FLUSH_SECONDS = 0.1
TURN: Final = 256
"""Lines a turn: the loop waits for the interpreter no longer than they take, some hundred microseconds."""

REST_SECONDS: Final = 0.004
"""Between two turns. Without it the thread would have the interpreter back before the loop has woken up; and each time
that it wakes costs as much as twenty lines."""

_log = logger("telemetry")

MAX_KEPT: Final = 20_000
"""Middles that are remembered, of some 300 bytes each."""


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


Entry = tuple[float, str, str, Decision | str, float]
"""When (Unix seconds), request id, endpoint, decision, how long (seconds). In place of a decision that is made again
and again stands what `middle_of` says of it; the request id beside it holds nothing that JSON would escape."""


class Sink(Protocol):
    """What takes the lines: see `LineFile`."""

    def write(self, lines: bytes, /) -> int: ...


class DecisionLog:
    """A bounded queue and its writer. ``allows``: the share of allows that is kept; every denial always is.

    ``reopen`` is called by the writer between two turns, so that no line is lost or torn by it.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        allows: float = 1.0,
        dropped: Callable[[], None] = lambda: None,
        reopen: Callable[[], None] = lambda: None,
    ) -> None:
        self._sink = sink
        self._allows = allows
        self._credit = 0.0
        self._dropped = dropped
        self._reopen = reopen
        self._rotated = threading.Event()
        self._entries: deque[Entry] = deque()
        self._lines = Lines()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    def write(self, entry: Entry, *, allowed: bool) -> None:
        """Never blocks, never raises."""
        if self._allows < 1 and allowed:
            self._credit += self._allows
            if self._credit < 1:
                return
            self._credit -= 1
        if len(self._entries) >= QUEUE:
            self._dropped()
            return
        self._entries.append(entry)

    def rotate(self) -> None:
        """The file may have been renamed (SIGHUP): the writer opens it anew, soon. Never blocks, never raises."""
        self._rotated.set()

    def close(self) -> None:
        """Write what waits, then stop. Bounded by one flush."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        """What waits, turn by turn. Rests in between, but not at the end, nor when the queue is half full."""
        entries = self._entries
        self._follow()
        while entries:
            turn = [entries.popleft() for _ in range(min(len(entries), TURN))]
            lines = self._written(turn)
            taken = self._sink.write(lines)
            for _ in range(lines.count(b"\n", taken)):  # a full disk, a closed pipe: the answers go on
                self._dropped()
            self._follow()
            if len(entries) < QUEUE // 2 and not self._stop.is_set():
                sleep(REST_SECONDS)

    def _follow(self) -> None:
        if not self._rotated.is_set():
            return
        self._rotated.clear()
        try:
            self._reopen()
        except OSError as error:
            _log.error("the decision log cannot be opened anew; what is open is written on", error=str(error))

    def _written(self, turn: list[Entry]) -> bytes:
        """One that cannot be written is counted, and takes no other down with it."""
        try:
            return "".join(self._lines.lines(turn)).encode()
        except Exception:
            return b"".join(map(self._written_alone, turn))

    def _written_alone(self, entry: Entry) -> bytes:
        try:
            return "".join(self._lines.lines((entry,))).encode()
        except Exception:
            self._dropped()
            return b""


class Lines:
    """Records as lines of JSON. From one to the next only time, request id and duration are new; what is between those
    is found by what it says."""

    def __init__(self) -> None:
        self._middles: Recent[tuple[str | None, ...], str] = Recent(MAX_KEPT)
        self._millisecond = -1
        self._begin = ""

    def lines(self, entries: Iterable[Entry]) -> list[str]:
        written = []
        for when, request_id, endpoint, decision, seconds in entries:
            millisecond = int(when * 1000)
            if millisecond != self._millisecond:
                self._millisecond = millisecond
                moment = datetime.fromtimestamp(millisecond / 1000, UTC).isoformat(timespec="milliseconds")
                self._begin = f'{{"time":"{moment}","kind":"decision","request_id":'
            micros = int(seconds * 1e6 + 0.5)
            if isinstance(decision, str):
                written.append(f'{self._begin}"{request_id}"{decision}{micros}}}\n')
            else:
                middle = self._middle(endpoint, decision)
                written.append(f"{self._begin}{_quoted(request_id)}{middle}{micros}}}\n")
        return written

    def _middle(self, endpoint: str, decision: Decision) -> str:
        """From behind the request id to the duration's value."""
        user = decision.user
        key = (
            endpoint,
            decision.reason,
            decision.section,
            decision.action,
            decision.rule,
            decision.generation,
            *((user.id, user.role) if user is not None else ()),
        )
        middle = self._middles.get(key)
        if middle is None:
            middle = middle_of(endpoint, decision)
            self._middles.put(key, middle)
        return middle


_HEAD: Final = '{"time":"","kind":"decision","request_id":""'
_TAIL: Final = "0}"


def middle_of(endpoint: str, decision: Decision) -> str:
    """Of a decision's line, what stands between request id and duration. Cut out of a whole record, so that no line can
    say what a record has no field for."""
    user = decision.user
    record = DecisionRecord(
        time="",
        kind="decision",
        request_id="",
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
        duration_us=0,
    )
    return msgspec.json.encode(record).decode()[len(_HEAD) : -len(_TAIL)]


def _quoted(text: str) -> str:
    """As JSON. A request id of ours needs no escape; one that AuthZEN has repeated may."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return msgspec.json.encode(text).decode()
