"""Exported audit: rows chained by SHA-256, signed checkpoints, and the verification of both.

Pure (import-linter: no I/O).

A line is a row or a checkpoint, in JSON. A row carries the previous hash of its log and its own hash, which reveals
changed, dropped and inserted rows. A checkpoint signs the heads of all logs, which reveals rows cut off at the end.
Callers sign and verify signatures, because they have the keys.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.domain.users import AccountId

FORM: Final = "sidecar-audit/1"
REWRITTEN: Final = 1000
"""Rows that an exporter may write twice after a crash: more than one of its batches."""

Sign = Callable[[bytes], tuple[str, bytes]]
"""Function from bytes to the signing key's id and the signature."""

VerifySignature = Callable[[str, bytes, bytes], bool]
"""Function from key id, bytes and signature to True for a valid signature."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Audit row. ``at``: Unix milliseconds. ``actor``: a user, empty for an operator.

    ``target``: a user, key or account. Names and e-mails are those at the time of the change; None for an operator, a
    key, an account, and in rows of earlier versions.
    """

    seq: int
    at: int
    action: str
    actor: str
    target: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    address: str
    request_id: str
    actor_name: str | None = None
    actor_email: str | None = None
    target_name: str | None = None
    target_email: str | None = None


PEOPLE: Final = ("actor_name", "actor_email", "target_name", "target_email")
"""Members of a row that rows of earlier versions lack. They are omitted without a value: older hashes stay valid."""


@dataclass(frozen=True, slots=True)
class ChainHead:
    """End of a log's chain: number and hash of its last row."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class ChainFault:
    """Break in a chain. ``line`` counts from 1."""

    line: int
    log: AccountId
    seq: int
    detail: str


@dataclass(slots=True)
class Verification:
    """Result of a verification. ``heads``: end of each log's chain, for comparison with the store's seals."""

    rows: int = 0
    checkpoints: int = 0
    faults: list[ChainFault] = field(default_factory=list)
    heads: dict[AccountId, ChainHead] = field(default_factory=dict)
    recent: dict[AccountId, dict[int, str]] = field(default_factory=dict, repr=False)


def genesis(log: AccountId) -> ChainHead:
    """Return the head before the first row."""
    return ChainHead(0, _digest(FORM, log))


def chained(log: AccountId, head: ChainHead, row: AuditRow) -> tuple[bytes, ChainHead]:
    """Return the row's line, and the head after it."""
    body = {
        "log": log,
        "seq": row.seq,
        "at": row.at,
        "action": row.action,
        "actor": row.actor,
        "target": row.target,
        "before": row.before,
        "after": row.after,
        "address": row.address,
        "request_id": row.request_id,
        **{name: value for name in PEOPLE if (value := getattr(row, name)) is not None},
    }
    after = ChainHead(row.seq, _digest(head.hash, _canonical(body)))
    return _line({**body, "previous": head.hash, "hash": after.hash}), after


def checkpoint(heads: Mapping[AccountId, ChainHead], *, at: int, sign: Sign) -> bytes:
    """Return a signed line with the heads as of ``at`` (Unix milliseconds)."""
    body = {"checkpoint": FORM, "at": at, "heads": {log: [head.seq, head.hash] for log, head in heads.items()}}
    key, signature = sign(_canonical(body).encode("utf-8"))
    return _line({**body, "kid": key, "signature": base64.b64encode(signature).decode("ascii")})


def verify(
    lines: Iterable[bytes], *, signature_holds: VerifySignature, anchors: Mapping[AccountId, ChainHead] | None = None
) -> Verification:
    """Verify every chain in ``lines``. A log begins at its genesis, or at its anchor when earlier rows were trimmed.

    A repeated row is valid: an exporter that crashed between writing and sealing writes it again.
    """
    found = Verification(heads=dict(anchors or {}))
    for place, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except ValueError:
            found.faults.append(ChainFault(place, AccountId(""), 0, "is not JSON"))
            continue
        if not isinstance(entry, dict):
            found.faults.append(ChainFault(place, AccountId(""), 0, "is not an object"))
        elif "checkpoint" in entry:
            _check_checkpoint(found, place, entry, signature_holds)
        else:
            _check_row(found, place, entry)
    return found


def _check_row(found: Verification, place: int, entry: dict[str, Any]) -> None:
    log, seq = AccountId(str(entry.get("log", ""))), entry.get("seq")
    claimed, previous = entry.pop("hash", None), entry.pop("previous", None)
    if not isinstance(seq, int) or not isinstance(claimed, str) or not isinstance(previous, str):
        found.faults.append(ChainFault(place, log, 0, "is not a row of the audit"))
        return
    head = found.heads.get(log, genesis(log))
    hashed = _digest(previous, _canonical(entry))
    if hashed != claimed:
        found.faults.append(ChainFault(place, log, seq, "was changed: its hash differs"))
    elif found.recent.get(log, {}).get(seq) == claimed:
        return  # repeated row
    elif seq <= head.seq:
        found.faults.append(ChainFault(place, log, seq, f"is out of order: it follows row {head.seq}"))
    elif seq != head.seq + 1:
        found.faults.append(ChainFault(place, log, seq, f"rows {head.seq + 1} to {seq - 1} are missing"))
    elif previous != head.hash:
        found.faults.append(ChainFault(place, log, seq, "does not follow from the row before it"))
    found.rows += 1
    found.heads[log] = ChainHead(seq, claimed)
    recent = found.recent.setdefault(log, {})
    recent[seq] = claimed
    if len(recent) > REWRITTEN:
        del recent[next(iter(recent))]


def _check_checkpoint(found: Verification, place: int, entry: dict[str, Any], signature_holds: VerifySignature) -> None:
    key, signature = entry.pop("kid", ""), entry.pop("signature", "")
    try:
        raw = base64.b64decode(signature, validate=True)
    except (ValueError, TypeError):
        raw = b""
    if not signature_holds(str(key), _canonical(entry).encode("utf-8"), raw):
        found.faults.append(ChainFault(place, AccountId(""), 0, f"the signature by key {key} is invalid"))
        return
    found.checkpoints += 1
    for log, (seq, hashed) in entry["heads"].items():
        head = found.heads.get(AccountId(log))
        if head is None or head.seq < seq:
            found.faults.append(ChainFault(place, AccountId(log), seq, "signed rows up to here are missing"))
        elif head.seq == seq and head.hash != hashed:
            found.faults.append(ChainFault(place, AccountId(log), seq, "differs from the signed row"))


def _canonical(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _line(body: Mapping[str, Any]) -> bytes:
    return _canonical(body).encode("utf-8") + b"\n"


def _digest(*parts: str) -> str:
    hashed = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8")
        hashed.update(len(raw).to_bytes(8, "big"))
        hashed.update(raw)
    return hashed.hexdigest()
