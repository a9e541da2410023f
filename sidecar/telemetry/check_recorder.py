"""Buffers check results for metrics and the decision log.

The log text of a repeated decision is cached, so the request path does one list append. Counting and encoding happen in
batches on the event loop, after the responses. In a batch, a line takes a third of the time, because code and data are
still in the CPU cache. Encoding in a thread evicted that cache and cost more than it saved. Measured per check: 3.4 µs
one by one or with such a thread, 1.2 µs in batches. The thread of the `DecisionLog` only writes.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from math import inf
from operator import sub
from time import perf_counter, time
from typing import Any, Final

import msgspec

from sidecar.domain.caching import FifoCache
from sidecar.domain.decision import Decision
from sidecar.telemetry.decision_log import DecisionLog, middle_of
from sidecar.telemetry.metrics import Count, Metrics

BATCH: Final = 128
"""Checks per batch, or more if one read from a client contained more.

A hundred checks take about 100 µs, during which other callbacks of the loop wait.
"""

SETTLE_SECONDS: Final = 0.1
"""Longest wait of a check for its log line at low load."""

MAX_KEPT: Final = 20_000
"""Maximum number of cached kinds of decisions, of about 500 bytes each.

Decisions with names that the policy does not define are not cached.
"""

_ENDS: Final = tuple(b"%d}\n" % micros for micros in range(1000))


class LogEntryTemplate(msgspec.Struct, frozen=True, gc=False):
    """Counter and log text of one kind of decision. ``line`` is empty when the decision log is off.

    ``endpoint`` and ``attributes``: those of a traced check's span, while tracing is on.
    """

    counter: Count
    line: bytes
    allowed: bool
    decision: Decision
    endpoint: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


class CheckRecorder:
    """Recorder of one worker, for use on the event loop only. ``soon``: the loop's `call_soon`.

    ``log`` None: the decision log is off. ``allows``: the share of allows that is logged, as ``sampled`` in
    the line of each of them. Every denial is logged.
    """

    def __init__(
        self,
        metrics: Metrics,
        log: DecisionLog | None = None,
        *,
        allows: float = 1.0,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._checks = metrics.checks
        self._log = log
        self._allows = allows
        self._credit = 0.0
        self._soon = call_soon
        self._kept: FifoCache[tuple[object, ...], LogEntryTemplate] = FifoCache(MAX_KEPT)
        self.shadow: Callable[[Sequence[LogEntryTemplate]], None] | None = None
        """Counter of the decisions that a candidate would change; None without one. Receives whole batches."""
        self._entries: list[Any] = []  # flat, four values per check: a tuple per check would double the cost
        metrics.before_scrape(self.flush)

    def log_entry(self, endpoint: str, decision: Decision, label: str) -> LogEntryTemplate:
        """Return the counter and log text of ``decision``.

        ``label``: its section if the policy in force defines it, else empty, because requests must not create metric
        labels.
        """
        user = decision.user
        key = (
            endpoint,
            decision.reason,
            decision.section,
            decision.action,
            decision.rule,
            decision.generation,
            label,
            decision.missing,
            decision.known,
            *((user.id, user.role) if user is not None else ()),
        )
        reported = self._kept.get(key)
        if reported is None:
            line = b"" if self._log is None else middle_of(endpoint, decision, self._allows)
            reported = self._template(endpoint, decision, label, line)
            if decision.section == label:  # else the name comes from the request: unbounded
                self._kept.set(key, reported)
        return reported

    def _template(self, endpoint: str, decision: Decision, label: str, line: bytes) -> LogEntryTemplate:
        counter = self._checks.counter(endpoint, decision, label)
        return LogEntryTemplate(counter, line, decision.allowed, decision)

    def record(self, reported: LogEntryTemplate, request_id: bytes, started: float, ended: float) -> None:
        """Record a completed check. Never raises.

        ``started`` and ``ended`` are `perf_counter` seconds. ``request_id`` is escaped for JSON, without quotes.
        """
        entries = self._entries
        entries += (reported, request_id, started, ended)
        if len(entries) == 4 * BATCH:
            self._soon(self.flush)

    async def keep(self) -> None:
        """Flush incomplete batches until cancelled."""
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            self.flush()

    def flush(self) -> None:
        """Count and log the recorded checks."""
        entries = self._entries
        if not entries:
            return
        self._entries = []
        kinds, ids, started, ended = entries[0::4], entries[1::4], entries[2::4], entries[3::4]
        seconds = list(map(sub, ended, started))
        self._checks.count([reported.counter for reported in kinds], seconds)
        if self.shadow is not None:
            self.shadow(kinds)
        if self._log is None:
            return
        answers = zip(kinds, ids, ended, seconds, strict=True)
        if self._allows < 1:
            if kept := [answer for answer in answers if not answer[0].allowed or self._chosen()]:
                self._log.write(_lines(kept), len(kept))
        else:
            self._log.write(_lines(answers), len(kinds))

    def _chosen(self) -> bool:
        """Return True if this allow belongs to the logged share."""
        self._credit += self._allows
        if self._credit < 1:
            return False
        self._credit -= 1
        return True


def _lines(answers: Iterable[tuple[LogEntryTemplate, bytes, float, float]]) -> bytes:
    """Return log lines. Each item: log text, request id, end (`perf_counter` seconds), duration (seconds)."""
    pieces: list[bytes] = []
    epoch = time() - perf_counter()
    begin, until = b"", -inf
    for reported, request_id, at, took in answers:
        if at >= until:
            millisecond = int((epoch + at) * 1000)
            begin, until = _begin(millisecond), (millisecond + 1) / 1000 - epoch
        micros = int(took * 1e6 + 0.5)
        pieces += (begin, request_id, reported.line, _ENDS[micros] if micros < len(_ENDS) else b"%d}\n" % micros)
    return b"".join(pieces)


def _begin(millisecond: int) -> bytes:
    moment = datetime.fromtimestamp(millisecond / 1000, UTC).isoformat(timespec="milliseconds")
    return f'{{"time":"{moment}","kind":"decision","request_id":"'.encode("ascii")
