"""What was answered, until it is counted and logged.

What is said of a decision that comes again is known, so on a check's path stands one append. The rest is done for many
at once, on the loop, behind the answers: what one line takes is a third of that when code and data are still warm from
the line before, and a thread that encoded the lines made the loop colder than that saved it (measured: 3.4 µs a check,
one by one and with such a thread; 1.2 µs like this). The thread of the `DecisionLog` only writes.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import inf
from operator import sub
from time import perf_counter, time
from typing import Any, Final

import msgspec

from sidecar.domain.caching import FifoCache
from sidecar.domain.decision import Decision
from sidecar.telemetry.decision_log import DecisionLog, middle_of
from sidecar.telemetry.metrics import Metrics, Tally

BATCH: Final = 128
"""Checks, or what one read from a client held of them, if that was more. A hundred take some 100 µs, for which the
loop's other calls wait."""

SETTLE_SECONDS: Final = 0.1
"""How long a check that few others follow waits for its line."""

MAX_KEPT: Final = 20_000
"""Kinds of decisions that are remembered, of some 500 bytes each. Of names that the policy does not know none is."""

_ENDS: Final = tuple(b"%d}\n" % micros for micros in range(1000))


class Told(msgspec.Struct, frozen=True, gc=False):
    """How decisions of one kind are counted and logged. ``line``: what `middle_of` says; empty when the log is off."""

    tally: Tally
    line: bytes
    allowed: bool


class Logbook:
    """One a worker; for the loop alone. ``soon``: the loop's `call_soon`. ``log`` None: the decision log is off.

    ``allows``: the share of allows that is logged; every denial always is.
    """

    def __init__(
        self,
        metrics: Metrics,
        log: DecisionLog | None = None,
        *,
        allows: float = 1.0,
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._checks = metrics.checks
        self._log = log
        self._allows = allows
        self._credit = 0.0
        self._soon = soon
        self._kept: FifoCache[tuple[str | None, ...], Told] = FifoCache(MAX_KEPT)
        self._entries: list[Any] = []  # by fours, as `record` takes them: a tuple for each would cost as much again
        metrics.before_scrape(self.settle)

    def told(self, endpoint: str, decision: Decision, label: str) -> Told:
        """What is counted and logged of ``decision``. ``label``: its section, if it is of the policy in force, else
        empty: a request must not mint labels of a metric."""
        user = decision.user
        key = (
            endpoint,
            decision.reason,
            decision.section,
            decision.action,
            decision.rule,
            decision.generation,
            label,
            *((user.id, user.role) if user is not None else ()),
        )
        told = self._kept.get(key)
        if told is None:
            line = b"" if self._log is None else middle_of(endpoint, decision)
            told = Told(self._checks.tally(endpoint, decision, label), line, decision.allowed)
            if decision.section == label:  # else the request has made it up, and can make up more
                self._kept.set(key, told)
        return told

    def record(self, told: Told, request_id: bytes, started: float, ended: float) -> None:
        """A check answered. ``started`` and ``ended`` are of `perf_counter`; ``request_id`` is as it stands between the
        quotes of JSON. Never raises."""
        entries = self._entries
        entries += (told, request_id, started, ended)
        if len(entries) == 4 * BATCH:
            self._soon(self.settle)

    async def keep(self) -> None:
        """Settles what does not fill a batch."""
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            self.settle()

    def settle(self) -> None:
        """Count and log what was recorded."""
        entries = self._entries
        if not entries:
            return
        self._entries = []
        kinds, ids, started, ended = entries[0::4], entries[1::4], entries[2::4], entries[3::4]
        seconds = list(map(sub, ended, started))
        self._checks.count([told.tally for told in kinds], seconds)
        if self._log is None:
            return
        answers = zip(kinds, ids, ended, seconds, strict=True)
        if self._allows < 1:
            if kept := [answer for answer in answers if not answer[0].allowed or self._chosen()]:
                self._log.write(_lines(kept), len(kept))
        else:
            self._log.write(_lines(answers), len(kinds))

    def _chosen(self) -> bool:
        """Is this allow one of the share that is logged?"""
        self._credit += self._allows
        if self._credit < 1:
            return False
        self._credit -= 1
        return True


def _lines(answers: Iterable[tuple[Told, bytes, float, float]]) -> bytes:
    """Each: how it is logged, request id, when (of `perf_counter`), how long (seconds)."""
    pieces: list[bytes] = []
    epoch = time() - perf_counter()
    begin, until = b"", -inf
    for told, request_id, at, took in answers:
        if at >= until:
            millisecond = int((epoch + at) * 1000)
            begin, until = _begin(millisecond), (millisecond + 1) / 1000 - epoch
        micros = int(took * 1e6 + 0.5)
        pieces += (begin, request_id, told.line, _ENDS[micros] if micros < len(_ENDS) else b"%d}\n" % micros)
    return b"".join(pieces)


def _begin(millisecond: int) -> bytes:
    moment = datetime.fromtimestamp(millisecond / 1000, UTC).isoformat(timespec="milliseconds")
    return f'{{"time":"{moment}","kind":"decision","request_id":"'.encode("ascii")
