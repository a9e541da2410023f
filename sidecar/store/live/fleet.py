"""Fleet: the live sidecars, the facts that they publish, and the last change that each has applied.

A sidecar may use its copies only while it is registered, and a registration outlives the copies. A change is therefore
in effect everywhere once every registered sidecar has applied it, or once the longest lease has passed since. Absence
proves nothing (R31): after a new connection, data set or master, a change waits for the whole longest lease.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sidecar.store import keys
from sidecar.store.codec import integer, items
from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailableError, refusal
from sidecar.store.integrity.partition_state import PartitionState, PartitionStates
from sidecar.store.integrity.proof import RESTORING, FeedPosition, ProofResult, StoreProof, evaluate, proof_of
from sidecar.store.live.change_feed import Feed, FeedEntry, FeedReset
from sidecar.store.outcomes import Position

MARGIN: Final = 0.2
FIRST_POLL: Final = 0.001
LONGEST_POLL: Final = 0.02


@dataclass(frozen=True, slots=True)
class Revocation:
    """Result of a wait (R31). ``complete``: every live sidecar has applied the change, or its lease has run out.

    Absence is never proof. ``revision`` names the change: callers may require it of any sidecar (R30).
    """

    complete: bool
    sidecars: int
    waited_ms: int
    revision: int = 0


class RegistrationListener(Protocol):
    """Holder of copies that are usable while the partition's registration lasts. Protocol: tests record the calls."""

    def registered(self, partition: int, at: float) -> None: ...
    def rejected(self, partition: int) -> None: ...


