"""Users: read, listed, changed, removed, their passwords and their credential epoch."""

from dataclasses import dataclass

from sidecar.store.connection import Store
from sidecar.store.outcomes import (
    ActorChanged,
    Changed,
    LastAdmin,
    NoAccount,
    NoUser,
    Position,
    Removed,
    Stale,
    Unchanged,
)
from sidecar.store.sessions import NewSession
from sidecar.vocabulary.people import AccountId, Actor, Member, Seats, Status, UserId, UserRecord


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a sign-in compares. ``reset_required``: the epoch was healed after a data loss, so the stored hash may be
    of an older password (store.md 2.4): after a correct password say ``password_reset_required``."""

    record: UserRecord
    password_hash: str
    reset_required: bool = False

    def __repr__(self) -> str:
        return f"Credentials(record={self.record!r}, password_hash=…)"


@dataclass(frozen=True, slots=True)
class Roster:
    """Everybody of an account and its seats, of one instant."""

    members: tuple[Member, ...]
    seats: Seats


@dataclass(frozen=True, slots=True)
class PasswordChanged:
    record: UserRecord
    position: Position


class Users:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, uid: UserId) -> UserRecord | None:
        """The live record, from the master, in one round trip (an invited user's too). Malformed ids are nobody's."""
        raise NotImplementedError

    async def listing(self, account: AccountId) -> list[Member]:
        raise NotImplementedError

    async def roster(self, account: AccountId) -> Roster | NoAccount:
        raise NotImplementedError

    async def find(self, account: AccountId, email: str) -> UserId | None:
        """By normalised e-mail; members and live invitations."""
        raise NotImplementedError

    async def accounts_of(self, email: str) -> list[AccountId]:
        """Where the e-mail may be found: a hint, always a superset of the truth."""
        raise NotImplementedError

    async def credentials(self, account: AccountId, email: str) -> Credentials | None:
        raise NotImplementedError

    async def credentials_of(self, uid: UserId) -> Credentials | None:
        raise NotImplementedError

    async def change(
        self,
        actor: Actor,
        uid: UserId,
        *,
        role: str | None = None,
        name: str | None = None,
        status: Status | None = None,
        judged_role: str | None = None,
    ) -> Changed | Unchanged | LastAdmin | NoUser | ActorChanged:
        """All of it or nothing. ``judged_role``: the target's role when R11 was judged; another one is ActorChanged.

        ``status`` is ACTIVE or SUSPENDED and on an invited user NoUser; role and name work there too.
        """
        raise NotImplementedError

    async def set_role(
        self, actor: Actor, uid: UserId, role: str, *, judged_role: str | None = None
    ) -> Changed | Unchanged | LastAdmin | NoUser | ActorChanged:
        return await self.change(actor, uid, role=role, judged_role=judged_role)

    async def set_status(
        self, actor: Actor, uid: UserId, status: Status, *, judged_role: str | None = None
    ) -> Changed | Unchanged | LastAdmin | NoUser | ActorChanged:
        return await self.change(actor, uid, status=status, judged_role=judged_role)

    async def set_name(
        self, actor: Actor, uid: UserId, name: str, *, judged_role: str | None = None
    ) -> Changed | Unchanged | LastAdmin | NoUser | ActorChanged:
        return await self.change(actor, uid, name=name, judged_role=judged_role)

    async def remove(
        self, actor: Actor, uid: UserId, *, judged_role: str | None = None
    ) -> Removed | LastAdmin | NoUser | ActorChanged:
        """A member or an invited user: the seat and the e-mail are free, the invitation dead."""
        raise NotImplementedError

    async def change_password(
        self, uid: UserId, *, expected_epoch: int, password_hash: str, session: NewSession | None, actor: Actor
    ) -> PasswordChanged | Stale | NoUser | ActorChanged:
        """Raises the epoch, ends all sessions, opens ``session``: one script. NoUser also when not active."""
        raise NotImplementedError

    async def sign_out_everywhere(
        self, uid: UserId, actor: Actor, *, session: NewSession | None = None
    ) -> Changed | NoUser | ActorChanged:
        """Raises the epoch and ends all sessions."""
        raise NotImplementedError

    async def rehash(self, uid: UserId, *, expected_epoch: int, password_hash: str) -> Changed | Stale | NoUser:
        """The same password under stronger parameters: no new epoch, no audit row, no event."""
        raise NotImplementedError

    async def raise_epoch(self, uid: UserId, floor: int) -> Changed | Unchanged | NoUser:
        """Heal a record that went back in time (store.md 2.4). Raises by at most 100 at once."""
        raise NotImplementedError
