"""Decision log: the record type of a line, and the thread that writes lines.

The record type is the allow-list: a value without a field cannot be logged. Lines arrive in blocks and wait in a
bounded queue. If the disk is too slow, the newest lines are dropped and counted. Checks never wait for the disk.
"""

import threading
from collections import deque
from collections.abc import Callable
from time import sleep
from typing import Final, Protocol

import msgspec

from sidecar.domain.decision import Decision, KnownFacts
from sidecar.telemetry.app_log import logger

QUEUE_BYTES = 32 * 1024 * 1024
"""Maximum size of queued lines. A line has 350 bytes unless its request id is long.

At 20,000 checks per second this covers four seconds of a blocked disk.
"""

TURN_BYTES: Final = 256 * 1024
REST_SECONDS: Final = 0.02
"""Pause between two turns.

Each wake-up of the thread takes the interpreter from the loop for the time of about twenty lines.
"""

_log = logger("telemetry")


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Log line. ``duration_us`` is the time from request to decision. ``rule`` is ``policy/policy.csv:LINE``.

    Only lines of cells with needs have ``unmet`` and ``classes``. ``unmet``: names of conditions that would do.
    ``classes``: the facts that were known, in coarse form. Only an allow of a sampled log has ``sampled``: the share of
    allows that is logged. Only a traced check has ``trace_id``.
    """

    time: str
    kind: str
    request_id: str
    trace_id: str = ""
    endpoint: str
    account: str
    user: str
    role: str
    section: str
    action: str
    decision: bool
    reason: str
    cause: str
    rule: str | None
    generation: str
    unmet: tuple[str, ...] = ()
    classes: KnownFacts | None = None
    sampled: float | None = None
    duration_us: int


_HEAD: Final = b'{"time":"","kind":"decision","request_id":"'
_TAIL: Final = b"0}"


def middle_of(endpoint: str, decision: Decision, allows: float = 1.0) -> bytes:
    """Return the part of a decision's line between the request id and the duration.

    It is cut out of a whole encoded record, so a line contains only fields of the record. ``allows``: the share of
    allows that is logged.
    """
    user = decision.user
    record = DecisionRecord(
        time="",
        kind="decision",
        request_id="",
        endpoint=endpoint,
        account=user.account if user else "",
        user=user.id if user else "",
        role=user.role if user else "",
        section=_writable(decision.section),
        action=_writable(decision.action),
        decision=decision.allowed,
        reason=decision.reason.value,
        cause=decision.cause,
        rule=decision.rule,
        generation=decision.generation,
        unmet=decision.missing.names if decision.missing else (),
        classes=decision.known,
        sampled=allows if decision.allowed and allows < 1 else None,
        duration_us=0,
    )
    return msgspec.json.encode(record)[len(_HEAD) : -len(_TAIL)]


def _writable(text: str) -> str:
    """Replace lone surrogates by ``?``, because they cannot be encoded."""
    return text.encode("utf-8", "replace").decode("utf-8")


def in_quotes(text: str) -> bytes:
    """Return ``text`` escaped for JSON, without quotes.

    Generated request ids need no escape. Request ids echoed by AuthZEN may.
    """
    return msgspec.json.encode(text)[1:-1]


def with_trace(request_id: bytes, trace_id: str) -> bytes:
    """Return a request id, as it is put into a line, with the member ``trace_id`` behind it."""
    return b'%b","trace_id":"%b' % (request_id, trace_id.encode("ascii"))


class LineSink(Protocol):
    """Destination of log lines, see `LogFile`. Protocol: tests block it and make it fail."""

    def write(self, lines: bytes, /) -> int: ...


class DecisionLog:
    """Bounded queue of blocks and its writer thread.

    ``dropped`` receives the number of lost lines, from either thread. The writer calls ``reopen`` between two turns, so
    that no line is lost or torn.
    """

    def __init__(
        self,
        sink: LineSink,
        *,
        dropped: Callable[[int], None] = lambda _lines: None,
        reopen: Callable[[], None] = lambda: None,
    ) -> None:
        self._sink = sink
        self._dropped = dropped
        self._reopen = reopen
        self._rotated = threading.Event()
        self._blocks: deque[bytes] = deque()
        self._queued_bytes = 0  # each of the two counters has one writing thread
        self._done_bytes = 0
        self._wake = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    def write(self, block: bytes, lines: int) -> None:
        """Queue whole lines; ``lines`` is their number. Never blocks, never raises."""
        if self._waiting() + len(block) > QUEUE_BYTES:
            self._dropped(lines)
            return
        self._queued_bytes += len(block)
        self._blocks.append(block)
        self._wake.set()

    def rotate(self) -> None:
        """Request reopening of the file after a rename (SIGHUP). Never blocks, never raises."""
        self._rotated.set()
        self._wake.set()

    def close(self) -> None:
        """Write the queued lines, then stop. Waits at most five seconds."""
        self._stop = True
        self._wake.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop:
            self._wake.wait()
            self._wake.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        """Write the queue in turns. Pause between turns, except when closing or when the queue is half full."""
        self._follow()
        while self._blocks:
            lines = self._turn()
            taken = self._written(lines)
            if taken < len(lines):  # full disk or closed pipe: checks continue
                self._dropped(lines.count(b"\n", taken))
            self._done_bytes += len(lines)
            self._follow()
            if self._waiting() < QUEUE_BYTES // 2 and not self._stop:
                sleep(REST_SECONDS)

    def _waiting(self) -> int:
        return self._queued_bytes - self._done_bytes

    def _turn(self) -> bytes:
        blocks, size = [], 0
        while self._blocks and size < TURN_BYTES:
            blocks.append(self._blocks.popleft())
            size += len(blocks[-1])
        return b"".join(blocks)

    def _written(self, lines: bytes) -> int:
        """Write ``lines`` and return the number of bytes written. Log any exception, so that the thread continues."""
        try:
            return self._sink.write(lines)
        except Exception:
            _log.exception("decision log write failed")
            return 0

    def _follow(self) -> None:
        if not self._rotated.is_set():
            return
        self._rotated.clear()
        try:
            self._reopen()
        except OSError as error:
            _log.error("decision log reopen failed, writing to the open file", error=str(error))
