"""Records of recoveries: each links a data set with lost entries to the data set that replaced it (R48).

The record is signed under the pepper. A sidecar of the affected store reads it and follows to the new data set. The
sidecar then finds its known entries that were unknown to the recovery.
"""

from collections.abc import Callable, Sequence
from hmac import compare_digest
from typing import Final

import msgspec

from sidecar.store.integrity.data_set import DataSetChange

Seal = Callable[[DataSetChange], str]

Ranges = tuple[tuple[int, int], ...]
"""Ranges of entry numbers: first and last of each."""

MAX_HOPS: Final = 100


class RecoveryRecord(msgspec.Struct, frozen=True):
    """Record of a recovery. ``base``: number of the last entry that the store kept. ``top``: number of the last entry
    known to be lost. ``missing``: lost entries unknown to every sidecar. ``code``: HMAC under the pepper."""

    partition: int
    before: str
    after: str
    base: int
    top: int
    missing: Ranges = ()
    code: str = ""

    def signed(self, seal: Seal) -> "RecoveryRecord":
        return msgspec.structs.replace(self, code=seal(self._change()))

    def is_ours(self, seal: Seal) -> bool:
        return compare_digest(self.code, seal(self._change()))

    def covers(self, n: int) -> bool:
        """Return whether the recovery included the users of this lost entry."""
        return n <= self.top and not any(first <= n <= last for first, last in self.missing)

    def _change(self) -> DataSetChange:
        missing = ",".join(f"{first}-{last}" for first, last in self.missing)
        kept = f"recovered {self.base} {self.top} {missing}"
        return DataSetChange(self.partition, self.before, self.after, kept, kept)


def encode(record: RecoveryRecord) -> str:
    return msgspec.json.encode(record).decode()


def path(
    partition: int, before: str, after: str, records: Sequence[str], seal: Seal | None
) -> tuple[RecoveryRecord, ...]:
    """Return the recoveries that lead from one data set to the other; empty when none do. Ignores unsigned records."""
    known: dict[str, RecoveryRecord] = {}
    for text in records if seal else ():
        try:
            record = msgspec.json.decode(text, type=RecoveryRecord)
        except msgspec.MsgspecError:
            continue
        if seal and record.partition == partition and record.is_ours(seal):
            known[record.before] = record
    found: list[RecoveryRecord] = []
    while before != after and before in known and len(found) < MAX_HOPS:
        found.append(known[before])
        before = known[before].after
    return tuple(found) if before == after else ()
