"""Accounts: made, found, listed, their cap and their suspension."""

from dataclasses import dataclass

from sidecar.store.connection import Store
from sidecar.store.outcomes import ActorChanged, NoAccount, Position
from sidecar.vocabulary.people import Account, AccountId, Actor, Seats, Status, UserId, UserRecord


@dataclass(frozen=True, slots=True)
class Created:
    account: Account
    admin: UserRecord
    position: Position


@dataclass(frozen=True, slots=True)
class AccountExists:
    """Another account has this name (compared after NFKC and case folding)."""

    account: AccountId


@dataclass(frozen=True, slots=True)
class SeatsSet:
    """The cap is set; everybody stays, also above it."""

    seats: Seats
    position: Position


@dataclass(frozen=True, slots=True)
class StatusSet:
    account: Account
    position: Position


@dataclass(frozen=True, slots=True)
class Deleted:
    """The account and all of its users are gone."""

    users: tuple[UserId, ...]
    position: Position


class Accounts:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(
        self,
        *,
        account: AccountId,
        name: str,
        cap: int,
        admin: UserId,
        email: str,
        admin_name: str,
        password_hash: str,
        actor: Actor,
    ) -> Created | AccountExists:
        """The account with its first Account Administrator, whose e-mail the operator vouches for (R9)."""
        raise NotImplementedError

    async def find(self, name_or_id: str) -> Account | None:
        raise NotImplementedError

    async def all(self) -> list[Account]:
        raise NotImplementedError

    async def seats(self, account: AccountId) -> Seats | NoAccount:
        raise NotImplementedError

    async def set_seats(self, account: AccountId, cap: int, actor: Actor) -> SeatsSet | NoAccount | ActorChanged:
        raise NotImplementedError

    async def set_status(
        self, account: AccountId, status: Status, actor: Actor
    ) -> StatusSet | NoAccount | ActorChanged:
        """ACTIVE or SUSPENDED. A suspended account makes every record of it SUSPENDED."""
        raise NotImplementedError

    async def delete(self, account: AccountId, actor: Actor) -> Deleted | NoAccount | ActorChanged:
        raise NotImplementedError
