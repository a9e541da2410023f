"""Verification of the audit: exports by themselves, and the store's rows against them (R32).

The chain and the signed checkpoints prove any set of exports, in any order and with repeated rows. The store has the
last exported number and hash of each log, which prove that no end was cut off. The store's remaining rows must lead to
that hash, so no row was changed there, and rows that the store never had are of another store.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sidecar.domain.users import AccountId
from sidecar.store import keys
from sidecar.store.audit import SYSTEM
from sidecar.store.audit_chain import ChainHead, Verification, chained, verify
from sidecar.store.audit_export import BATCH, AuditGapError, anchor, rows_after, sealed_head
from sidecar.store.connection import Store
from sidecar.store.maintenance.audit_lines import ExportedLines
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
    """Result with numbers: ``logs``, ``rows`` and ``checkpoints`` in the files, ``kept`` rows in the store.

    ``repeated``: further copies of rows, which a retried or overlapping export has.
    """

    logs: int
    rows: int
    repeated: int
    checkpoints: int
    kept: int
    findings: tuple[AuditFinding, ...]


async def check(
    store: Store, files: Iterable[Path], key: CheckpointKey, *, only: AccountId | None = None, mixed: bool = False
) -> AuditReport:
    """Verify files and store. ``only``: one account, the files have its rows alone. ``mixed``: see ExportedLines.

    Raises StoreUnavailableError, OSError.
    """
    # Read the store first: a running exporter can then only be ahead of it.
    logs = [SYSTEM, *await _accounts(store)] if only is None else [only]
    sealed = {log: await sealed_head(store, log) for log in logs}
    lines = ExportedLines(list(files), mixed=mixed)
    exported = verify(lines, signature_holds=key.holds, only=only)
    findings = [AuditFinding(lines.origin(fault.line), fault.log, fault.seq, fault.detail) for fault in exported.faults]
    for log, line in exported.first.items():
        if log not in sealed:
            detail = "the store has no such account: the rows are of another store"
            detail = "the rows are of another account" if only is not None else detail
            findings.append(AuditFinding(lines.origin(line), log, 0, detail))
    kept = 0
    for log, head in sealed.items():
        findings += _sealed(exported, log, head)
        count, found = await _kept(store, log, head, exported)
        kept += count
        findings += found
    return AuditReport(len(sealed), exported.rows, exported.repeated, exported.checkpoints, kept, tuple(findings))


async def _accounts(store: Store) -> list[AccountId]:
    """Return all accounts, deleted ones included: their logs stay."""
    found = [await store.command("SMEMBERS", keys.accounts(partition)) for partition in range(store.partitions)]
    return sorted(AccountId(str(account)) for some in found for account in some)


def _sealed(exported: Verification, log: AccountId, head: ChainHead) -> list[AuditFinding]:
    """Compare the exports with the row that the store sealed last."""
    if head.seq == 0:
        return []
    there = exported.heads.get(log)
    if there is None or there.seq < head.seq:
        last = 0 if there is None else there.seq
        detail = f"rows {last + 1} to {head.seq} were exported and are missing from these files"
        return [AuditFinding("store", log, head.seq, detail)]
    if (hashes := exported.hashes_of(log, head.seq)) and head.hash not in hashes:
        return [AuditFinding("files", log, head.seq, "the store sealed another row with this number")]
    return []


async def _kept(
    store: Store, log: AccountId, sealed: ChainHead, exported: Verification
) -> tuple[int, list[AuditFinding]]:
    """Return the number of rows in the store, and the faults: up to the sealed row, and rows that only files have."""
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
                elif head.seq > sealed.seq and (there := exported.hashes_of(log, head.seq)) and head.hash not in there:
                    return count, [AuditFinding("files", log, head.seq, "the store has another row with this number")]
    except AuditGapError as gap:
        return count, [AuditFinding("store", log, head.seq + 1, str(gap))]
    if not proven:
        detail = f"rows {head.seq + 1} to {sealed.seq} were removed"
        return count, [AuditFinding("store", log, head.seq + 1, detail)]
    last = max(head.seq, (await sealed_head(store, log)).seq)
    if (end := exported.heads.get(log)) is not None and end.seq > last:
        detail = f"the store has no rows {last + 1} to {end.seq}: they are of another store, or it lost them"
        return count, [AuditFinding("files", log, end.seq, detail)]
    return count, []
