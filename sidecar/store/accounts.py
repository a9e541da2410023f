"""Accounts: made, found, listed, their cap and their suspension.

An account's name is unique in the whole store, but stands in another slot than the account: it is claimed first, then
the account is made, then the claim is settled. A claim whose sidecar died is free again after a minute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.domain.users import Account, AccountId, Actor, Seats, Status, UserId, UserRecord
from sidecar.store import keys
from sidecar.store.codec import account_of_reply, items, position_of, record_of, seats_of
from sidecar.store.connection import Store, gathered
from sidecar.store.email_index import hint, unhint
from sidecar.store.outcomes import ActorChanged, NoAccount, Position
from sidecar.store.scripting import look, transition
from sidecar.tokens.ids import is_account_id


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
        """The account with its first Account Administrator, whose e-mail the operator vouches for (R9).

        ``mailbox``: the form of ``email`` that was written."""
        other = await claim_name(self._store, name, account)
        if other is not None:
            return AccountExists(other)
        await hint(self._store, email, account)
        reply = await transition(
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
            return AccountExists(account)
        await settle_name(self._store, name, account, "keep")
        return Created(account_of_reply(reply), record_of(account, reply["r"]), position_of(reply))

    async def find(self, name_or_id: str) -> Account | None:
        account = AccountId(name_or_id)
        if not is_account_id(name_or_id) or (found := await self._read(account)) is None:
            held = await self._store.command("HGET", keys.names(), keys.folded(name_or_id))
            if not held:
                return None
            found = await self._read(AccountId(str(held).split()[0]))
        return found

    async def ids(self, names: Sequence[str]) -> list[AccountId | None]:
        """The ids of these names, in one round trip; None for a name that no account has."""
        if not names:
            return []
        held = await self._store.command("HMGET", keys.names(), *(keys.folded(name) for name in names))
        return [AccountId(str(one).split()[0]) if one else None for one in held]

    async def all(self) -> list[Account]:
        """By name. One read an account: for operators, not for a request's path."""
        held = await self._store.pairs("HGETALL", keys.names())
        accounts: list[Account] = []
        ids = [AccountId(value.split()[0]) for _, value in held]
        for start in range(0, len(ids), 32):
            found = await gathered(*(self._read(account) for account in ids[start : start + 32]))
            accounts += [account for account in found if account is not None]
        return sorted(accounts, key=lambda account: keys.folded(account.name))

    async def seats(self, account: AccountId) -> Seats | NoAccount:
        found = await self._read(account)
        return NoAccount() if found is None else found.seats

    async def set_seats(self, account: AccountId, cap: int, actor: Actor) -> SeatsSet | NoAccount | ActorChanged:
        reply = await transition(self._store, "account_seats", account, actor, cap=str(cap))
        return _refused(reply) or SeatsSet(seats_of(reply["seats"]), position_of(reply))

    async def set_status(
        self, account: AccountId, status: Status, actor: Actor
    ) -> StatusSet | NoAccount | ActorChanged:
        """ACTIVE or SUSPENDED. A suspended account makes every record of it SUSPENDED."""
        if status not in {Status.ACTIVE, Status.SUSPENDED}:
            raise ValueError("an account is active or suspended")
        reply = await transition(self._store, "account_status", account, actor, status=status)
        return _refused(reply) or StatusSet(account_of_reply(reply), position_of(reply))

    async def delete(self, account: AccountId, actor: Actor) -> Deleted | NoAccount | ActorChanged:
        reply = await transition(self._store, "account_delete", account, actor)
        if (refused := _refused(reply)) is not None:
            return refused
        await settle_name(self._store, reply["name"], account, "free")
        for email in items(reply["emails"]):
            await unhint(self._store, email, account)
        return Deleted(tuple(UserId(uid) for uid in items(reply["users"])), position_of(reply))

    async def _read(self, account: AccountId) -> Account | None:
        return await _account(self._store, account)


async def claim_name(store: Store, name: str, account: AccountId) -> AccountId | None:
    """Claim it for ``account``, to be settled; or the other one whose it is."""
    claim = await store.run("name_claim", [keys.names()], [keys.folded(name), account], write=True)
    if claim["o"] == "taken":
        return None if claim["id"] == account else AccountId(claim["id"])
    other = AccountId(claim["was"])
    if not other or await _account(store, other) is None:
        return None
    await settle_name(store, name, account, "give", other)  # its maker died before settling the claim
    return other


async def settle_name(store: Store, name: str, account: AccountId, *how: str) -> None:
    """``keep``, ``free``, or ``give`` and the id of whose it is."""
    await store.run("name_settle", [keys.names()], [keys.folded(name), account, *how], write=True)


async def _account(store: Store, account: AccountId) -> Account | None:
    reply = await look(store, "account", account)
    return None if reply["o"] == "no_account" else account_of_reply(reply)


def _refused(reply: Mapping[str, Any]) -> NoAccount | ActorChanged | None:
    match reply["o"]:
        case "no_account":
            return NoAccount()
        case "actor_changed":
            return ActorChanged()
        case _:
            return None
