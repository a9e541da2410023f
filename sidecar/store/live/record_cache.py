"""Cache of live user records: exact while its lease lasts; after that, reads go to the store.

``peek`` never waits; None means that ``read`` is needed. ``read`` raises StoreUnavailableError instead of returning old
data: a record below its high-water mark comes from a store that lost changes.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.domain.caching import FifoCache
from sidecar.domain.users import AccountId, UserId, UserRecord
from sidecar.store import keys
from sidecar.store.codec import integer, record_of
from sidecar.store.connection import Store, was_answered
from sidecar.store.errors import gather_all
from sidecar.store.integrity.partition_state import PartitionStates
from sidecar.store.live.batching import Batcher
from sidecar.store.live.change_feed import FeedEntry, FeedReset
from sidecar.store.live.singleflight import HighWaterMark, InFlightRead, ReadFence, StoreRegressedError
from sidecar.store.scripting import read_records
from sidecar.tokens.ids import account_of

MAX_COPIES: Final = 100_000
MAX_FLOORS: Final = 200_000
TRIES: Final = 3
MAX_AGE: Final = 30.0
"""Maximum age of a copy in seconds (R47): bounds the effect of changes outside the feed, by hand or by a fault."""
AGE_SPREAD: Final = 10.0
"""Seconds over which copies of one moment expire, so that they are not read again all at once."""


@dataclass(slots=True)
class Lease:
    """Lease of one partition's copies. Mutable and shared by all of them: one write renews all."""

    until: float = float("-inf")
    last_heartbeat: float = float("-inf")
    position: int = 0


@dataclass(frozen=True, slots=True)
class CachedRecord:
    """Cached record. ``until``: end of its maximum age (R47), independent of the lease."""

    record: UserRecord
    lease: Lease
    until: float


