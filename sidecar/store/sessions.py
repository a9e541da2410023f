"""Sessions: opened at sign-in, rotated at each refresh, ended. At most 20 a user, the oldest ends (R15).

No secret is stored: a refresh token proves its own origin (R14), the store knows only the counter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.store.connection import Store
from sidecar.store.outcomes import NoUser, Position, Stale
from sidecar.vocabulary.people import Actor, SessionId, UserId, UserRecord

MAX_SESSIONS = 20
ABSOLUTE_TTL = 90 * 86400
GRACE = 10


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session about to be opened; times in seconds. ``address`` and ``agent`` are for its owner's list."""

    id: SessionId
    ttl: float
    absolute_ttl: float = ABSOLUTE_TTL
    address: str = ""
    agent: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """As its owner sees it. Unix seconds."""

    id: SessionId
    created_at: int
    refreshed_at: int
    expires_at: int
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class Opened:
    record: UserRecord
    position: Position


@dataclass(frozen=True, slots=True)
class Rotated:
    """The next refresh token is the one of ``counter``. The same again when a retry came within the grace."""

    record: UserRecord
    counter: int
    position: Position


@dataclass(frozen=True, slots=True)
class SessionGone:
    """No such live session for this user: ended, expired, signed out, suspended, removed."""


@dataclass(frozen=True, slots=True)
class Reused:
    """An older token of the session came back: the session has been ended (R14)."""

    position: Position


@dataclass(frozen=True, slots=True)
class StoreBehind:
    """An authentic token is ahead of the store: the data set went back in time. Never a success."""


@dataclass(frozen=True, slots=True)
class Ended:
    record: UserRecord
    sessions: tuple[SessionId, ...]
    position: Position


class Sessions:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, uid: UserId, *, expected_epoch: int, session: NewSession) -> Opened | Stale | NoUser:
        """After a correct password. NoUser also when suspended or invited; Stale when the password has changed."""
        raise NotImplementedError

    async def rotate(
        self, uid: UserId, sid: SessionId, counter: int, *, ttl: float, address: str = ""
    ) -> Rotated | SessionGone | Reused | StoreBehind:
        """Redeem the refresh token of ``counter`` (its origin proven before). Epoch and status compared inside."""
        raise NotImplementedError

    async def end(self, uid: UserId, sids: Sequence[SessionId], actor: Actor) -> Ended | SessionGone:
        """End these sessions. SessionGone when none of them lives."""
        raise NotImplementedError

    async def end_others(self, uid: UserId, keep: SessionId, actor: Actor) -> Ended | SessionGone:
        raise NotImplementedError

    async def listing(self, uid: UserId) -> list[Session]:
        """The live ones, newest first."""
        raise NotImplementedError