class Fleet:
    """Registration of this sidecar, and its view of the fleet. ``clock`` is monotonic; ``id`` names this process."""

    def __init__(
        self,
        store: Store,
        records: RegistrationListener,
        *,
        id: str,  # noqa: A002 (the word for it)
        lease: float,
        clock: Callable[[], float],
        states: PartitionStates,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._records = records
        self._states = states
        self.feeds: Mapping[int, Feed] = {}
        """Feeds by partition; empty before the first one is followed."""
        self.objection = ""
        """Reason to reject the store by its last read meta record; empty if it belongs to this sidecar (R46)."""
        self.on_incomplete: Callable[[], None] = lambda: None
        """Called when the effect of a change on every sidecar is not confirmed."""
        self.id = id
        self._lease = lease
        self._clock = clock
        self._sleep = sleep
        self._restoring: set[int] = set()
        self._reported: dict[str, Any] = {}
        self._longest = lease
        self._trusted_from = float("inf")
        self._era = 0
        self._seen: dict[int, int] = {}

    def set_facts(self, **facts: Any) -> None:
        """Set facts for other sidecars (policy generation, key set). Each registration publishes them."""
        self._reported.update(facts)

    async def run(self) -> None:
        """Register twice per lease until cancelled. Never raises StoreUnavailableError."""
        while True:
            await self.register()
            await self._sleep(self._lease / 2)

    async def register(self) -> None:
        """Register once in all partitions concurrently, so that an outage affects its own partition only."""
        await asyncio.gather(*(self._register(partition) for partition in range(self._store.partitions)))

    async def _register(self, partition: int) -> None:
        """Register in one partition. The reply holds the proof (R46); only a proven registration permits copies."""
        sent, feed = self._clock(), self.feeds.get(partition)
        known = feed.position if feed else None
        try:
            reply = await self._send_registration(partition, self._lease, known)
            found = proof_of(reply)
            verdict = evaluate(known, found, self._store.identity)
            if verdict.repair and known:
                await self._repair(partition, known)
            if verdict.state is PartitionState.OK and reply["refused"]:
                raise refusal(str(reply["refused"]))
        except StoreUnavailableError as problem:
            self._note_outage(partition, problem)
            return
        if feed and self._is_left_to(feed, verdict, found):
            self._records.rejected(partition)
            return
        if self.objection and verdict.state is PartitionState.OK:
            verdict = ProofResult(PartitionState.CHANGED, self.objection)
        self._conclude(partition, sent, verdict)
        if feed and (
            verdict.trimmed or verdict.state not in {PartitionState.OK, None} or self._is_behind(partition, known)
        ):
            feed.doubt()
        self._seen[partition] = found.n or 0
        if RESTORING in found.meta:
            self._restoring.add(partition)
        else:
            self._restoring.discard(partition)

    def _conclude(self, partition: int, sent: float, verdict: ProofResult) -> None:
        if verdict.state is PartitionState.OK:
            self._records.registered(partition, sent)
        elif verdict.state is not None:
            self._records.rejected(partition)
        if verdict.state is not None:
            self._states.report(partition, verdict.state, verdict.reason)

    @staticmethod
    def _is_left_to(feed: Feed, verdict: ProofResult, found: StoreProof) -> bool:
        """Return whether the feed accepts another data set: it has just started, or the store was recovered (R48)."""
        if feed.restarted and verdict.state in {PartitionState.CHANGED, None}:
            return True
        if verdict.state in {PartitionState.CHANGED, PartitionState.REGRESSED} and feed.recoveries(found):
            feed.doubt()
            return True
        return False

    def _note_outage(self, partition: int, problem: StoreUnavailableError) -> None:
        """Record a failed registration. Without a reply, copies stay usable until their lease ends."""
        if problem.answered:
            self._records.rejected(partition)
            self._store.suspect()
        state = PartitionState.REFUSING if problem.answered else PartitionState.OUT
        readable = problem.answered and not problem.refused
        self._states.report(partition, state, str(problem), readable=readable)

    def _is_behind(self, partition: int, known: FeedPosition | None) -> bool:
        """Return whether the feed lacks a change seen by the last registration: its connection leads elsewhere."""
        return known is not None and known.n < self._seen.get(partition, 0)

    async def _repair(self, partition: int, known: FeedPosition) -> None:
        """Rewrite the counter and the data set id where only their keys are gone."""
        key = keys.feed(partition)
        await self._store.change("SET", f"{key}:gen", known.data_set, "NX")
        await self._store.change("SET", f"{key}:n", known.n, "NX")

    @property
    def restoring(self) -> bool:
        """Return whether a restore is in progress or was interrupted: the store holds a part of it."""
        return bool(self._restoring)

    async def leave(self) -> None:
        """Leave the fleet, so that no change waits for this process."""
        for partition in range(self._store.partitions):
            await self._send_registration(partition, 0, None)

    async def wait_applied(self, position: Position) -> Revocation:
        """Wait until the change is in effect everywhere: at most the longest lease + 200 ms.

        If the store becomes unavailable, ``complete`` is false; the change itself is done.
        """
        revocation = await self._wait_applied(position)
        if not revocation.complete:
            self.on_incomplete()
        return revocation

    async def _wait_applied(self, position: Position) -> Revocation:
        began, era, pause = self._clock(), self._era, FIRST_POLL
        live, done = 0, False
        while not done:
            missing = -1
            with suppress(StoreUnavailableError):  # retried until the longest lease has passed
                live, missing = await self._status(position)
            now = self._clock()
            ran_out = now >= began + self._longest + MARGIN
            done = ran_out or (missing == 0 and now >= self._trusted_from)
            if ran_out and missing < 0:
                return Revocation(False, live, _ms(now - began), position.n)
            if not done:
                await self._sleep(pause)
                pause = min(pause * 1.5, LONGEST_POLL)
        complete = position.durable and era == self._era
        return Revocation(complete, live, _ms(self._clock() - began), position.n)

    async def announce(self, kind: str) -> Sequence[Position]:
        """Announce a change that belongs to no account: ``keys``, ``policy``. Returns one position per partition."""
        positions = []
        for partition in range(self._store.partitions):
            reply = await self._store.run("announce", [keys.feed(partition)], [kind], write=True)
            positions.append(Position(partition, integer(reply["n"]), reply.get("durable", True)))
        return positions

    async def members(self) -> list[dict[str, Any]]:
        """Return the live sidecars: id, published facts, number of the last acknowledged change."""
        reply = await self._store.run("fleet", [keys.sidecars(0)], [])
        found = ({"id": id_, **json.loads(reported), "applied": integer(n)} for id_, reported, n in items(reply["all"]))
        return sorted(found, key=lambda member: str(member["id"]))

    # Follower of the feed --------------------------------------------------------------------------------------------

    def apply(self, partition: int, change: FeedEntry) -> None:
        """No-op: the record cache applies changes."""

    def on_heartbeat(self, partition: int, at: float) -> None:
        """No-op: the record cache counts heartbeats."""

    def flush(self, _tail: FeedReset) -> None:
        """Restart the wait for the longest lease: sidecars not registered in this store may hold older copies."""
        self._era += 1
        self._trusted_from = self._clock() + self._longest + MARGIN

    async def acknowledge(self, partition: int, n: int) -> None:
        await self._store.change("HSET", f"{keys.sidecars(partition)}:applied", self.id, n)

    # Internals -------------------------------------------------------------------------------------------------------

    async def _send_registration(self, partition: int, lease: float, known: FeedPosition | None) -> Mapping[str, Any]:
        reported = json.dumps(self._reported, ensure_ascii=False)
        found = [keys.sidecars(partition), keys.feed(partition), keys.partition_meta(partition)]
        entry, data_set = (known.entry, known.data_set) if known else ("", "")
        return await self._store.run("register", found, [self.id, str(round(lease * 1000)), reported, entry, data_set])

    async def _status(self, position: Position) -> tuple[int, int]:
        """Return live sidecars and those that lack the change. Raises StoreUnavailableError for a store behind it."""
        found = [keys.sidecars(position.partition), keys.feed(position.partition)]
        reply = await self._store.run("ack_status", found, [str(position.n)])
        if integer(reply["n"]) < position.n:
            raise StoreUnavailableError("the store has lost the change: its registrations prove nothing")
        self._longest = max(self._lease, integer(reply["longest"]) / 1000)
        return integer(reply["live"]), integer(reply["missing"])


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
