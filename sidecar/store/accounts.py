"""Accounts: create, find, list, set the seat cap, suspend, delete.

An account's name is unique in the whole store, but its key is in another slot than the account. So the name is claimed
first, then the account is created, then the claim is settled. An unsettled claim expires after one minute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.domain.users import Account, AccountId, Actor, Seats, Status, UserId, UserRecord
from sidecar.store import keys
from sidecar.store.codec import account_of_reply, items, position_of, record_of, seats_of
from sidecar.store.connection import Store
from sidecar.store.email_index import add_email, remove_email
from sidecar.store.errors import gather_all
from sidecar.store.outcomes import ActorChanged, NoAccount, Position
from sidecar.store.scripting import run_read, run_write
from sidecar.tokens.ids import is_account_id


@dataclass(frozen=True, slots=True)
class Created:
    """New account, its first administrator, and the position of the change."""

    account: Account
    admin: UserRecord
    position: Position


@dataclass(frozen=True, slots=True)
class AccountExists:
    """Conflict: ``account`` has this name (compared after NFKC and case folding) or this id already."""

    account: AccountId


@dataclass(frozen=True, slots=True)
class SeatsSet:
    """Result of a cap change. Existing users keep their seats, also above the cap."""

    seats: Seats
    position: Position


@dataclass(frozen=True, slots=True)
class StatusSet:
    """Result of a status change."""

    account: Account
    position: Position


@dataclass(frozen=True, slots=True)
class Deleted:
    """Result of a deletion. ``users``: ids of the removed members and invited users."""

    users: tuple[UserId, ...]
    position: Position


class Accounts:
    """Account operations. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(  # noqa: PLR0913 (each is a field of the account or of its administrator, all by name)
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
        mailbox: str | None = None,
    ) -> Created | AccountExists:
        """Create the account with its first Account Administrator. The operator vouches for the e-mail (R9).

        ``email``: normalised. ``mailbox``: the e-mail as typed; default ``email``. ``cap``: number of seats.
        """
        other = await claim_name(self._store, name, account)
        if other is not None:
            return AccountExists(other)
        await add_email(self._store, email, account)
        reply = await run_write(
            self._store,
            "account_create",
            account,
            actor,
            name=name,
            cap=str(cap),
            uid=admin,
            email=email,
            mailbox=mailbox or email,
            admin_name=admin_name,
            pw=password_hash,
        )
        if reply["o"] == "exists":
            found = await self._read(account)
            its_own = found is not None and keys.folded(found.name) == keys.folded(name)
            await settle_name(self._store, name, account, "keep" if its_own else "free")
            return AccountExists(account)
        await settle_name(self._store, name, account, "keep")
        return Created(account_of_reply(reply), record_of(account, reply["r"]), position_of(reply))

    async def find(self, name_or_id: str) -> Account | None:
        """Return the account with this id, else the one with this name."""
        account = AccountId(name_or_id)
        if not is_account_id(name_or_id) or (found := await self._read(account)) is None:
            claim = await self._store.command("HGET", keys.names(), keys.folded(name_or_id))
            if not claim:
                return None
            found = await self._read(AccountId(str(claim).split()[0]))
        return found

    async def ids(self, names: Sequence[str]) -> list[AccountId | None]:
        """Return the account ids for ``names``, in one round trip. None for an unknown name."""
        if not names:
            return []
        claims = await self._store.command("HMGET", keys.names(), *(keys.folded(name) for name in names))
        return [AccountId(str(one).split()[0]) if one else None for one in claims]

    async def all(self) -> list[Account]:
        """Return all accounts, sorted by name. One read per account: for operators, not for request handling."""
        claims = await self._store.pairs("HGETALL", keys.names())
        accounts: list[Account] = []
        ids = [AccountId(value.split()[0]) for _, value in claims]
        for start in range(0, len(ids), 32):
            found = await gather_all(*(self._read(account) for account in ids[start : start + 32]))
            accounts += [account for account in found if account is not None]
        return sorted(accounts, key=lambda account: keys.folded(account.name))

    async def set_seats(self, account: AccountId, cap: int, actor: Actor) -> SeatsSet | NoAccount | ActorChanged:
        """Set the number of seats. A cap below the seats in use is valid."""
        reply = await run_write(self._store, "account_seats", account, actor, cap=str(cap))
        return _refused(reply) or SeatsSet(seats_of(reply["seats"]), position_of(reply))

    async def set_status(
        self, account: AccountId, status: Status, actor: Actor
    ) -> StatusSet | NoAccount | ActorChanged:
        """Set ACTIVE or SUSPENDED. Users of a suspended account are SUSPENDED. Raises ValueError for another status."""
        if status not in {Status.ACTIVE, Status.SUSPENDED}:
            raise ValueError(f"status {status} cannot be set: use active or suspended")
        reply = await run_write(self._store, "account_status", account, actor, status=status)
        return _refused(reply) or StatusSet(account_of_reply(reply), position_of(reply))

    async def delete(self, account: AccountId, actor: Actor) -> Deleted | NoAccount | ActorChanged:
        """Delete the account and its users, free its name, and remove its e-mails from the index."""
        reply = await run_write(self._store, "account_delete", account, actor)
        if (refused := _refused(reply)) is not None:
            return refused
        await settle_name(self._store, reply["name"], account, "free")
        for email in items(reply["emails"]):
            await remove_email(self._store, email, account)
        return Deleted(tuple(UserId(uid) for uid in items(reply["users"])), position_of(reply))

    async def _read(self, account: AccountId) -> Account | None:
        return await _account(self._store, account)


async def claim_name(store: Store, name: str, account: AccountId) -> AccountId | None:
    """Claim ``name`` for ``account``; the caller must settle the claim. Returns the other account that has the name."""
    claim = await store.run("name_claim", [keys.names()], [keys.folded(name), account], write=True)
    if claim["o"] == "taken":
        return None if claim["id"] == account else AccountId(claim["id"])
    other = AccountId(claim["was"])
    if not other or await _account(store, other) is None:
        return None
    await settle_name(store, name, account, "give", other)  # it was created, and its claim was never settled
    return other


async def settle_name(store: Store, name: str, account: AccountId, *how: str) -> None:
    """Settle the claim of ``account``. ``how``: ``keep``, ``free``, or ``give`` and the id of the owner."""
    await store.run("name_settle", [keys.names()], [keys.folded(name), account, *how], write=True)


async def _account(store: Store, account: AccountId) -> Account | None:
    reply = await run_read(store, "account", account)
    return None if reply["o"] == "no_account" else account_of_reply(reply)


def _refused(reply: Mapping[str, Any]) -> NoAccount | ActorChanged | None:
    match reply["o"]:
        case "no_account":
            return NoAccount()
        case "actor_changed":
            return ActorChanged()
        case _:
            return None
