"""Export the audit as it grows: written elsewhere first, durably, then sealed in the store, only then trimmed (R32).

One exporter at a time holds a lease; a second one that wakes up all the same cannot seal what the first has sealed.
A crash between writing and sealing writes the same rows again, with the same hashes.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, Protocol

from sidecar.domain.users import AccountId
from sidecar.store import keys
from sidecar.store.audit import SYSTEM, AuditRow, log_of, row_of
from sidecar.store.audit_chain import Head, Sign, chained, checkpoint, genesis
from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailable

KEEP: Final = 10_000
BATCH: Final = 500
LEASE_MS: Final = 30_000
INTERVAL: Final = 5.0


class AuditGap(Exception):
    """A row is missing in the store: somebody took it away. Nothing of that log is exported beyond it."""


class Sink(Protocol):
    """Where lines go. Returns only once they are kept."""

    async def write(self, lines: bytes) -> None: ...


class AuditFile:
    """A file that only its owner reads. Opened anew for each batch, so that it can be rotated away at any time.

    A batch stands there whole or not at all: what a crash or a full disk has cut off was never sealed, and is taken
    away before more is written. Several sidecars on one state directory write one after the other.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    async def write(self, lines: bytes) -> None:
        await asyncio.to_thread(self._append, lines)

    def _append(self, lines: bytes) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            whole = _end_of_lines(descriptor)
            os.ftruncate(descriptor, whole)
            try:
                with os.fdopen(descriptor, "wb", closefd=False) as file:
                    file.write(lines)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, whole)
                raise
            if whole == 0:
                _sync(self.path.parent)
        finally:
            os.close(descriptor)


def _end_of_lines(descriptor: int) -> int:
    """Where the last whole line ends."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _sync(directory: Path) -> None:
    """The file's name is to be there after a power cut, as what it holds is."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Exporter:
    """``sign`` signs checkpoints; ``keep`` is SIDECAR_AUDIT_KEEP, ``id`` names this process."""

    def __init__(
        self,
        store: Store,
        sink: Sink,
        *,
        id: str,  # noqa: A002 (the word for it)
        sign: Sign,
        keep: int = KEEP,
        clock: Callable[[], float] = time.time,
        on_problem: Callable[[Exception], None] = lambda _problem: None,
    ) -> None:
        self._on_problem = on_problem
        self._store = store
        self._sink = sink
        self._id = id
        self._sign = sign
        self._keep = keep
        self._clock = clock

    async def run(self, interval: float = INTERVAL) -> None:
        """Until cancelled. A store or a disk that is out loses nothing: rows wait in the store, untrimmed, and
        ``on_problem`` is told."""
        while True:
            try:
                await self.export()
            except (StoreUnavailable, OSError, AuditGap) as problem:
                self._on_problem(problem)
            await asyncio.sleep(interval)

    async def export(self) -> int:
        """Everything that is not sealed yet, if the lease is ours. Answers how many rows were written."""
        if not await self._lease():
            return 0
        written, heads = 0, dict[AccountId, Head]()
        for account in await self._open_logs():
            rows, head = await self._export_log(account)
            written += rows
            if rows:
                heads[account] = head
        if heads:
            await self._sink.write(checkpoint(heads, at=int(self._clock() * 1000), sign=self._sign))
        return written

    async def _export_log(self, account: AccountId) -> tuple[int, Head]:
        """Batch by batch: write, then seal."""
        log = log_of(account, self._store.partitions)
        head, written = await sealed_head(self._store, account), 0
        while True:
            rows = await rows_after(self._store, account, head.number, BATCH)
            if not rows or not await self._lease():
                return written, head
            start, lines = head, []
            for row in rows:
                line, head = chained(account, head, row)
                lines.append(line)
            await self._sink.write(b"".join(lines))
            if not await self._seal(account, log, start, head):
                return written, start  # another exporter was here: the rows are its own
            written += len(rows)

    async def _seal(self, account: AccountId, log: str, start: Head, head: Head) -> bool:
        was = ("0", "") if start.number == 0 else (str(start.number), start.hash)
        partition = 0 if account == SYSTEM else keys.partition_of(account, self._store.partitions)
        reply = await self._store.run(
            "audit_seal",
            [log, f"{keys.feed(partition)}:open"],
            [*was, str(head.number), head.hash, str(self._keep)],
            write=True,
        )
        return bool(reply["o"] == "sealed")

    async def _open_logs(self) -> list[AccountId]:
        found: set[AccountId] = set()
        for partition in range(self._store.partitions):
            for log in await self._store.command("SMEMBERS", f"{keys.feed(partition)}:open"):
                found.add(AccountId(str(log).split(":")[3]))
        return [SYSTEM, *sorted(found)]

    async def _lease(self) -> bool:
        """Ours, or nobody's and now ours."""
        place = f"sc:{keys.tag(0)}:exporter"
        if await self._store.change("SET", place, self._id, "NX", "PX", LEASE_MS):
            return True
        if await self._store.command("GET", place) != self._id:
            if int(await self._store.command("PTTL", place)) > LEASE_MS:  # R52: taken by a clock that ran ahead
                await self._store.change("PEXPIRE", place, LEASE_MS)
            return False
        await self._store.change("PEXPIRE", place, LEASE_MS)
        return True


async def sealed_head(store: Store, account: AccountId) -> Head:
    """How far the log has been exported."""
    found = dict(await store.pairs("HGETALL", f"{log_of(account, store.partitions)}:seal"))
    return Head(int(found["n"]), found["hash"]) if "n" in found else genesis(account)


async def anchor(store: Store, account: AccountId) -> Head:
    """What the first row that is still kept follows on: the last one that was dropped, or the beginning."""
    found = dict(await store.pairs("HGETALL", f"{log_of(account, store.partitions)}:seal"))
    return Head(int(found["anchor_n"]), found["anchor"]) if "anchor_n" in found else genesis(account)


async def rows_after(store: Store, account: AccountId, number: int, count: int) -> list[AuditRow]:
    """The oldest rows that follow ``number``. Raises AuditGap: rows are numbered without gaps."""
    log = log_of(account, store.partitions)
    found = await store.command("XRANGE", log, f"{number + 1}-0", "+", "COUNT", count)
    rows = [row_of(entry_id, fields) for entry_id, fields in found]
    for place, row in enumerate(rows, number + 1):
        if row.number != place:
            raise AuditGap(f"the audit of {account or 'the store'} has no row {place}: somebody took it away")
    return rows


async def exported(store: Store, account: AccountId) -> AsyncIterator[bytes]:
    """Everything that is kept of a log, as chained lines: what ``audit export`` prints."""
    head = await anchor(store, account)
    while rows := await rows_after(store, account, head.number, BATCH):
        for row in rows:
            line, head = chained(account, head, row)
            yield line
