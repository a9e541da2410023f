"""Verification of the audit: the exported files by themselves, and the store's rows against the files (R32).

The chain and the signed checkpoints prove a file. The store has the last exported number and hash of each log, which
prove that no end was cut off. The store's remaining rows must lead to that hash, so no row was changed there.
"""

import heapq
import json
import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sidecar.domain.users import AccountId
from sidecar.store.audit import SYSTEM
from sidecar.store.audit_chain import ChainHead, Verification, chained, verify
from sidecar.store.audit_export import BATCH, AuditGapError, anchor, rows_after, sealed_head
from sidecar.store.connection import Store
from sidecar.tokens.audit_signing import CheckpointKey


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """Fault in a log. ``place``: ``FILE:LINE``, or the store."""

    place: str
    log: AccountId
    seq: int
    detail: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Result with numbers: ``logs``, ``rows`` and ``checkpoints`` in the files, ``kept`` rows in the store."""

    logs: int
    rows: int
    checkpoints: int
    kept: int
    findings: tuple[AuditFinding, ...]


async def check(store: Store, files: Iterable[Path], key: CheckpointKey, accounts: Iterable[AccountId]) -> AuditReport:
    """Verify files and store. ``accounts``: logs to read in the store, besides the logs in the files.

    Raises StoreUnavailableError, OSError."""
    # Read the store first: a running exporter can then only be ahead of it.
    sealed = {log: await sealed_head(store, log) for log in [SYSTEM, *accounts]}
    exported, findings = _files(list(files), key, sealed)
    for log in exported.heads:
        if log not in sealed:
            sealed[log] = await sealed_head(store, log)
    kept = 0
    for log, head in sealed.items():
        there = exported.heads.get(log)
        if head.seq > 0 and (there is None or there.seq < head.seq):
            last = 0 if there is None else there.seq
            findings.append(
                AuditFinding(
                    "store",
                    log,
                    head.seq,
                    f"rows {last + 1} to {head.seq} were exported and are missing from these files",
                )
            )
        count, found = await _kept(store, log, head)
        kept += count
        findings += found
    return AuditReport(len(sealed), exported.rows, exported.checkpoints, kept, tuple(findings))


# Files ---------------------------------------------------------------------------------------------------------------


def _files(
    files: list[Path], key: CheckpointKey, sealed: dict[AccountId, ChainHead]
) -> tuple[Verification, list[AuditFinding]]:
    origins = ChainOrigins(files)
    seen: dict[AccountId, str] = {}
    found = verify(_watched(origins.lines(), sealed, seen), signature_holds=key.holds)
    findings = [AuditFinding(origins.of(fault.line), fault.log, fault.seq, fault.detail) for fault in found.faults]
    for log, hashed in seen.items():
        if hashed != sealed[log].hash:
            detail = "the store sealed another row with this number"
            findings.append(AuditFinding("files", log, sealed[log].seq, detail))
    return found, findings


def _watched(lines: Iterable[bytes], sealed: dict[AccountId, ChainHead], seen: dict[AccountId, str]) -> Iterator[bytes]:
    """Yield the lines unchanged, and store the files' hash of each log's sealed row in ``seen``."""
    wanted = {(log, head.seq) for log, head in sealed.items() if head.seq > 0}
    for line in lines:
        entry = _entry(line)
        place = (AccountId(str(entry.get("log"))), entry.get("seq"))
        if place in wanted:
            seen[place[0]] = str(entry.get("hash"))
        yield line


class ChainOrigins:
    """Lines of several files in the order of their export, and the origin of each.

    Sidecars take turns at exporting, each into a file of its own. The rows before a checkpoint were exported together,
    at the checkpoint's time.
    """

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self._file, self._line = array("L"), array("L")

    def lines(self) -> Iterator[bytes]:
        turns = (self._turns(number, path) for number, path in enumerate(self._files))
        for _, number, first, lines in heapq.merge(*turns, key=lambda turn: turn[0]):
            for at, line in enumerate(lines, first):
                self._file.append(number)
                self._line.append(at)
                yield line

    def of(self, line: int) -> str:
        return f"{self._files[self._file[line - 1]]}:{self._line[line - 1]}"

    def _turns(self, number: int, path: Path) -> Iterator[tuple[float, int, int, list[bytes]]]:
        """Yield checkpoint time, file number, number of the first line, lines."""
        lines: list[bytes] = []
        first, latest = 1, -math.inf
        with path.open("rb") as file:
            for line in file:
                lines.append(line)
                entry = _entry(line)
                if "checkpoint" in entry:
                    at = entry.get("at")
                    latest = max(latest, at) if isinstance(at, int) else latest
                    yield latest, number, first, lines
                    first, lines = first + len(lines), []
        if lines:  # not signed yet, or the file was rotated before: they follow the lines above
            yield latest + 0.5, number, first, lines


def _entry(line: bytes) -> dict[str, object]:
    """Return the line's object; empty for a malformed line, which ``verify`` reports."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


# Store ---------------------------------------------------------------------------------------------------------------


async def _kept(store: Store, log: AccountId, sealed: ChainHead) -> tuple[int, list[AuditFinding]]:
    """Return the number of rows in the store, and the faults up to the sealed row."""
    head, count = await anchor(store, log), 0
    proven = head.seq > sealed.seq or head == sealed  # beyond: exported and trimmed meanwhile
    try:
        while rows := await rows_after(store, log, head.seq, BATCH):
            for row in rows:
                _, head = chained(log, head, row)
                count += 1
                if head.seq == sealed.seq:
                    if head.hash != sealed.hash:
                        return count, [AuditFinding("store", log, head.seq, "a row was changed after it was exported")]
                    proven = True
    except AuditGapError as gap:
        return count, [AuditFinding("store", log, head.seq + 1, str(gap))]
    if not proven:
        detail = f"rows {head.seq + 1} to {sealed.seq} were removed"
        return count, [AuditFinding("store", log, head.seq + 1, detail)]
    return count, []
