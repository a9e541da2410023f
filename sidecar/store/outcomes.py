"""Outcomes and arguments of transitions that several nouns share. Values only; outages are exceptions."""

from dataclasses import dataclass

from sidecar.domain.users import UserId, UserRecord


@dataclass(frozen=True, slots=True)
class Position:
    """Position of a change in its partition's feed, for ``Fleet.wait_applied`` and R30.

    ``durable``: False when too few replicas confirmed the write, so that a fail-over may lose it.
    """

    partition: int
    n: int
    durable: bool = True


@dataclass(frozen=True, slots=True)
class Changed:
    """Applied change: the record after it, and its position."""

    record: UserRecord
    position: Position


@dataclass(frozen=True, slots=True)
class Unchanged:
    """No change was needed; nothing was written. ``position``: of the last change that may have led to the record."""

    record: UserRecord
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """Removed user; its seat is free. ``record``: before the removal."""

    record: UserRecord
    position: Position


@dataclass(frozen=True, slots=True)
class ActorChanged:
    """The actor, or the role of the target, has changed since the change was authorized (R11)."""


@dataclass(frozen=True, slots=True)
class LastAdmin:
    """The change would leave the account without an active Account Administrator."""


@dataclass(frozen=True, slots=True)
class NoUser:
    """Unknown or removed user."""


@dataclass(frozen=True, slots=True)
class StillInvited:
    """Status change of an invited user: an invitation is neither active nor suspended."""


@dataclass(frozen=True, slots=True)
class NotActive:
    """Password reset of a user that is invited, suspended or held."""


@dataclass(frozen=True, slots=True)
class NotHeld:
    """The user is not held for a review."""


@dataclass(frozen=True, slots=True)
class NoAccount:
    """Unknown or deleted account."""


@dataclass(frozen=True, slots=True)
class AccountSuspended:
    """Suspended account, to which no user can be added."""


@dataclass(frozen=True, slots=True)
class IdempotencyMismatch:
    """Reuse of an Idempotency-Key with another body (R13)."""


@dataclass(frozen=True, slots=True)
class Stale:
    """Credential epoch other than the expected one: a concurrent change, such as a new password, has raised it."""

    epoch: int


@dataclass(frozen=True, slots=True)
class ResetUse:
    """Use of a reset link. ``shown``: a person other than the mailbox's owner saw it. ``maker``: that user, if any."""

    shown: bool
    maker: UserId | None
