"""Exported audit: rows chained by SHA-256, signed checkpoints, and the verification of both.

Pure (import-linter: no I/O).

A line is a row or a checkpoint, in JSON. A row carries the previous hash of its log and its own hash, which reveals
changed, dropped and inserted rows. A checkpoint signs the heads of logs, which reveals rows cut off at the end. Log and
number are the id of a row: every copy of it has the same hash.
Callers sign and verify signatures, because they have the keys.
"""

import base64
import hashlib
import json
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from sidecar.domain.users import AccountId

FORM: Final = "sidecar-audit/1"

_WIDTH: Final = hashlib.sha256().digest_size
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MAX_SEQ: Final = 1 << 63

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


class ChainRows:
    """Rows of one log in the order of their lines: 88 bytes each, because an audit has millions."""

    __slots__ = ("_hashes", "_lines", "_order", "_previous", "_seqs")

    def __init__(self) -> None:
        self._seqs, self._lines = array("Q"), array("Q")
        self._hashes, self._previous = bytearray(), bytearray()
        self._order: Sequence[int] | None = None

    def add(self, line: int, seq: int, hashed: bytes, previous: bytes) -> None:
        self._seqs.append(seq)
        self._lines.append(line)
        self._hashes += hashed
        self._previous += previous
        self._order = None

    def ordered(self) -> Iterator[tuple[int, int, str, str]]:
        """Yield line, number, hash and previous hash, in the order of the numbers."""
        for at in self._sorted():
            span = slice(at * _WIDTH, at * _WIDTH + _WIDTH)
            yield self._lines[at], self._seqs[at], self._hashes[span].hex(), self._previous[span].hex()

    def hashes_of(self, seq: int) -> set[str]:
        """Return the hashes of the rows with this number."""
        order, found = self._sorted(), set()
        place = bisect_left(order, seq, key=self._seqs.__getitem__)
        while place < len(order) and self._seqs[at := order[place]] == seq:
            found.add(self._hashes[at * _WIDTH : at * _WIDTH + _WIDTH].hex())
            place += 1
        return found

    def _sorted(self) -> Sequence[int]:
        if self._order is None:
            self._order = sorted(range(len(self._seqs)), key=self._seqs.__getitem__)
        return self._order


@dataclass(slots=True)
class Verification:
    """Result of a verification. ``rows``: different rows, each counted once; ``repeated``: their further copies.

    ``heads``: end of each log's chain, for comparison with the store's seals. ``first``: first line of each log.
    """

    rows: int = 0
    repeated: int = 0
    checkpoints: int = 0
    faults: list[ChainFault] = field(default_factory=list)
    heads: dict[AccountId, ChainHead] = field(default_factory=dict)
    first: dict[AccountId, int] = field(default_factory=dict)
    logs: dict[AccountId, ChainRows] = field(default_factory=dict, repr=False)

    def hashes_of(self, log: AccountId, seq: int) -> set[str]:
        """Return the hashes of the log's rows with this number; empty without one."""
        return self.logs[log].hashes_of(seq) if log in self.logs else set()


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
    lines: Iterable[bytes],
    *,
    signature_holds: VerifySignature,
    anchors: Mapping[AccountId, ChainHead] | None = None,
    only: AccountId | None = None,
) -> Verification:
    """Verify every chain in ``lines``. A log begins at its genesis, or at its anchor when earlier rows were trimmed.

    The lines may be in any order and repeated, as exports by several sidecars, retries and overlapping files are.
    ``only``: log whose signed heads are compared; others may be absent.
    """
    found = Verification(heads=dict(anchors or {}))
    signed: list[tuple[int, Mapping[str, Any]]] = []
    for place, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except ValueError:
            found.faults.append(ChainFault(place, AccountId(""), 0, "is not JSON"))
            continue
        if not isinstance(entry, dict):
            found.faults.append(ChainFault(place, AccountId(""), 0, "is not an object"))
        elif "checkpoint" in entry:
            _read_checkpoint(found, signed, place, entry, signature_holds)
        else:
            _read_row(found, place, entry)
    for log, rows in found.logs.items():
        _check_chain(found, log, rows)
    for place, heads in signed:
        _check_heads(found, place, heads, only)
    found.faults.sort(key=lambda fault: fault.line)
    return found


def _read_row(found: Verification, place: int, entry: dict[str, Any]) -> None:
    log, seq = AccountId(str(entry.get("log", ""))), entry.get("seq")
    claimed, previous = entry.pop("hash", None), entry.pop("previous", None)
    if not isinstance(seq, int) or not 0 < seq < _MAX_SEQ or not _is_digest(claimed) or not _is_digest(previous):
        found.faults.append(ChainFault(place, log, 0, "is not a row of the audit"))
        return
    if _digest(previous, _canonical(entry)) != claimed:
        found.faults.append(ChainFault(place, log, seq, "was changed: its hash differs"))
    found.first.setdefault(log, place)
    found.logs.setdefault(log, ChainRows()).add(place, seq, bytes.fromhex(claimed), bytes.fromhex(previous))


def _check_chain(found: Verification, log: AccountId, rows: ChainRows) -> None:
    head = found.heads.get(log, genesis(log))
    copied: set[str] = set()
    for place, seq, hashed, previous in rows.ordered():
        if seq <= head.seq:
            if not copied or hashed in copied:  # before the anchor, or a copy
                found.repeated += 1
            else:
                found.faults.append(ChainFault(place, log, seq, "is another row with the same number"))
                copied.add(hashed)
            continue
        if seq != head.seq + 1:
            found.faults.append(ChainFault(place, log, seq, f"rows {head.seq + 1} to {seq - 1} are missing"))
        elif previous != head.hash:
            found.faults.append(ChainFault(place, log, seq, "does not follow from the row before it"))
        found.rows += 1
        head, copied = ChainHead(seq, hashed), {hashed}
    found.heads[log] = head


def _read_checkpoint(
    found: Verification,
    signed: list[tuple[int, Mapping[str, Any]]],
    place: int,
    entry: dict[str, Any],
    signature_holds: VerifySignature,
) -> None:
    key, signature = entry.pop("kid", ""), entry.pop("signature", "")
    try:
        raw = base64.b64decode(signature, validate=True)
    except (ValueError, TypeError):
        raw = b""
    if not signature_holds(str(key), _canonical(entry).encode("utf-8"), raw):
        found.faults.append(ChainFault(place, AccountId(""), 0, f"the signature by key {key} is invalid"))
        return
    found.checkpoints += 1
    signed.append((place, entry["heads"]))


def _check_heads(found: Verification, place: int, heads: Mapping[str, Any], only: AccountId | None) -> None:
    for name, (seq, hashed) in heads.items():
        log = AccountId(name)
        if only is not None and log != only:
            continue
        if (there := found.heads.get(log)) is None or there.seq < seq:
            found.faults.append(ChainFault(place, log, seq, "signed rows up to here are missing"))
        elif (kept := found.hashes_of(log, seq)) and hashed not in kept:
            found.faults.append(ChainFault(place, log, seq, "differs from the signed row"))


def _is_digest(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


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
