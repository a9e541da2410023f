"""The live records: a local copy that is exact while its lease lasts, and the store itself past it.

``peek`` never waits and never guesses: None means ask ``read``. ``read`` raises StoreUnavailable rather than answer an
older truth: a record below what was once seen here comes from a store that went back in time.
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
"""Seconds that a copy is used at most (R47): what changed beside the feed, by hand or by a fault, is seen by then."""
AGE_SPREAD: Final = 10.0
"""Seconds by which copies of one moment end apart, so that they are not read again all at once."""


@dataclass(slots=True)
class Lease:
    """Until when the copies of one partition may be used. Mutable, and shared by all of them: one write moves all."""

    until: float = float("-inf")
    heard: float = float("-inf")
    position: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    """``until``: end of its greatest age (R47), whatever the lease allows."""

    record: UserRecord
    lease: Lease
    until: float


class Records:
    """The records' only reader for checks. Follows the feeds; ``clock`` is monotonic."""

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
        """The copy, if it is live now; None when it is not, or when there is no copy. No await, no lock."""
        copy = self._copies.get(uid)
        if copy is None:
            return None
        now = self._clock()
        return copy.record if now < copy.lease.until and now < copy.until else None

    async def read(self, uid: UserId, *, fresh: bool = False) -> UserRecord | None:
        """The live copy or a direct read; None when there is no such user. ``fresh`` skips the copy: ask so when a
        token's epoch is above the copy's or its session is not in it (a sign-in a moment ago)."""
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
        """The last change applied here of the account's partition (R30)."""
        return self._lease(keys.partition_of(account, self._store.partitions)).position

    def live(self, account: AccountId) -> bool:
        """May a copy of what belongs to this account be used at this instant? For other copies than ours (PEP keys)."""
        return self._live(keys.partition_of(account, self._store.partitions))

    def lag(self) -> float:
        """Seconds since the feed's last word, of the partition that is furthest behind."""
        return max(self.lags().values(), default=float("inf"))

    def lags(self) -> Mapping[int, float]:
        """Seconds since the last word of each partition's feed."""
        now = self._clock()
        return {partition: now - lease.heard for partition, lease in self._leases.items()}

    def known_users(self) -> Mapping[int, int]:
        """Users seen here, by partition; the longest unseen are forgotten past ``max_floors``."""
        return self._known

    # As a follower of the feed ---------------------------------------------------------------------------------------

    def apply(self, partition: int, change: Change) -> None:
        self._lease(partition).position = change.n
        self._store.gate.follow(partition, change.n)
        if change.kind in {"account", "restored"}:
            _raise_floor(self._account_floors, change.account, change.seq, self._max_floors)
            self._drop_account(change.account)
            if change.kind == "restored":  # who was removed since the backup may be back, with a higher epoch
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
        if tail.new_data_set:  # a restore: its counts start elsewhere, but every epoch in it was raised, so those stay
            self._account_floors.clear()
            for uid, floor in self._floors.items():
                self._floors[uid] = Floor(0, floor.epoch)

    async def acknowledge(self, partition: int, n: int) -> None:
        """Not ours to say: the fleet does."""

    # What the registration found -------------------------------------------------------------------------------------

    def registered(self, partition: int, at: float) -> None:
        """A registration sent at this instant was accepted and proven: the store is the known one, and may write."""
        self._registered[partition] = at
        self._extend(partition)

    def rejected(self, partition: int) -> None:
        """The registration found a store that may not write, or that is not the known one: no copy is used."""
        self._registered[partition] = float("-inf")
        self._extend(partition)

    def left(self) -> None:
        """No change waits for us any more (R31): no copy is used from now on, however long its lease was."""
        self._left = True
        for partition in self._leases:
            self._extend(partition)

    # Inside ----------------------------------------------------------------------------------------------------------

    def _lease(self, partition: int) -> Lease:
        return self._leases.setdefault(partition, Lease())

    def _extend(self, partition: int) -> None:
        lease = self._lease(partition)
        registered = float("-inf") if self._left else self._registered.get(partition, float("-inf"))
        lease.until = min(lease.heard, registered) + self._lease_seconds

    def _live(self, partition: int) -> bool:
        return self._clock() < self._lease(partition).until

    def _take_off(self, uid: UserId, account: AccountId, partition: int) -> Flight:
        """A read of its own, not sent yet: whatever it says was true after it was asked for."""
        flight = Flight(uid, account)
        self._flights.setdefault(uid, []).append(flight)
        self._together.add(partition, flight)
        return flight

    async def _fly(self, partition: int, flights: list[Flight]) -> None:
        """Read for all of them at once, and land every one of them, whatever happens. Only the end of the loop cancels
        this, and then whoever waits as well."""
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
        except Exception as bug:  # in what is told of this one, and nothing to those who were asked about with it
            return bug
        return problem or record

    def _keep(self, record: UserRecord, partition: int) -> None:
        floor = self._floors.get(record.id)
        if floor is not None and record.revision < floor.revision:
            return  # a later read has seen more; its change is about to be heard
        known = self._copies.get(record.id)
        if known is not None and known.record == record:
            record = known.record  # the same object: decisions that were made with it stay valid
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
