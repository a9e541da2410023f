"""Direct reads in progress: shared by their callers, and compared with high-water marks."""

import asyncio
from dataclasses import dataclass, field

from sidecar.domain.users import AccountId, Status, UserId, UserRecord
from sidecar.store.errors import StoreUnavailableError


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    """High-water mark of a user: older data is rejected. ``removed``: the user does not return."""

    revision: int
    epoch: int
    removed: bool = False

    def is_above(self, record: UserRecord | None, seq: int) -> bool:
        """Return whether the reply is older than the mark. ``seq``: the account's count.

        A missing user was removed, or the account's data is older than the user. An invitation has no epoch, and is
        newer than its user if a restore or a recovery brought it back."""
        if record is None:
            return not self.removed and seq < self.revision
        is_user = record.status not in (Status.INVITED, Status.EXPIRED)
        return self.removed or (is_user and record.epoch < self.epoch) or record.revision < self.revision


class StoreRegressedError(StoreUnavailableError):
    """Raised when the store's data of a user is older than ``floor``, the data seen before."""

    def __init__(self, uid: UserId, floor: HighWaterMark) -> None:
        super().__init__(f"the store regressed: its data of {uid} is older than data seen before")
        self.floor = floor


@dataclass(slots=True, eq=False)
class InFlightRead:
    """Direct read in progress. ``dirty``: the user changed meanwhile, so the result is not cached.

    All callers share the read. A caller that leaves does not end it; the store's timeout bounds it.
    """

    uid: UserId
    account: AccountId
    stale: bool = False
    _waiting: "list[asyncio.Future[UserRecord | None]]" = field(default_factory=list)

    def wait(self) -> "asyncio.Future[UserRecord | None]":
        """Return a future for one caller: the record, None for an unknown user, or StoreUnavailableError."""
        waiting: asyncio.Future[UserRecord | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return waiting

    def resolve(self, outcome: UserRecord | Exception | None) -> None:
        for waiting in self._waiting:
            if waiting.done():  # the caller was cancelled
                continue
            if isinstance(outcome, Exception):
                waiting.set_exception(outcome)
            else:
                waiting.set_result(outcome)


@dataclass(frozen=True, slots=True)
class ReadFence:
    """Marks of a user when its read was sent. Only these marks bind the result: a change that arrives during the read
    may be newer, without a loss in the store."""

    account_floor: int
    floor: HighWaterMark | None

    def objection(self, flight: InFlightRead, record: UserRecord | None, *, seq: int) -> StoreUnavailableError | None:
        """Return the reason to reject the result, or None. ``seq``: the account's count in the reply."""
        if seq < self.account_floor:  # a lost change to the whole account; a change to one user cannot replace it
            return StoreUnavailableError(
                f"the store regressed: its data of {flight.account} is older than data seen before"
            )
        if self.floor is not None and self.floor.is_above(record, seq):
            return StoreRegressedError(flight.uid, self.floor)
        return None