class RecordCache:
    """Record reader of all checks. Follows the feeds; ``clock`` is monotonic."""

    def __init__(
        self,
        store: Store,
        *,
        lease: float,
        clock: Callable[[], float],
        states: PartitionStates | None = None,
        on_regression: Callable[[UserId, int, int], None] = lambda _uid, _epoch, _revision: None,
        max_copies: int = MAX_COPIES,
        max_floors: int = MAX_FLOORS,
    ) -> None:
        self._store = store
        self._together = Batcher(self._fetch)
        self.lease_seconds = lease
        self.clock = clock
        self._states = states or PartitionStates(clock=clock)
        self._on_regression = on_regression
        self._max_floors = max_floors
        self._copies: FifoCache[UserId, CachedRecord] = FifoCache(max_copies)
        self.leases: dict[int, Lease] = {}
        self._floors: OrderedDict[UserId, HighWaterMark] = OrderedDict()
        self._account_floors: OrderedDict[AccountId, int] = OrderedDict()
        self._flights: dict[UserId, list[InFlightRead]] = {}
        self._registered: dict[int, float] = {}
        self._left = False
        self._known: Counter[int] = Counter()

    def peek(self, uid: UserId) -> UserRecord | None:
        """Return the copy; None when it has expired or does not exist. No await, no lock."""
        copy = self._copies.get(uid)
        if copy is None:
            return None
        now = self.clock()
        return copy.record if now < copy.lease.until and now < copy.until else None

    async def read(self, uid: UserId, *, fresh: bool = False) -> UserRecord | None:
        """Return the live copy or a direct read; None for an unknown user. Raises StoreUnavailableError.

        ``fresh`` skips the copy: for a token with a higher epoch or an unknown session (a recent sign-in)."""
        if not fresh and (copy := self.peek(uid)) is not None:
            return copy
        if (account := account_of(uid)) is None:
            return None
        partition = keys.partition_of(account, self._store.partitions)
        self._states.require_proven(partition)
        self._states.require(partition)
        for _ in range(TRIES):
            flight = next(reversed(self._flights.get(uid, ())), None)
            if fresh or flight is None or flight.stale or not self._live(partition):
                break
            record = await flight.wait()
            if not flight.stale:
                return record
        return await self._start_fetch(uid, account, partition).wait()

    @property
    def copies(self) -> int:
        return len(self._copies)

    def position(self, account: AccountId) -> int:
        """Return the number of the last change applied here in the account's partition (R30)."""
        return self.lease(keys.partition_of(account, self._store.partitions)).position

    def live(self, account: AccountId) -> bool:
        """Return whether copies of the account's data are usable now; for other caches (PEP keys)."""
        return self._live(keys.partition_of(account, self._store.partitions))

    def lag(self) -> float:
        """Return the seconds since the last heartbeat of the partition that is furthest behind."""
        return max(self.lags().values(), default=float("inf"))

    def lags(self) -> Mapping[int, float]:
        """Return the seconds since the last heartbeat of each partition's feed."""
        now = self.clock()
        return {partition: now - lease.last_heartbeat for partition, lease in self.leases.items()}

    def known_users(self) -> Mapping[int, int]:
        """Return the number of users seen here by partition; above ``max_floors`` the least recent are dropped."""
        return self._known

    # Follower of the feed --------------------------------------------------------------------------------------------

    def apply(self, partition: int, change: FeedEntry) -> None:
        self.lease(partition).position = change.n
        self._store.gate.follow(partition, change.n)
        if change.kind in {"account", "restored"}:
            _raise_floor(self._account_floors, change.account, change.seq, self._max_floors)
            self._drop_account(change.account)
            if change.kind == "restored":  # a removed user may exist again, with a higher epoch
                self._clear_floor(change.account)
            return
        if change.user:
            self._copies.pop(change.user, None)
            self._mark_stale(change.user)
            self._raise(change.user, HighWaterMark(change.seq, change.epoch, removed=change.kind == "removed"))

    def on_heartbeat(self, partition: int, at: float) -> None:
        self.lease(partition).last_heartbeat = at
        self._extend(partition)

    def flush(self, tail: FeedReset) -> None:
        lease = self.lease(tail.partition)
        gone = [uid for uid, copy in self._copies.items() if copy.lease is lease]
        for uid in gone:
            del self._copies[uid]
        for uid in self._flights:
            self._mark_stale(uid)
        lease.until = lease.last_heartbeat = float("-inf")
        lease.position = tail.n
        self._store.gate.follow(tail.partition, tail.n)
        if tail.new_data_set:  # a restore resets the counts but raises every epoch, so epoch marks stay
            self._account_floors.clear()
            for uid, floor in self._floors.items():
                self._floors[uid] = HighWaterMark(0, floor.epoch)

    async def acknowledge(self, partition: int, n: int) -> None:
        """No-op: the fleet acknowledges changes."""

    # Registration results --------------------------------------------------------------------------------------------

    def registered(self, partition: int, at: float) -> None:
        """Renew the lease: a registration sent at ``at`` proved that the store is the known one and accepts writes."""
        self._registered[partition] = at
        self._extend(partition)

    def rejected(self, partition: int) -> None:
        """Stop the use of copies: the store rejects writes or is not the known one."""
        self._registered[partition] = float("-inf")
        self._extend(partition)

    def left(self) -> None:
        """Stop the use of all copies: after leaving the fleet, no change waits for this process (R31)."""
        self._left = True
        for partition in self.leases:
            self._extend(partition)

    # Internals -------------------------------------------------------------------------------------------------------

    def lease(self, partition: int) -> Lease:
        """Return the lease of the partition's copies; the same object at each call."""
        return self.leases.setdefault(partition, Lease())

    def _extend(self, partition: int) -> None:
        lease = self.lease(partition)
        registered = float("-inf") if self._left else self._registered.get(partition, float("-inf"))
        lease.until = min(lease.last_heartbeat, registered) + self.lease_seconds

    def _live(self, partition: int) -> bool:
        return self.clock() < self.lease(partition).until

    def _start_fetch(self, uid: UserId, account: AccountId, partition: int) -> InFlightRead:
        """Queue a new read. It is sent after this call, so its result is at least as recent."""
        flight = InFlightRead(uid, account)
        self._flights.setdefault(uid, []).append(flight)
        self._together.add(partition, flight)
        return flight

    async def _fetch(self, partition: int, flights: list[InFlightRead]) -> None:
        """Read all records in one batch and resolve every in-flight read, also after an error.

        Only the end of the event loop cancels this task, and then its callers as well."""
        try:
            outcomes = await self._outcomes(flights)
        except Exception as problem:
            if len(flights) > 1 and was_answered(problem):
                await gather_all(*(self._fetch(partition, [flight]) for flight in flights))
                return
            outcomes = [problem] * len(flights)
        for flight, outcome in zip(flights, outcomes, strict=True):
            self._land(flight, outcome, partition)

    async def _outcomes(self, flights: list[InFlightRead]) -> list[UserRecord | Exception | None]:
        guards = [
            ReadFence(self._account_floors.get(flight.account, 0), self._floors.get(flight.uid)) for flight in flights
        ]
        reply = await read_records(self._store, [(flight.account, flight.uid) for flight in flights])
        return [
            self._believed(flight, guard, found)
            for flight, guard, found in zip(flights, guards, reply["found"], strict=True)
        ]

    def _land(self, flight: InFlightRead, outcome: UserRecord | Exception | None, partition: int) -> None:
        flights = self._flights[flight.uid]
        flights.remove(flight)
        if not flights:
            del self._flights[flight.uid]
        if isinstance(outcome, UserRecord) and not flight.stale and self._live(partition):
            self._keep(outcome, partition)
        flight.resolve(outcome)

    def _believed(self, flight: InFlightRead, guard: ReadFence, found: dict[str, Any]) -> UserRecord | Exception | None:
        try:
            record = record_of(flight.account, found["r"]) if "r" in found else None
            problem = guard.objection(flight, record, seq=integer(found["s"]))
            if isinstance(problem, StoreRegressedError):
                self._on_regression(flight.uid, problem.floor.epoch, problem.floor.revision)
        except Exception as bug:  # a malformed reply for one user must not fail the rest of the batch
            return bug
        return problem or record

    def _keep(self, record: UserRecord, partition: int) -> None:
        floor = self._floors.get(record.id)
        if floor is not None and record.revision < floor.revision:
            return  # a later read returned more; its change is about to arrive
        known = self._copies.get(record.id)
        if known is not None and known.record == record:
            record = known.record  # keep the object: cached decisions made with it stay valid
        until = self.clock() + MAX_AGE - hash(record.id) % 1000 / 1000 * AGE_SPREAD
        self._copies.set(record.id, CachedRecord(record, self.lease(partition), until))
        self._raise(record.id, HighWaterMark(record.revision, record.epoch))

    def _clear_floor(self, account: AccountId) -> None:
        for uid, floor in self._floors.items():
            if account_of(uid) == account:
                self._floors[uid] = HighWaterMark(0, floor.epoch)

    def _raise(self, uid: UserId, seen: HighWaterMark) -> None:
        if uid not in self._floors:
            self._known[self._partition(uid)] += 1
        known = self._floors.pop(uid, seen)
        self._floors[uid] = HighWaterMark(
            max(known.revision, seen.revision), max(known.epoch, seen.epoch), known.removed or seen.removed
        )
        if len(self._floors) > self._max_floors:
            gone, _ = self._floors.popitem(last=False)
            self._known[self._partition(gone)] -= 1

    def _partition(self, uid: UserId) -> int:
        return keys.partition_of(account_of(uid) or AccountId(""), self._store.partitions)

    def _mark_stale(self, uid: UserId) -> None:
        for flight in self._flights.get(uid, ()):
            flight.stale = True

    def _drop_account(self, account: AccountId) -> None:
        for uid in [uid for uid, copy in self._copies.items() if copy.record.account == account]:
            del self._copies[uid]
        for uid in self._flights:
            if account_of(uid) == account:
                self._mark_stale(uid)


def _raise_floor(floors: "OrderedDict[AccountId, int]", account: AccountId, seq: int, limit: int) -> None:
    floors[account] = max(seq, floors.pop(account, 0))
    if len(floors) > limit:
        floors.popitem(last=False)
