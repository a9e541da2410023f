"""What a transition can answer, where more than one noun answers it. Values only; outages are exceptions."""

from dataclasses import dataclass

from sidecar.domain.users import UserRecord


@dataclass(frozen=True, slots=True)
class Position:
    """Where a change stands in its partition's feed; handed to ``Fleet.wait_applied`` and compared by R30.

    ``durable`` is false when replicas were asked to confirm the write and did not: it may be lost in a fail-over.
    """

    partition: int
    n: int
    durable: bool = True


@dataclass(frozen=True, slots=True)
class Changed:
    """It is done: the record as it is now, and where the change stands in the feed."""

    record: UserRecord
    position: Position


@dataclass(frozen=True, slots=True)
class Unchanged:
    """It was so already; nothing was written. ``position``: of the last change that may have made it so."""

    record: UserRecord
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """The user is gone, its seat free. ``record``: as it was last."""

    record: UserRecord
    position: Position


@dataclass(frozen=True, slots=True)
class ActorChanged:
    """The actor, or the role of the one it wanted to change, is no longer what it was when it was judged (R11)."""


@dataclass(frozen=True, slots=True)
class LastAdmin:
    """The account would be left without an active Account Administrator."""


@dataclass(frozen=True, slots=True)
class NoUser:
    """There is no such user (any more)."""


@dataclass(frozen=True, slots=True)
class StillInvited:
    """An invited user is neither active nor suspended until it accepts."""


@dataclass(frozen=True, slots=True)
class NotHeld:
    """The user does not wait for a review."""


@dataclass(frozen=True, slots=True)
class NoAccount:
    """There is no such account."""


@dataclass(frozen=True, slots=True)
class AccountSuspended:
    """The account is suspended: nobody is added to it."""


@dataclass(frozen=True, slots=True)
class IdempotencyMismatch:
    """The same Idempotency-Key came with another body (R13)."""


@dataclass(frozen=True, slots=True)
class Stale:
    """The credential epoch is not the expected one any more: somebody else changed the password meanwhile."""

    epoch: int
