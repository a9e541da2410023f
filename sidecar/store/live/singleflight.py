"""One direct read: who waits for it, and what its answer is held to."""

import asyncio
from dataclasses import dataclass, field

from sidecar.domain.users import AccountId, UserId, UserRecord
from sidecar.store.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Floor:
    """What was once seen of a user: nothing older is believed. ``removed``: it does not come back."""

    revision: int
    epoch: int
    removed: bool = False

    def is_above(self, record: UserRecord | None, seq: int) -> bool:
        """``seq``: the account's count. Who is missing there was removed, or the account is from before it came."""
        if record is None:
            return not self.removed and seq < self.revision
        return self.removed or record.epoch < self.epoch or record.revision < self.revision


class WentBack(StoreUnavailable):
    """The store tells something older of a user than what was seen: its ``floor``."""

    def __init__(self, uid: UserId, floor: Floor) -> None:
        super().__init__(f"the store went back in time: what it says of {uid} is older than what was seen")
        self.floor = floor


@dataclass(slots=True, eq=False)
class Flight:
    """A direct read under way. ``dirty``: something happened to the user meanwhile, so the answer is not kept.

    Shared by whoever waits for it, and not ended by one of them who goes away; the store's timeout bounds it.
    """

    uid: UserId
    account: AccountId
    dirty: bool = False
    _waiting: "list[asyncio.Future[UserRecord | None]]" = field(default_factory=list)

    def landing(self) -> "asyncio.Future[UserRecord | None]":
        """For one who waits: the record, None when there is no such user, or StoreUnavailable."""
        waiting: asyncio.Future[UserRecord | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return waiting

    def land(self, outcome: UserRecord | Exception | None) -> None:
        for waiting in self._waiting:
            if waiting.done():  # gone away
                continue
            if isinstance(outcome, Exception):
                waiting.set_exception(outcome)
            else:
                waiting.set_result(outcome)


@dataclass(frozen=True, slots=True)
class Guard:
    """What was known of a user when its read was sent. That alone binds the answer: a change that is heard while the
    answer is on its way may well be newer than it, without the store having gone back."""

    account_floor: int
    floor: Floor | None

    def objection(self, flight: Flight, record: UserRecord | None, *, seq: int) -> StoreUnavailable | None:
        """Why this is not believed; ``seq``: the account's count beside it."""
        if seq < self.account_floor:  # a change to all of them is lost; no change to one of them makes up for that
            return StoreUnavailable(
                f"the store went back in time: what it says of {flight.account} is older than what was seen"
            )
        if self.floor is not None and self.floor.is_above(record, seq):
            return WentBack(flight.uid, self.floor)
        return None
