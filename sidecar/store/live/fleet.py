"""Which sidecars live, what they serve, and which change each of them has applied.

A sidecar may use its copies only while it is registered, and a registration outlives the copies. So a change that every
registered sidecar has applied is unseen nowhere; and so is any change once the longest lease has run out since. Absence
proves nothing (R31): after a new connection, data set or master, that whole time is waited.
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
from sidecar.store.errors import StoreUnavailable, refusal
from sidecar.store.integrity.partition_state import PartitionStates, State
from sidecar.store.integrity.proof import RESTORING, FeedPosition, Found, Verdict, found_of, judge
from sidecar.store.integrity.recovered import Recovered
from sidecar.store.live.change_feed import Change, Tail
from sidecar.store.outcomes import Position

MARGIN: Final = 0.2
FIRST_POLL: Final = 0.001
LONGEST_POLL: Final = 0.02


@dataclass(frozen=True, slots=True)
class Revocation:
    """R31: ``complete`` when every live sidecar has applied the change or its lease has run out; never from absence.

    ``revision`` names the change: what its caller may ask to be seen, anywhere (R30).
    """

    complete: bool
    sidecars: int
    waited_ms: int
    revision: int = 0


class Registered(Protocol):
    """Holder of copies that may be used only while the partition's registration lasts."""

    def registered(self, partition: int, at: float) -> None: ...
    def rejected(self, partition: int) -> None: ...


class Watched(Protocol):
    """The partition's feed: its position is what a registration proves."""

    @property
    def position(self) -> FeedPosition | None: ...
    @property
    def restarted(self) -> bool: ...
    def recoveries(self, found: Found) -> tuple[Recovered, ...]: ...
    def doubt(self) -> None: ...


