"""The decision log: what a line may hold, and the thread that writes lines.

The record type *is* the allow-list: what has no field here cannot be logged. Lines come as blocks from a `Logbook` and
wait in a bounded queue. When the disk does not keep up the newest are dropped and counted; nobody waits for a disk.
"""

import threading
from collections import deque
from collections.abc import Callable
from time import sleep
from typing import Final, Protocol

import msgspec

from sidecar.domain.decision import Decision
from sidecar.telemetry.app_log import logger

QUEUE_BYTES = 32 * 1024 * 1024
"""Of lines, 350 bytes each unless a request id is long. At twenty thousand checks a second, four seconds of a stuck
disk."""

TURN_BYTES: Final = 256 * 1024
REST_SECONDS: Final = 0.02
"""Between two turns: each time that the thread wakes it takes the interpreter from the loop, for some twenty lines'
worth of time."""

_log = logger("telemetry")


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
    cause: str
    rule: str | None
    generation: str
    duration_us: int


_HEAD: Final = b'{"time":"","kind":"decision","request_id":"'
_TAIL: Final = b"0}"


def middle_of(endpoint: str, decision: Decision) -> bytes:
    """Of a decision's line, what stands from behind the request id to the duration. Cut out of a whole record, so that
    no line can say what a record has no field for."""
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
        duration_us=0,
    )
    return msgspec.json.encode(record)[len(_HEAD) : -len(_TAIL)]


def _writable(text: str) -> str:
    """Half a surrogate pair is no text and cannot be encoded; the line says ``?`` for it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def in_quotes(text: str) -> bytes:
    """As it stands between the quotes of a line. A request id of ours needs no escape; one that AuthZEN has repeated
    may."""
    return msgspec.json.encode(text)[1:-1]


class Sink(Protocol):
    """What takes the lines: see `LineFile`."""

    def write(self, lines: bytes, /) -> int: ...


class DecisionLog:
    """A bounded queue of blocks and its writer. ``dropped`` hears how many lines were lost, in either thread.

    ``reopen`` is called by the writer between two turns, so that no line is lost or torn by it.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        dropped: Callable[[int], None] = lambda _lines: None,
        reopen: Callable[[], None] = lambda: None,
    ) -> None:
        self._sink = sink
        self._dropped = dropped
        self._reopen = reopen
        self._rotated = threading.Event()
        self._blocks: deque[bytes] = deque()
        self._given = 0  # bytes; each of the two is counted up by one thread
        self._done = 0
        self._wake = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    def write(self, block: bytes, lines: int) -> None:
        """Whole lines, and how many there are. Never blocks, never raises."""
        if self._waiting() + len(block) > QUEUE_BYTES:
            self._dropped(lines)
            return
        self._given += len(block)
        self._blocks.append(block)
        self._wake.set()

    def rotate(self) -> None:
        """The file may have been renamed (SIGHUP): the writer opens it anew, soon. Never blocks, never raises."""
        self._rotated.set()
        self._wake.set()

    def close(self) -> None:
        """Write what waits, then stop. Waits five seconds for it, at most."""
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
        """What waits, turn by turn. Rests in between, but not at the end, nor when the queue is half full."""
        self._follow()
        while self._blocks:
            lines = self._turn()
            taken = self._written(lines)
            if taken < len(lines):  # a full disk, a closed pipe: the answers go on
                self._dropped(lines.count(b"\n", taken))
            self._done += len(lines)
            self._follow()
            if self._waiting() < QUEUE_BYTES // 2 and not self._stop:
                sleep(REST_SECONDS)

    def _waiting(self) -> int:
        return self._given - self._done

    def _turn(self) -> bytes:
        blocks, size = [], 0
        while self._blocks and size < TURN_BYTES:
            blocks.append(self._blocks.popleft())
            size += len(blocks[-1])
        return b"".join(blocks)

    def _written(self, lines: bytes) -> int:
        """How many bytes were taken. Whatever goes wrong with these, the thread lives on for the next."""
        try:
            return self._sink.write(lines)
        except Exception:
            _log.exception("lines of the decision log could not be written")
            return 0

    def _follow(self) -> None:
        if not self._rotated.is_set():
            return
        self._rotated.clear()
        try:
            self._reopen()
        except OSError as error:
            _log.error("the decision log cannot be opened anew; what is open is written on", error=str(error))
