"""Journal of each partition's last feed entries: the evidence of acknowledged changes (R48).

Entries are stored in memory as encoded lines, and in the state directory by sources/journal_file.py. When the store
has lost entries, the journal identifies the affected users. After a restart the store is compared with the last entry.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.integrity.feed_entries import DATA_SET, FeedEntry, FeedReset, change_of, fields_of
from sidecar.store.integrity.proof import NO_ENTRY, FeedPosition

MAX_ENTRIES: Final = 10_000
"""Maximum entries per partition, equal to the feed's bound."""
PAGE: Final = 1000
TURN_SECONDS: Final = 0.5


class JournalEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Feed entry. ``before``: number of the previous entry. For a data set change, ``account`` and ``user`` are the
    ids of the data sets before and after."""

    n: int
    entry: str
    before: int
    kind: str
    account: str
    user: str
    epoch: int
    seq: int
    role: str
    status: str
    password: bool
    factors: bool = False


class JournalFiles(Protocol):
    """Interface of sources/journal_file.py. Protocol: `store` may not import `sources`."""

    stale: set[int]

    @property
    def owned(self) -> bool: ...
    def read(self) -> Mapping[int, list[bytes]]: ...
    def append(self, partition: int, line: bytes) -> None: ...
    def rewrite(self, partition: int, lines: Sequence[bytes]) -> None: ...
    def take(self) -> bool: ...
    def write(self) -> None: ...
    def close(self) -> None: ...


class JournalHead(msgspec.Struct, frozen=True):
    """First line of a file: position after its last entry when the file was written."""

    data_set: str
    n: int
    entry: str
    ancestors: tuple[str, ...] = ()


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(JournalEntry).decode
_head: Final = msgspec.json.Decoder(JournalHead).decode


def journal_entry(change: FeedEntry) -> JournalEntry:
    before = change.n - 1 if change.before is None else change.before
    names = (change.kind, change.account, change.user)
    numbers, values = (change.epoch, change.seq), (change.role, change.status)
    facts = (change.password, change.factors)
    return JournalEntry(change.n, change.entry, before, *names, *numbers, *values, *facts)


async def read_feed(store: Store, partition: int, end: str = "+", until: str = "") -> list[JournalEntry]:
    """Return the feed's entries from ``end`` down to the page that holds ``until``, newest first, at most MAX_MARKS.

    Raises StoreUnavailableError.
    """
    found: list[JournalEntry] = []
    while len(found) < MAX_ENTRIES:
        page = await store.read_anyway("XREVRANGE", keys.feed(partition), end, "-", "COUNT", PAGE)
        found += [journal_entry(change_of(fields_of(fields), entry)) for entry, fields in page]
        if len(page) < PAGE or any(mark.entry == until for mark in found[-PAGE:]):
            break
        end = f"({found[-1].entry}"
    return found


@dataclass(slots=True)
class _Partition:
    """Journal of one partition. ``waiting``: entries applied before those up to ``start`` are read; None otherwise.
    ``start``: number and id of the entry after which the feed is followed."""

    position: FeedPosition | None = None
    lines: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_ENTRIES))
    waiting: deque[bytes] | None = None
    start: tuple[int, str] = (0, NO_ENTRY)

    def all(self) -> list[bytes]:
        return [*self.lines, *(self.waiting or ())]


class Journal:
    """Follower of the feeds. ``file`` None: stored in memory only."""

    def __init__(self, store: Store, file: JournalFiles | None = None) -> None:
        self._store = store
        self._file = file
        self._partitions: dict[int, _Partition] = {}
        self._started = asyncio.Event()

    async def load(self) -> None:
        """Read the files, and write them from now on unless another process does. Unusable content is skipped."""
        if self._file is not None:
            await asyncio.to_thread(self._file.take)
            for partition, lines in (await asyncio.to_thread(self._file.read)).items():
                known = _partition_of(lines)
                if known is not None:
                    self._partitions[partition] = known
                    self._mark_stale(partition)

    def position(self, partition: int) -> FeedPosition | None:
        """Return the last known position, for the proof after a restart."""
        known = self._partitions.get(partition)
        return known.position if known else None

    def marks(self, partition: int) -> list[JournalEntry]:
        """Return all known entries, oldest first."""
        known = self._partitions.get(partition)
        return [decode(line) for line in known.all()] if known else []

    def start(self, partition: int) -> tuple[int, str] | None:
        """Return number and id of the entry after which the feed is followed; None once it is read back."""
        known = self._partitions.get(partition)
        return known.start if known and known.waiting is not None else None

    # Follower of the feed --------------------------------------------------------------------------------------------

    def apply(self, partition: int, change: FeedEntry) -> None:
        known = self._at(partition)
        line = encode(journal_entry(change))
        (known.lines if known.waiting is None else known.waiting).append(line)
        before = known.position or FeedPosition("", 0, "")
        known.position = FeedPosition(before.data_set, change.n, change.entry, before.ancestors)
        if self._file is not None:
            self._file.append(partition, line)

    def on_heartbeat(self, _partition: int, _at: float) -> None:
        """No-op: the record cache counts heartbeats."""

    def flush(self, tail: FeedReset) -> None:
        if tail.position is None:
            return
        known = self._at(tail.partition)
        if tail.change is not None:
            self.apply(tail.partition, tail.change)
        else:
            known.waiting, known.start = deque(maxlen=MAX_ENTRIES), (tail.position.n, tail.position.entry)
            self._started.set()
        known.position = tail.position
        self._mark_stale(tail.partition)

    async def acknowledge(self, _partition: int, _n: int) -> None:
        """No-op: the fleet acknowledges changes."""

    # Files -----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read older entries and write the files, twice per second and when a feed starts, until cancelled."""
        while True:
            self._started.clear()
            with suppress(StoreUnavailableError):
                await self.read_back()
            await self.write()
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN_SECONDS):
                    await self._started.wait()

    async def read_back(self) -> None:
        """Read the entries up to the start of each feed. Raises StoreUnavailableError."""
        for partition, known in list(self._partitions.items()):
            waiting = known.waiting
            if waiting is None:
                continue
            last = decode(known.lines[-1]).entry if known.lines else ""
            start = known.start[1]
            found = await read_feed(self._store, partition, start, last)
            is_there = found[0].entry == start if found else start == NO_ENTRY
            if known.waiting is waiting and is_there:  # otherwise the feed restarted, or the store lost entries
                _merge(known, found, last)
                self._mark_stale(partition)

    async def write(self) -> None:
        """Write pending lines in a thread."""
        if (file := self._file) is None:
            return
        if not file.owned and await asyncio.to_thread(file.take):  # another process, or none, wrote the files before
            file.stale.update(self._partitions)
        self._rewrite(file, whole=False)
        await asyncio.to_thread(file.write)

    def close(self) -> None:
        """Write pending lines without a thread, then close the files."""
        if self._file is not None:
            self._rewrite(self._file, whole=True)
            self._file.close()

    def _rewrite(self, file: JournalFiles, *, whole: bool) -> None:
        """Rewrite stale files. ``whole`` false: skip partitions with older entries still to be read."""
        for partition in file.stale & self._partitions.keys():
            if file.owned and (whole or self._partitions[partition].waiting is None):
                file.rewrite(partition, self._content(self._partitions[partition]))

    def _content(self, known: _Partition) -> list[bytes]:
        at = known.position or FeedPosition("", 0, "")
        return [encode(JournalHead(at.data_set, at.n, at.entry, at.ancestors)), *known.all()]

    def _mark_stale(self, partition: int) -> None:
        if self._file is not None:
            self._file.stale.add(partition)

    def _at(self, partition: int) -> _Partition:
        return self._partitions.setdefault(partition, _Partition())


