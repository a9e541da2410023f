"""State of each partition of the store: single source for probes, metrics, the decision log and the application log.

Reports come from the registration, which proves the store twice per lease (proof.py), and from the start-up check.
This module does no I/O and makes no decisions; `Records` and other readers call `require` before a direct read.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.store.errors import StoreUnavailableError
from sidecar.telemetry.app_log import logger

GATHER_SECONDS: Final = 0.05
"""Seconds in which transitions share one log line, because an outage reaches all partitions at once."""

_log = logger("store")


class PartitionState(StrEnum):
    """State of a partition. ``out``: no reply. ``refusing``: an error reply. ``changed``: another data set, or none.
    ``regressed``: an older copy of the same data set. ``recovering``: proven again, not yet in use."""

    OK = "ok"
    OUT = "out"
    REFUSING = "refusing"
    CHANGED = "changed"
    REGRESSED = "regressed"
    RECOVERING = "recovering"


_LOST: Final = frozenset({PartitionState.CHANGED, PartitionState.REGRESSED})
_RECOVERED: Final = frozenset({PartitionState.REGRESSED, PartitionState.RECOVERING})


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """State with its reason. ``since``: seconds of the given clock. ``readable``: direct reads work and are true, as
    with a full store."""

    state: PartitionState
    reason: str
    since: float
    readable: bool = False


@dataclass(frozen=True, slots=True)
class _Transition:
    """Content of one log line. Equal lines of several partitions are written once."""

    state: PartitionState
    reason: str


class PartitionStates:
    """States by partition number. ``clock`` is monotonic, in seconds; ``later`` runs a callback after a delay."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self._clock = clock
        self._later = later or (lambda delay, callback: asyncio.get_running_loop().call_later(delay, callback))
        self._known: dict[int, PartitionStatus] = {}
        self._proven: set[int] = set()
        self._notes: dict[int, str] = {}
        self.strict = False
        """Requirement of a proof before any record of a partition counts, so that an older store is detected first."""
        self._left_ok: dict[int, float] = {}
        self._lines: dict[_Transition, list[tuple[int, float]]] = {}
        self.on_regression: Callable[[int], None] = lambda _partition: None
        """Callback for a partition that enters ``regressed``."""

    def report(self, partition: int, state: PartitionState, reason: str = "", *, readable: bool = False) -> None:
        """Record the state. A repeated state keeps its start time."""
        now, known = self._clock(), self._known.get(partition)
        readable = readable or state is PartitionState.OK
        if state is PartitionState.OK:
            self._proven.add(partition)
            self._notes.pop(partition, None)
        elif state in _RECOVERED and (note := self._notes.get(partition)):
            reason = f"{reason}; {note}"
        if known is not None and known.state is state:
            self._known[partition] = PartitionStatus(state, reason, known.since, readable)
            return
        self._known[partition] = PartitionStatus(state, reason, now, readable)
        self._note(partition, known, state, reason, now)
        if state is PartitionState.REGRESSED:
            self.on_regression(partition)

    def note(self, partition: int, note: str) -> None:
        """Set the cause that blocks the partition's recovery; part of the reason until the state is ok."""
        self._notes[partition] = note

    def status(self, partition: int) -> PartitionStatus:
        """Return the partition's status; ``out`` before the first report."""
        return self._known.get(partition, PartitionStatus(PartitionState.OUT, "not reached yet", float("-inf")))

    def all(self) -> Mapping[int, PartitionStatus]:
        """Return the status of every partition with a report, by number."""
        return dict(sorted(self._known.items()))

    def require(self, partition: int) -> None:
        """Raise StoreUnavailableError when a direct read of the partition must not be trusted.

        After ``out`` the partition stays untrusted until a registration has proven the server, perhaps another one.
        """
        known = self._known.get(partition)
        if known is not None and not known.readable:
            raise StoreUnavailableError(
                f"the store's partition {partition:02d} is {known.state}: {known.reason}", cause=cause_of(known.state)
            )

    def require_proven(self, partition: int) -> None:
        """Raise StoreUnavailableError when ``strict`` is set and this process has not proven the partition yet
        (R48)."""
        if self.strict and partition not in self._proven:
            raise StoreUnavailableError(f"the store's partition {partition:02d} is not proven yet", cause="store_out")

    def settle(self) -> None:
        """Write the pending log lines."""
        lines, self._lines = self._lines, {}
        for line, found in lines.items():
            partitions = [f"{partition:02d}" for partition, _ in found]
            if line.state is PartitionState.OK:
                seconds = max(seconds for _, seconds in found)
                _log.warning("store available again", partitions=partitions, seconds=round(seconds, 3))
            else:
                _log.error("store unavailable", state=line.state.value, reason=line.reason, partitions=partitions)

    def _note(
        self, partition: int, known: PartitionStatus | None, state: PartitionState, reason: str, now: float
    ) -> None:
        """Queue a log line (R46) when a partition leaves ok, becomes changed or regressed, or is ok again.

        The last one has the total duration."""
        was_ok = known is None or known.state is PartitionState.OK
        if state is PartitionState.OK:
            if (since := self._left_ok.pop(partition, None)) is not None:
                self._gather(_Transition(state, ""), partition, now - since)
            return
        if was_ok:
            self._left_ok[partition] = now
        if was_ok or state in _LOST:
            self._gather(_Transition(state, reason), partition, 0.0)

    def _gather(self, line: _Transition, partition: int, seconds: float) -> None:
        if not self._lines:
            self._later(GATHER_SECONDS, self.settle)
        self._lines.setdefault(line, []).append((partition, seconds))


def cause_of(state: PartitionState) -> str:
    """Return the name of the state for use beside ``store_unavailable``: decision log, ``/readyz``, ``/status``."""
    return "" if state is PartitionState.OK else f"store_{state.value}"


def unavailable_share(partitions: Iterable[tuple[PartitionStatus, int]]) -> float:
    """Return the share, 0 to 1, of known users with checks that would be ``store_unavailable`` (R49).

    ``partitions``: status and number of known users of each. Without known users, every partition has equal weight.
    """
    found = list(partitions)
    if not any(users for _, users in found):
        found = [(status, 1) for status, _ in found]
    total = sum(users for _, users in found)
    return sum(users for status, users in found if not status.readable) / total if total else 1.0