class Fleet:
    """This sidecar's part in the fleet, and its view of it. ``clock`` is monotonic; ``id`` is this process's own."""

    def __init__(
        self,
        store: Store,
        records: Registered,
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
        self.feeds: Mapping[int, Watched] = {}
        """By partition; empty while nothing is followed yet."""
        self.objection = ""
        """Why the store is not this sidecar's, by the last look at its meta record; empty: it is (R46)."""
        self.id = id
        self._lease = lease
        self._clock = clock
        self._sleep = sleep
        self._restoring: set[int] = set()
        self._told: dict[str, Any] = {}
        self._longest = lease
        self._trusted_from = float("inf")
        self._era = 0
        self._seen: dict[int, int] = {}

    def tell(self, **facts: Any) -> None:
        """What the others may know of this sidecar (its policy generation, its key set), said at each registration."""
        self._told.update(facts)

    async def run(self) -> None:
        """Register, twice a lease, until cancelled. Never raises for a store that is out."""
        while True:
            await self.register()
            await self._sleep(self._lease / 2)

    async def register(self) -> None:
        """Once, in every partition at the same time: the outage of one is no other's."""
        await asyncio.gather(*(self._register(partition) for partition in range(self._store.partitions)))

    async def _register(self, partition: int) -> None:
        """The registration brings back the proof (R46); only a proven one permits copies."""
        sent, feed = self._clock(), self.feeds.get(partition)
        known = feed.position if feed else None
        try:
            reply = await self._say(partition, self._lease, known)
            found = found_of(reply)
            verdict = judge(known, found, self._store.identity)
            if verdict.repair and known:
                await self._repair(partition, known)
            if verdict.state is State.OK and reply["refused"]:
                raise refusal(str(reply["refused"]))
        except StoreUnavailable as problem:
            self._note_outage(partition, problem)
            return
        if feed and self._is_left_to(feed, verdict, found):
            self._records.rejected(partition)
            return
        if self.objection and verdict.state is State.OK:
            verdict = Verdict(State.CHANGED, self.objection)
        self._conclude(partition, sent, verdict)
        if feed and (verdict.trimmed or verdict.state not in {State.OK, None} or self._is_behind(partition, known)):
            feed.doubt()
        self._seen[partition] = found.n or 0
        if RESTORING in found.meta:
            self._restoring.add(partition)
        else:
            self._restoring.discard(partition)

    def _conclude(self, partition: int, sent: float, verdict: Verdict) -> None:
        if verdict.state is State.OK:
            self._records.registered(partition, sent)
        elif verdict.state is not None:
            self._records.rejected(partition)
        if verdict.state is not None:
            self._states.report(partition, verdict.state, verdict.reason)

    @staticmethod
    def _is_left_to(feed: Watched, verdict: Verdict, found: Found) -> bool:
        """The feed takes another data set: it has just started, or the store was recovered (R48)."""
        if feed.restarted and verdict.state in {State.CHANGED, None}:
            return True
        if verdict.state in {State.CHANGED, State.REGRESSED} and feed.recoveries(found):
            feed.doubt()
            return True
        return False

    def _note_outage(self, partition: int, problem: StoreUnavailable) -> None:
        """Nothing was registered. Without an answer the copies live on until their lease ends."""
        if problem.answered:
            self._records.rejected(partition)
            self._store.suspect()
        state = State.REFUSING if problem.answered else State.OUT
        readable = problem.answered and not problem.refused
        self._states.report(partition, state, str(problem), readable=readable)

    def _is_behind(self, partition: int, known: FeedPosition | None) -> bool:
        """The feed lacks a change that the last registration saw: its connection leads elsewhere."""
        return known is not None and known.n < self._seen.get(partition, 0)

    async def _repair(self, partition: int, known: FeedPosition) -> None:
        """Write the counter and the data set's id again, where their keys alone are gone."""
        key = keys.feed(partition)
        await self._store.change("SET", f"{key}:gen", known.data_set, "NX")
        await self._store.change("SET", f"{key}:n", known.n, "NX")

    @property
    def restoring(self) -> bool:
        """A restore is under way, or was cut short: the store holds a part of it."""
        return bool(self._restoring)

    async def leave(self) -> None:
        """At the end: nobody need wait for us."""
        for partition in range(self._store.partitions):
            await self._say(partition, 0, None)

    async def wait_applied(self, position: Position) -> Revocation:
        """Wait until the change cannot be unseen anywhere. Bounded: the longest lease + 200 ms.

        A store that stops answering meanwhile leaves it unknown: ``complete`` is false, the change is done.
        """
        began, era, pause = self._clock(), self._era, FIRST_POLL
        live, done = 0, False
        while not done:
            missing = -1
            with suppress(StoreUnavailable):  # asked again, until the longest lease has run out anyway
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
        """Tell every sidecar of what belongs to no account: ``keys``, ``policy``. One position a partition."""
        positions = []
        for partition in range(self._store.partitions):
            reply = await self._store.run("announce", [keys.feed(partition)], [kind], write=True)
            positions.append(Position(partition, integer(reply["n"]), reply.get("durable", True)))
        return positions

    async def members(self) -> list[dict[str, Any]]:
        """The live sidecars: id, what each says of itself, the last change it has acknowledged."""
        reply = await self._store.run("fleet", [keys.sidecars(0)], [])
        found = ({"id": id_, **json.loads(told), "applied": integer(n)} for id_, told, n in items(reply["all"]))
        return sorted(found, key=lambda member: str(member["id"]))

    # As a follower of the feed ---------------------------------------------------------------------------------------

    def apply(self, partition: int, change: Change) -> None:
        """The records do."""

    def heard(self, partition: int, at: float) -> None:
        """The records count that."""

    def flush(self, _tail: Tail) -> None:
        """The store is another than we knew: who is not registered there may still hold copies from before."""
        self._era += 1
        self._trusted_from = self._clock() + self._longest + MARGIN

    async def acknowledge(self, partition: int, n: int) -> None:
        await self._store.change("HSET", f"{keys.sidecars(partition)}:applied", self.id, n)

    # Inside ----------------------------------------------------------------------------------------------------------

    async def _say(self, partition: int, lease: float, known: FeedPosition | None) -> Mapping[str, Any]:
        told = json.dumps(self._told, ensure_ascii=False)
        found = [keys.sidecars(partition), keys.feed(partition), keys.partition_meta(partition)]
        entry, data_set = (known.entry, known.data_set) if known else ("", "")
        return await self._store.run("register", found, [self.id, str(round(lease * 1000)), told, entry, data_set])

    async def _status(self, position: Position) -> tuple[int, int]:
        reply = await self._store.run("ack_status", [keys.sidecars(position.partition)], [str(position.n)])
        self._longest = max(self._lease, integer(reply["longest"]) / 1000)
        return integer(reply["live"]), integer(reply["missing"])


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
