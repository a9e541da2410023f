"""Continuous export of the audit: rows are written durably, then sealed in the store, and only then trimmed (R32).

One exporter at a time holds a lease, and gives it up after a failure, so that another sidecar exports. A second one
that runs regardless cannot seal rows that the first has sealed. The head of each chain is in the store: any sidecar
continues it. After a crash between writing and sealing, the same rows are written again, with the same hashes. Logs
without a signature of their last rows are listed in the store until their checkpoint is written.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from sidecar.domain.users import AccountId
from sidecar.store import keys
from sidecar.store.audit import SYSTEM, log_of, row_of
from sidecar.store.audit_chain import AuditRow, ChainHead, Sign, chained, checkpoint, genesis
from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailableError

KEEP: Final = 10_000
BATCH: Final = 500
LEASE_MS: Final = 30_000
INTERVAL: Final = 5.0
LONGEST: Final = 60.0
"""Longest pause between two attempts, in seconds. Each failure doubles it."""
SIGNED_LOGS: Final = 32
"""Logs of one checkpoint: a line stays below PIPE_BUF, so that it is written to a pipe as a whole."""


class AuditGapError(Exception):
    """Missing row in the store, removed by other means than the sidecar. The export of that log stops before it."""


class ExportSink(Protocol):
    """Destination of lines. ``write`` returns once they are durable. Protocol: tests export to memory."""

    async def write(self, lines: bytes) -> None: ...


class AuditFile:
    """File that only its owner may read. Opened for each batch, so that it can be rotated at any time.

    A batch is written whole or not at all. A line cut off by a crash or a full disk was never sealed; it is removed
    before the next write. A lock serializes the sidecars of one state directory.
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
    """Return the offset of the end of the last complete line."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _sync(directory: Path) -> None:
    """Sync the directory, so that the file's name survives a power failure as its contents do."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Exporter:
    """Exporter of all logs. ``sign`` signs checkpoints. ``id``: this process.

    ``keep``: exported rows that remain in the store, per account.
    """

    def __init__(
        self,
        store: Store,
        sink: ExportSink,
        *,
        id: str,  # noqa: A002 (the word for it)
        sign: Sign,
        keep: int = KEEP,
        clock: Callable[[], float] = time.time,
        on_problem: Callable[[Exception], None] = lambda _problem: None,
        on_success: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_problem = on_problem
        self._on_success = on_success
        self._store = store
        self._sink = sink
        self._id = id
        self._sign = sign
        self._keep = keep
        self._clock = clock
        self.exported_at = time.monotonic()
        """Time at which the last complete export, here or of another sidecar, was seen; or of the start. Monotonic."""

    async def run(self, interval: float = INTERVAL) -> None:
        """Export every ``interval`` seconds until cancelled. ``on_problem`` receives errors of store and sink.

        A failure loses nothing: rows wait in the store, untrimmed. ``on_success`` is called after each round in which
        this sidecar or another exported all rows.
        """
        pause = interval
        while True:
            try:
                await self.export()
                is_complete = await self.is_complete()
            except AuditGapError as gap:  # the other logs were exported
                self._on_problem(gap)
                pause = interval
            except (StoreUnavailableError, OSError) as problem:
                self._on_problem(problem)
                pause = min(2 * pause, max(LONGEST, interval))
            else:
                if is_complete:  # the holder of the lease may fail too, with the same sink
                    self.exported_at = time.monotonic()
                    self._on_success()
                pause = interval
            await asyncio.sleep(pause)

    async def export(self) -> int:
        """Export all unsealed rows, if this process has the lease. Returns the number of rows written.

        Raises AuditGapError after the other logs were exported.
        """
        if not await self._lease():
            return 0
        written, gaps = 0, list[AuditGapError]()
        try:
            for account in await self._open_logs():
                try:
                    written += await self._export_log(account)
                except AuditGapError as gap:
                    gaps.append(gap)
            await self._sign_heads()
        except (StoreUnavailableError, OSError):
            await self._give_up()
            raise
        if gaps:
            raise gaps[0]
        await self._store.change("SET", _complete(), self._id, "PX", LEASE_MS)
        return written

    async def is_complete(self) -> bool:
        """Return whether an export of any sidecar wrote all rows, at most one lease ago."""
        return bool(await self._store.command("EXISTS", _complete()))

    async def _sign_heads(self) -> None:
        """Write checkpoints over the sealed heads that have none, those of an exporter that crashed included."""
        unsigned = sorted(AccountId(str(one)) for one in await self._store.command("SMEMBERS", _unsigned()))
        for start in range(0, len(unsigned), SIGNED_LOGS):
            accounts = unsigned[start : start + SIGNED_LOGS]
            heads = {account: await sealed_head(self._store, account) for account in accounts}
            heads = {account: head for account, head in heads.items() if head.seq > 0}
            if heads:
                await self._sink.write(checkpoint(heads, at=int(self._clock() * 1000), sign=self._sign))
            for account, head in heads.items():
                seal = f"{log_of(account, self._store.partitions)}:seal"
                await self._store.change("HSET", seal, "signed", str(head.seq))
            await self._store.change("SREM", _unsigned(), *accounts)

    async def _export_log(self, account: AccountId) -> int:
        """Write and seal each batch. Returns the number of rows written. Raises AuditGapError at a gap."""
        log = log_of(account, self._store.partitions)
        head, written = await sealed_head(self._store, account), 0
        while True:
            rows = await rows_after(self._store, account, head.seq, BATCH)
            if not rows or not await self._lease():
                return written
            start, lines = head, []
            for row in rows:
                line, head = chained(account, head, row)
                lines.append(line)
            if written == 0:
                await self._store.change("SADD", _unsigned(), account)
            await self._sink.write(b"".join(lines))
            if not await self._seal(account, log, start, head):
                return written  # another exporter has sealed these rows
            written += len(rows)

    async def _seal(self, account: AccountId, log: str, start: ChainHead, head: ChainHead) -> bool:
        was = ("0", "") if start.seq == 0 else (str(start.seq), start.hash)
        partition = 0 if account == SYSTEM else keys.partition_of(account, self._store.partitions)
        reply = await self._store.run(
            "audit_seal",
            [log, f"{keys.feed(partition)}:open"],
            [*was, str(head.seq), head.hash, str(self._keep)],
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
        """Take or renew the lease. Returns False while another exporter has it."""
        place = _holder()
        if await self._store.change("SET", place, self._id, "NX", "PX", LEASE_MS):
            return True
        if await self._store.command("GET", place) != self._id:
            if int(await self._store.command("PTTL", place)) > LEASE_MS:  # R52: taken by a clock that ran ahead
                await self._store.change("PEXPIRE", place, LEASE_MS)
            return False
        await self._store.change("PEXPIRE", place, LEASE_MS)
        return True

    async def _give_up(self) -> None:
        """End the own lease, so that another sidecar exports at its next attempt."""
        place = _holder()
        with suppress(StoreUnavailableError):  # the lease then ends by itself
            if await self._store.command("GET", place) == self._id:
                await self._store.change("DEL", place)


def _holder() -> str:
    """Return the key of the lease."""
    return f"sc:{keys.tag(0)}:exporter"


def _complete() -> str:
    """Return the key that lasts one lease after an export of all rows."""
    return f"{_holder()}:complete"


def _unsigned() -> str:
    """Return the key of the logs with sealed rows that no checkpoint signs."""
    return f"{keys.system_log()}:unsigned"


async def sealed_head(store: Store, account: AccountId) -> ChainHead:
    """Return the head of the exported rows."""
    found = dict(await store.pairs("HGETALL", f"{log_of(account, store.partitions)}:seal"))
    return ChainHead(int(found["n"]), found["hash"]) if "n" in found else genesis(account)


async def anchor(store: Store, account: AccountId) -> ChainHead:
    """Return the head before the oldest kept row: the last trimmed row, or the genesis."""
    found = dict(await store.pairs("HGETALL", f"{log_of(account, store.partitions)}:seal"))
    return ChainHead(int(found["anchor_n"]), found["anchor"]) if "anchor_n" in found else genesis(account)


async def rows_after(store: Store, account: AccountId, seq: int, count: int) -> list[AuditRow]:
    """Return the oldest rows after ``seq``, at most ``count``. Raises AuditGapError for a gap in the numbers."""
    log = log_of(account, store.partitions)
    found = await store.command("XRANGE", log, f"{seq + 1}-0", "+", "COUNT", count)
    rows = [row_of(entry_id, fields) for entry_id, fields in found]
    for place, row in enumerate(rows, seq + 1):
        if row.seq != place:
            raise AuditGapError(
                f"the audit of {account or 'the store'} has no row {place}: it was removed by another program"
            )
    return rows


async def exported(store: Store, account: AccountId) -> AsyncIterator[bytes]:
    """Yield all kept rows of a log as chained lines, for ``audit export``. Raises AuditGapError."""
    head = await anchor(store, account)
    while rows := await rows_after(store, account, head.seq, BATCH):
        for row in rows:
            line, head = chained(account, head, row)
            yield line
