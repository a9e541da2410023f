"""Cache of live user records: exact while its lease lasts; after that, reads go to the store.

``peek`` never waits; None means that ``read`` is needed. ``read`` raises StoreUnavailable instead of returning old
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
from sidecar.store.connection import Store, gathered, was_answered
from sidecar.store.integrity.partition_state import PartitionStates
from sidecar.store.live.batching import Together
from sidecar.store.live.change_feed import Change, Tail
from sidecar.store.live.singleflight import Flight, Floor, Guard, WentBack
from sidecar.store.scripting import look_up
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
    heard: float = float("-inf")
    position: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    """Cached record. ``until``: end of its maximum age (R47), independent of the lease."""

    record: UserRecord
    lease: Lease
    until: float


class Records:
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
        self._together = Together(self._fly)
        self._lease_seconds = lease
        self._clock = clock
        self._states = states or PartitionStates(clock=clock)
        self._on_regression = on_regression
        self._max_floors = max_floors
        self._copies: FifoCache[UserId, Copy] = FifoCache(max_copies)
        self._leases: dict[int, Lease] = {}
        self._floors: OrderedDict[UserId, Floor] = OrderedDict()
        self._account_floors: OrderedDict[AccountId, int] = OrderedDict()
        self._flights: dict[UserId, list[Flight]] = {}
        self._registered: dict[int, float] = {}
        self._left = False
        self._known: Counter[int] = Counter()

    def peek(self, uid: UserId) -> UserRecord | None:
        """Return the copy; None when it has expired or does not exist. No await, no lock."""
        copy = self._copies.get(uid)
        if copy is None:
            return None
        now = self._clock()
        return copy.record if now < copy.lease.until and now < copy.until else None

    async def read(self, uid: UserId, *, fresh: bool = False) -> UserRecord | None:
        """Return the live copy or a direct read; None for an unknown user. Raises StoreUnavailable.

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
            if fresh or flight is None or flight.dirty or not self._live(partition):
                break
            record = await flight.landing()
            if not flight.dirty:
                return record
        return await self._take_off(uid, account, partition).landing()

    @property
    def copies(self) -> int:
        return len(self._copies)

    def position(self, account: AccountId) -> int:
        """Return the number of the last change applied here in the account's partition (R30)."""
        return self._lease(keys.partition_of(account, self._store.partitions)).position

    def live(self, account: AccountId) -> bool:
        """Return whether copies of the account's data are usable now; for other caches (PEP keys)."""
        return self._live(keys.partition_of(account, self._store.partitions))

    def lag(self) -> float:
        """Return the seconds since the last heartbeat of the partition that is furthest behind."""
        return max(self.lags().values(), default=float("inf"))

    def lags(self) -> Mapping[int, float]:
        """Return the seconds since the last heartbeat of each partition's feed."""
        now = self._clock()
        return {partition: now - lease.heard for partition, lease in self._leases.items()}

    def known_users(self) -> Mapping[int, int]:
        """Return the number of users seen here by partition; above ``max_floors`` the least recent are dropped."""
        return self._known

    # Follower of the feed --------------------------------------------------------------------------------------------

    def apply(self, partition: int, change: Change) -> None:
        self._lease(partition).position = change.n
        self._store.gate.follow(partition, change.n)
        if change.kind in {"account", "restored"}:
            _raise_floor(self._account_floors, change.account, change.seq, self._max_floors)
            self._drop_account(change.account)
            if change.kind == "restored":  # a removed user may exist again, with a higher epoch
                self._forgive(change.account)
            return
        if change.user:
            self._copies.pop(change.user, None)
            self._soil(change.user)
            self._raise(change.user, Floor(change.seq, change.epoch, removed=change.kind == "removed"))

    def heard(self, partition: int, at: float) -> None:
        self._lease(partition).heard = at
        self._extend(partition)

    def flush(self, tail: Tail) -> None:
        lease = self._lease(tail.partition)
        gone = [uid for uid, copy in self._copies.items() if copy.lease is lease]
        for uid in gone:
            del self._copies[uid]
        for uid in self._flights:
            self._soil(uid)
        lease.until = lease.heard = float("-inf")
        lease.position = tail.n
        self._store.gate.follow(tail.partition, tail.n)
        if tail.new_data_set:  # a restore resets the counts but raises every epoch, so epoch marks stay
            self._account_floors.clear()
            for uid, floor in self._floors.items():
                self._floors[uid] = Floor(0, floor.epoch)

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
        for partition in self._leases:
            self._extend(partition)

    # Internals -------------------------------------------------------------------------------------------------------

    def _lease(self, partition: int) -> Lease:
        return self._leases.setdefault(partition, Lease())

    def _extend(self, partition: int) -> None:
        lease = self._lease(partition)
        registered = float("-inf") if self._left else self._registered.get(partition, float("-inf"))
        lease.until = min(lease.heard, registered) + self._lease_seconds

    def _live(self, partition: int) -> bool:
        return self._clock() < self._lease(partition).until

    def _take_off(self, uid: UserId, account: AccountId, partition: int) -> Flight:
        """Queue a new read. It is sent after this call, so its result is at least as recent."""
        flight = Flight(uid, account)
        self._flights.setdefault(uid, []).append(flight)
        self._together.add(partition, flight)
        return flight

    async def _fly(self, partition: int, flights: list[Flight]) -> None:
        """Read all records in one batch and resolve every in-flight read, also after an error.

        Only the end of the event loop cancels this task, and then its callers as well."""
        try:
            outcomes = await self._outcomes(flights)
        except Exception as problem:
            if len(flights) > 1 and was_answered(problem):
                await gathered(*(self._fly(partition, [flight]) for flight in flights))
                return
            outcomes = [problem] * len(flights)
        for flight, outcome in zip(flights, outcomes, strict=True):
            self._land(flight, outcome, partition)

    async def _outcomes(self, flights: list[Flight]) -> list[UserRecord | Exception | None]:
        guards = [
            Guard(self._account_floors.get(flight.account, 0), self._floors.get(flight.uid)) for flight in flights
        ]
        reply = await look_up(self._store, [(flight.account, flight.uid) for flight in flights])
        return [
            self._believed(flight, guard, found)
            for flight, guard, found in zip(flights, guards, reply["found"], strict=True)
        ]

    def _land(self, flight: Flight, outcome: UserRecord | Exception | None, partition: int) -> None:
        flights = self._flights[flight.uid]
        flights.remove(flight)
        if not flights:
            del self._flights[flight.uid]
        if isinstance(outcome, UserRecord) and not flight.dirty and self._live(partition):
            self._keep(outcome, partition)
        flight.land(outcome)

    def _believed(self, flight: Flight, guard: Guard, found: dict[str, Any]) -> UserRecord | Exception | None:
        try:
            record = record_of(flight.account, found["r"]) if "r" in found else None
            problem = guard.objection(flight, record, seq=integer(found["s"]))
            if isinstance(problem, WentBack):
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
        until = self._clock() + MAX_AGE - hash(record.id) % 1000 / 1000 * AGE_SPREAD
        self._copies.set(record.id, Copy(record, self._lease(partition), until))
        self._raise(record.id, Floor(record.revision, record.epoch))

    def _forgive(self, account: AccountId) -> None:
        for uid, floor in self._floors.items():
            if account_of(uid) == account:
                self._floors[uid] = Floor(0, floor.epoch)

    def _raise(self, uid: UserId, seen: Floor) -> None:
        if uid not in self._floors:
            self._known[self._partition(uid)] += 1
        known = self._floors.pop(uid, seen)
        self._floors[uid] = Floor(
            max(known.revision, seen.revision), max(known.epoch, seen.epoch), known.removed or seen.removed
        )
        if len(self._floors) > self._max_floors:
            gone, _ = self._floors.popitem(last=False)
            self._known[self._partition(gone)] -= 1

    def _partition(self, uid: UserId) -> int:
        return keys.partition_of(account_of(uid) or AccountId(""), self._store.partitions)

    def _soil(self, uid: UserId) -> None:
        for flight in self._flights.get(uid, ()):
            flight.dirty = True

    def _drop_account(self, account: AccountId) -> None:
        for uid in [uid for uid, copy in self._copies.items() if copy.record.account == account]:
            del self._copies[uid]
        for uid in self._flights:
            if account_of(uid) == account:
                self._soil(uid)


def _raise_floor(floors: "OrderedDict[AccountId, int]", account: AccountId, seq: int, limit: int) -> None:
    floors[account] = max(seq, floors.pop(account, 0))
    if len(floors) > limit:
        floors.popitem(last=False)
