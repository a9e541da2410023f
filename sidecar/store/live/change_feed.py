"""Change feed of one partition: applied in order and resumed at the exact entry. A gap drops all copies.

Each new connection must prove that it leads to the known store (proof.py). An empty, another or an older store is
rejected, unless a data-set entry with our own code announces it.

``heard`` is the time at which the last fully applied read was SENT: every change acknowledged before it is applied
here. The feed makes no serving decisions. Its followers make them from that time.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, Final, Never

from sidecar.store import keys, scripts
from sidecar.store.codec import info_fields
from sidecar.store.connection import Store, decoded
from sidecar.store.errors import StoreUnavailableError, guarded_call, is_not_permitted
from sidecar.store.integrity.data_set import change_of_entry
from sidecar.store.integrity.feed_entries import DATA_SET, FeedEntry, FeedListener, FeedReset, change_of, entries_of
from sidecar.store.integrity.partition_state import PartitionState
from sidecar.store.integrity.proof import FeedPosition, ProofResult, StoreProof, evaluate, proof_of
from sidecar.store.integrity.recovered import RecoveryRecord, Seal, path

__all__ = ["Feed", "FeedEntry", "FeedLineage", "FeedListener", "FeedReset", "change_of", "entries_of"]

BATCH: Final = 1000
RETRY: Final = 0.05
AT_ONCE: Final = 0.001
"""Seconds. Redis reads 0 as no timeout."""
RETRY_CHANGED: Final = 0.25
"""Seconds between connection attempts while the store is not the known one."""
MAX_ANCESTORS: Final = 100
READ_SLACK: Final = 0.5
"""Seconds by which a read may exceed its block time before the connection counts as dead."""


@dataclass(frozen=True, slots=True)
class FeedLineage:
    """Evidence that links another data set, or the store after a restart, to the known one.

    ``seal``: computes the code of a data-set entry (R46). ``known``: position before a restart, which the store must
    prove like the position of a followed feed. ``adopted``: called before a recovered store is followed (R48)."""

    seal: Seal | None = None
    known: FeedPosition | None = None
    adopted: Callable[[int, RecoveryRecord], None] = lambda _partition, _recovered: None


UNKNOWN: Final = FeedLineage()


class Feed:
    """Feed of one partition. ``report`` receives the partition's state when a new connection fails the proof."""

    def __init__(
        self,
        store: Store,
        partition: int,
        followers: Sequence[FeedListener],
        *,
        lease: float,
        clock: Callable[[], float],
        report: Callable[[int, PartitionState, str], None] = lambda _partition, _state, _reason: None,
        connected: Callable[[], None] = lambda: None,
        lineage: FeedLineage = UNKNOWN,
    ) -> None:
        self._store = store
        self._partition = partition
        self._followers = followers
        self._clock = clock
        self._report = report
        self._seal = lineage.seal
        self._connected = connected
        self._block = max(0.01, min(0.25, lease / 4))
        self._key = keys.feed(partition)
        known = lineage.known
        self._last = known.entry if known else ""
        self._n = known.n if known else 0
        self._data_set = known.data_set if known else ""
        self._ancestors = known.ancestors if known else ()
        self._adopted = lineage.adopted
        self._restarted = known is not None
        self._replication = ""
        self._doubted = False
        self._lost = False

    @property
    def position(self) -> FeedPosition | None:
        """Return the position of the last applied change; None before the first connection."""
        return FeedPosition(self._data_set, self._n, self._last, self._ancestors) if self._last else None

    @property
    def restarted(self) -> bool:
        """Return True while the position dates from before a restart and is not yet compared with the store."""
        return self._restarted

    def recoveries(self, found: StoreProof) -> tuple[RecoveryRecord, ...]:
        """Return the recoveries that lead from the data set followed here to the one found (R48)."""
        return path(self._partition, self._data_set, found.data_set, found.recovered, self._seal)

    def doubt(self) -> None:
        """Reconnect and prove the store before applying further changes, because its replies contradict the feed."""
        self._doubted = True

    async def run(self) -> None:
        """Follow the feed until cancelled. Retries while the store is unavailable."""
        while True:
            try:
                async with self._store.listening(self._key, self._block + READ_SLACK) as connection:
                    self._doubted = False
                    await self._resume(connection)
                    self._connected()
                    # Copies are unusable until a read completes, so the first read does not wait for entries.
                    await self._read(connection, AT_ONCE)
                    while not self._doubted:
                        await self._read(connection, self._block)
            except StoreUnavailableError:
                await asyncio.sleep(RETRY)

    async def _read(self, connection: Any, block: float, *, proven: bool = True) -> None:
        """Read once and apply. ``block``: seconds to wait for an entry. ``proven``: the read renews the lease."""
        sent, ms = self._clock(), round(block * 1000)
        raw = await guarded_call(
            connection.execute_command("XREAD", "COUNT", BATCH, "BLOCK", ms, "STREAMS", self._key, self._last)
        )
        wanted = 0
        entries = entries_of(raw)
        for entry_id, fields in entries:
            change = change_of(fields, entry_id)
            if change.n != self._n + 1 and not self._jumps(change):
                if not proven:
                    raise StoreUnavailableError("the feed has a gap before the change that may announce its data set")
                await self._prove(connection)
                await self._flush(connection)
                return
            self._apply(change, fields)
            self._last, self._n = entry_id, change.n
            wanted = change.n if change.ack else wanted
        if len(entries) < BATCH and proven:
            for follower in self._followers:
                follower.on_heartbeat(self._partition, sent)
        if wanted:
            await self._acknowledge(wanted)

    async def _acknowledge(self, n: int) -> None:
        for follower in self._followers:
            with suppress(StoreUnavailableError):  # the writer then waits for our lease instead
                await follower.acknowledge(self._partition, n)

    def _jumps(self, change: FeedEntry) -> bool:
        """Return whether the entry is a recovery that follows the last applied change and skips the lost numbers."""
        return change.kind == DATA_SET and change.before == self._n < change.n

    def _apply(self, change: FeedEntry, fields: Mapping[str, str]) -> None:
        if change.kind == DATA_SET:
            self._follow_data_set(change, fields)
            return
        for follower in self._followers:
            follower.apply(self._partition, change)

    def _follow_data_set(self, change: FeedEntry, fields: Mapping[str, str]) -> None:
        """Follow our own restore, recovery or issuer change to its data set (R46).

        Raises StoreUnavailableError for an entry with an invalid code."""
        announced = change_of_entry(self._partition, fields)
        code = self._seal(announced) if announced and self._seal else ""
        if not announced or announced.before != self._data_set or not compare_digest(code, fields.get("code", "?")):
            raise StoreUnavailableError("the feed announces a data set without a valid code")
        self._inherit(announced.after)
        self._last, self._n = change.entry, change.n
        self._reset_followers(new_data_set=True, position=self.position, change=change)

    def _inherit(self, data_set: str, *between: str) -> None:
        older = (one for one in self._ancestors if one != data_set)
        self._ancestors = (*older, self._data_set, *between)[-MAX_ANCESTORS:]
        self._data_set = data_set

    async def _resume(self, connection: Any) -> None:
        """Prove on a new connection that the store is the followed one and has the last entry in its place."""
        if self._last == "":
            await self._flush(connection)
            return
        verdict = await self._prove(connection)
        replication = await _replication(connection)
        if verdict.trimmed or self._restarted:
            await self._flush(connection)
        elif replication != self._replication:  # the new master has our entry but may lack newer facts
            self._reset_followers()
        self._replication = replication

    async def _prove(self, connection: Any) -> ProofResult:
        """Return a verdict of ok. Any other verdict is reported and raised as StoreUnavailableError."""
        found = await self._found(connection)
        verdict = evaluate(self.position, found, self._store.identity)
        if verdict.state is PartitionState.REGRESSED:
            self._restarted = False
        if self._restarted and not self.recoveries(found) and verdict.state in {PartitionState.CHANGED, None}:
            # After a restart, another store is accepted (R46).
            self._ancestors = ()
            return ProofResult(PartitionState.OK, trimmed=True)
        if verdict.state is None:  # later entries may announce it; they renew no lease
            await self._read(connection, AT_ONCE, proven=False)
            found = await self._found(connection)
            verdict = evaluate(self.position, found, self._store.identity)
        if verdict.state is not PartitionState.OK and (recoveries := self.recoveries(found)):
            self._adopt(recoveries)
            return ProofResult(PartitionState.OK, trimmed=True)
        if verdict.state is not PartitionState.OK:
            if not self._lost:
                self._reset_followers()
            await self._lose(verdict)
        self._lost = False
        return verdict

    def _adopt(self, recoveries: Sequence[RecoveryRecord]) -> None:
        """Continue at the end of the new data set: the store was recovered while it was not followed here (R48)."""
        self._adopted(self._partition, recoveries[0])
        self._inherit(recoveries[-1].after, *(one.before for one in recoveries[1:]))
        self._reset_followers(new_data_set=True)
        self._lost = False

    async def _lose(self, verdict: ProofResult) -> Never:
        """Report, wait, then raise so that `run` reconnects: the known store may return."""
        self._lost = True
        self._report(self._partition, verdict.state or PartitionState.CHANGED, verdict.reason)
        await asyncio.sleep(RETRY_CHANGED)
        raise StoreUnavailableError(verdict.reason)

    async def _found(self, connection: Any) -> StoreProof:
        return proof_of(await self._tail(connection, self._last))

    async def _flush(self, connection: Any) -> None:
        """Restart from the tail without copies. The tail is read first, so that later changes are received."""
        tail = await self._tail(connection, "")
        verdict = evaluate(None, proof_of(tail), self._store.identity)
        if verdict.state is not PartitionState.OK:
            await self._lose(verdict)
        self._replication = await _replication(connection)
        self._last, self._n, self._data_set = tail["id"], int(tail["n"] or 0), tail["gen"]
        self._restarted = False
        self._reset_followers(position=self.position)
        await self._acknowledge(self._n)  # no copy predates the tail: earlier changes need no wait

    def _reset_followers(
        self, *, new_data_set: bool = False, position: FeedPosition | None = None, change: FeedEntry | None = None
    ) -> None:
        for follower in self._followers:
            follower.flush(FeedReset(self._partition, self._n, new_data_set, position, change))

    async def _tail(self, connection: Any, last: str) -> Mapping[str, Any]:
        script, meta = scripts.script("feed_tail"), keys.partition_meta(self._partition)
        raw = await guarded_call(
            connection.execute_command("EVAL", script.text, 2, self._key, meta, last, self._data_set)
        )
        return decoded(raw)


async def _replication(connection: Any) -> str:
    """Return the replication id, which changes with the master; empty without INFO.

    Raises StoreUnavailableError for a replica, because its lag behind the master is unknown."""
    try:
        info = info_fields(await guarded_call(connection.execute_command("INFO", "replication")))
    except StoreUnavailableError as problem:
        if is_not_permitted(problem):
            return ""
        raise
    if info.get("role", "master") != "master":
        raise StoreUnavailableError("the server is a replica now")
    return info.get("master_replid", "")
