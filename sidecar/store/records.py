"""The live records: a local copy that is exact while its lease lasts, and the store itself past it.

``peek`` never waits and never guesses: None means ask ``read``. ``read`` raises StoreUnavailable rather than answer an
older truth: a record below what was once seen here comes from a store that went back in time.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sidecar.store import keys
from sidecar.store.codec import integer, record_of
from sidecar.store.connection import Store, gathered, was_answered
from sidecar.store.direct.flight import Flight, Floor, Guard, WentBack
from sidecar.store.direct.together import Together
from sidecar.store.errors import StoreUnavailable
from sidecar.store.feed import Change, Tail
from sidecar.store.transition import look_up
from sidecar.tokens.ids import account_of
from sidecar.vocabulary.people import AccountId, UserId, UserRecord
from sidecar.vocabulary.recent import Recent

MAX_COPIES: Final = 100_000
MAX_FLOORS: Final = 200_000
TRIES: Final = 3


@dataclass(slots=True)
class Lease:
    """Until when the copies of one partition may be used. Mutable, and shared by all of them: one write moves all."""

    until: float = float("-inf")
    heard: float = float("-inf")
    position: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    record: UserRecord
    lease: Lease


class Records:
    """The records' only reader for checks. Follows the feeds; ``clock`` is monotonic."""

    def __init__(
        self,
        store: Store,
        *,
        lease: float,
        clock: Callable[[], float],
        on_regression: Callable[[UserId, int, int], None] = lambda _uid, _epoch, _revision: None,
        max_copies: int = MAX_COPIES,
        max_floors: int = MAX_FLOORS,
    ) -> None:
        self._store = store
        self._together = Together(self._fly)
        self._lease_seconds = lease
        self._clock = clock
        self._on_regression = on_regression
        self._max_floors = max_floors
        self._copies: Recent[UserId, Copy] = Recent(max_copies)
        self._leases: dict[int, Lease] = {}
        self._floors: OrderedDict[UserId, Floor] = OrderedDict()
        self._account_floors: OrderedDict[AccountId, int] = OrderedDict()
        self._flights: dict[UserId, list[Flight]] = {}
        self._registered = float("-inf")
        self._refused = False

    def peek(self, uid: UserId) -> UserRecord | None:
        """The copy, if it is live now; None when it is not, or when there is no copy. No await, no lock."""
        copy = self._copies.get(uid)
        if copy is None or self._clock() >= copy.lease.until:
            return None
        return copy.record

    async def read(self, uid: UserId, *, fresh: bool = False) -> UserRecord | None:
        """The live copy or a direct read; None when there is no such user. ``fresh`` skips the copy: ask so when a
        token's epoch is above the copy's or its session is not in it (a sign-in a moment ago)."""
        if not fresh and (copy := self.peek(uid)) is not None:
            return copy
        if (account := account_of(uid)) is None:
            return None
        if self._refused:
            raise StoreUnavailable("the store is cut off from its replicas: what it says may not be the truth")
        partition = keys.partition_of(account, self._store.partitions)
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
        heard = [lease.heard for lease in self._leases.values()]
        return self._clock() - min(heard) if heard else float("inf")

    # As a follower of the feed ---------------------------------------------------------------------------------------

    def apply(self, partition: int, change: Change) -> None:
        self._lease(partition).position = change.n
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
        lease = self._lease(partition)
        lease.heard = at
        self._extend(lease)

    def flush(self, tail: Tail) -> None:
        lease = self._lease(tail.partition)
        gone = [uid for uid, copy in self._copies.items() if copy.lease is lease]
        for uid in gone:
            del self._copies[uid]
        for uid in self._flights:
            self._soil(uid)
        lease.until = lease.heard = float("-inf")
        lease.position = tail.n
        if tail.new_data_set:  # a restore: its counts start elsewhere, but every epoch in it was raised, so those stay
            self._account_floors.clear()
            for uid, floor in self._floors.items():
                self._floors[uid] = Floor(0, floor.epoch)

    async def acknowledge(self, partition: int, n: int) -> None:
        """Not ours to say: the fleet does."""

    # What the registration found -------------------------------------------------------------------------------------

    def registered(self, at: float) -> None:
        """A registration sent ``at`` this instant was accepted: the store may write, so it is the master."""
        self._registered = at
        self._refused = False
        for lease in self._leases.values():
            self._extend(lease)

    def refused(self) -> None:
        """The store may not write: no copy and no direct read is the truth until it may again."""
        self._refused = True
        self._registered = float("-inf")
        for lease in self._leases.values():
            self._extend(lease)

    def left(self) -> None:
        """No change waits for us any more (R31): no copy is used from now on, however long its lease was."""
        self._registered = float("-inf")
        for lease in self._leases.values():
            self._extend(lease)

    # Inside ----------------------------------------------------------------------------------------------------------

    def _lease(self, partition: int) -> Lease:
        return self._leases.setdefault(partition, Lease())

    def _extend(self, lease: Lease) -> None:
        lease.until = min(lease.heard, self._registered) + self._lease_seconds

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
            outcomes = await self._outcomes(partition, flights)
        except Exception as problem:
            if len(flights) > 1 and was_answered(problem):
                await gathered(*(self._fly(partition, [flight]) for flight in flights))
                return
            outcomes = [problem] * len(flights)
        for flight, outcome in zip(flights, outcomes, strict=True):
            self._land(flight, outcome, partition)

    async def _outcomes(self, partition: int, flights: list[Flight]) -> list[UserRecord | Exception | None]:
        position = self._lease(partition).position
        guards = [
            Guard(position, self._account_floors.get(flight.account, 0), self._floors.get(flight.uid))
            for flight in flights
        ]
        reply = await look_up(self._store, [(flight.account, flight.uid) for flight in flights])
        n = integer(reply["n"])
        return [
            self._believed(flight, guard, n, found)
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

    def _believed(self, flight: Flight, guard: Guard, n: int, found: dict[str, Any]) -> UserRecord | Exception | None:
        try:
            record = record_of(flight.account, found["r"]) if "r" in found else None
            problem = guard.objection(flight, record, n=n, seq=integer(found["s"]))
            if isinstance(problem, WentBack):
                self._on_regression(flight.uid, problem.floor.epoch, problem.floor.revision)
        except Exception as bug:  # in what is told of this one, and nothing to those who were asked about with it
            return bug
        return problem or record

    def _keep(self, record: UserRecord, partition: int) -> None:
        floor = self._floors.get(record.id)
        if floor is not None and record.revision < floor.revision:
            return  # a later read has seen more; its change is about to be heard
        self._copies.put(record.id, Copy(record, self._lease(partition)))
        self._raise(record.id, Floor(record.revision, record.epoch))

    def _forgive(self, account: AccountId) -> None:
        for uid, floor in self._floors.items():
            if account_of(uid) == account:
                self._floors[uid] = Floor(0, floor.epoch)

    def _raise(self, uid: UserId, seen: Floor) -> None:
        known = self._floors.pop(uid, seen)
        self._floors[uid] = Floor(
            max(known.revision, seen.revision), max(known.epoch, seen.epoch), known.removed or seen.removed
        )
        if len(self._floors) > self._max_floors:
            self._floors.popitem(last=False)

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