def _merge(known: _Partition, found: Sequence[JournalEntry], last: str) -> None:
    """Insert ``found``, newest first. If it lacks the last known entry, older lines are unconnected and dropped."""
    place = next((place for place, mark in enumerate(found) if mark.entry == last), None)
    if place is None:
        known.lines.clear()
    known.lines.extend(encode(mark) for mark in reversed(found[:place]))
    known.lines.extend(known.waiting or ())
    known.waiting = None


def _partition_of(lines: Sequence[bytes]) -> _Partition | None:
    """Return the journal read from a file, without invalid lines and all lines before a gap; None without a head."""
    try:
        head = _head(lines[0])
    except (msgspec.MsgspecError, IndexError):
        return None
    known = _Partition(FeedPosition(head.data_set, head.n, head.entry, head.ancestors))
    n = -1
    for line in lines[1:]:
        try:
            mark = decode(line)
        except msgspec.MsgspecError:
            continue
        if mark.before != n:
            known.lines.clear()
        known.lines.append(line)
        n = mark.n
        if n > head.n:
            known.position = _after(known.position or FeedPosition("", 0, ""), mark)
    return known


def _after(position: FeedPosition, mark: JournalEntry) -> FeedPosition:
    if mark.kind != DATA_SET:
        return FeedPosition(position.data_set, mark.n, mark.entry, position.ancestors)
    return FeedPosition(mark.user, mark.n, mark.entry, (*position.ancestors, mark.account))
