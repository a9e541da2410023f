"""Keys of PEPs (R20): create, list, revoke, and read for each request that presents a key.

``PepCopies`` caches keys as ``Records`` caches users: copies are exact while the feed's lease lasts, and the store is
read after it. A revocation is a change in the feed: once it is acknowledged, every sidecar rejects the key.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.domain.caching import FifoCache
from sidecar.domain.peps import Pep, PepId, Scope, account_of_pep
from sidecar.domain.users import AccountId, Actor, Status
from sidecar.store.codec import integer, items, position_of, seconds
from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.live.change_feed import FeedEntry, FeedReset
from sidecar.store.outcomes import ActorChanged, NoAccount, Position
from sidecar.store.scripting import milliseconds, run_read, run_write

MAX_KEYS: Final = 100
"""Keys per account, expired ones included."""

MAX_COPIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class PepCreated:
    """New key."""

    pep: Pep
    position: Position


@dataclass(frozen=True, slots=True)
class PepExists:
    """The account has a key with this name, possibly an expired one."""

    pep: PepId


@dataclass(frozen=True, slots=True)
class TooManyPeps:
    """The account has MAX_KEYS keys."""


@dataclass(frozen=True, slots=True)
class PepRevoked:
    """Revoked key. ``pep``: before the revocation."""

    pep: Pep
    position: Position


@dataclass(frozen=True, slots=True)
class NoPep:
    """Unknown or revoked key."""


class Peps:
    """Key operations, one round trip each. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(
        self,
        actor: Actor,
        pep: PepId,
        *,
        name: str,
        scopes: frozenset[Scope],
        digest: str,
        ttl: float,
        rate: int,
    ) -> PepCreated | PepExists | TooManyPeps | NoAccount | ActorChanged:
        """Create a key. ``ttl``: seconds. ``digest`` verifies the secret, which is not stored."""
        account = _account(pep)
        reply = await run_write(
            self._store,
            "pep_create",
            account,
            actor,
            pep=pep,
            name=name,
            scopes=" ".join(sorted(scopes)),
            digest=digest,
            ttl=milliseconds(ttl),
            rate=str(rate),
            most=MAX_KEYS,
        )
        match reply["o"]:
            case "created":
                return PepCreated(_pep_of(account, reply["p"]), position_of(reply))
            case "exists":
                return PepExists(PepId(reply["id"]))
            case "too_many":
                return TooManyPeps()
            case "actor_changed":
                return ActorChanged()
            case _:
                return NoAccount()

    async def revoke(self, actor: Actor, pep: PepId) -> PepRevoked | NoPep | ActorChanged:
        """Revoke a key."""
        account = _account(pep)
        reply = await run_write(self._store, "pep_revoke", account, actor, pep=pep)
        match reply["o"]:
            case "revoked":
                return PepRevoked(_pep_of(account, reply["p"]), position_of(reply))
            case "actor_changed":
                return ActorChanged()
            case _:
                return NoPep()

    async def listing(self, account: AccountId) -> list[Pep]:
        """Return all keys of the account, oldest first; empty for an unknown account."""
        reply = await run_read(self._store, "peps", account)
        found = (_pep_of(account, each) for each in items(reply.get("all")))
        return sorted(found, key=lambda pep: (pep.created_at, pep.name))


class PepCopies:
    """Cache of keys for requests. ``live`` reports whether copies of an account are valid now."""

    def __init__(self, store: Store, *, live: Callable[[AccountId], bool]) -> None:
        self._store = store
        self._live = live
        self._copies: FifoCache[PepId, Pep] = FifoCache(MAX_COPIES)
        self._floors: OrderedDict[PepId | AccountId, int] = OrderedDict()
        """Last change seen of a key, or of all keys of an account. Older records are rejected."""
        self._changes = 0

    def peek(self, pep: PepId) -> Pep | None:
        """Return the copy if it is valid now. Never awaits."""
        copy = self._copies.get(pep)
        return copy if copy is not None and self._live(copy.account) else None

    async def read(self, pep: PepId) -> Pep | None:
        """Return the key as stored; None for an unknown key. Raises StoreUnavailableError."""
        account = _account(pep)
        before, floor, account_floor = self._changes, self._floors.get(pep, 0), self._floors.get(account, 0)
        reply = await run_read(self._store, "pep", account, pep=pep)
        older = reply["o"] == "pep" and integer(reply["p"]["rv"]) < floor
        if older or integer(reply["s"]) < account_floor:
            raise StoreUnavailableError(f"the store regressed: its data of {pep} is older than data seen before")
        if reply["o"] != "pep":
            return None
        found = _pep_of(account, reply["p"])
        if before == self._changes and self._live(account):
            self._keep(found)
        return found

    # Follower of the feed --------------------------------------------------------------------------------------------

    def apply(self, _partition: int, change: FeedEntry) -> None:
        """Drop the copies that the change affects."""
        if change.kind == "pep":
            self._changes += 1
            self._copies.pop(PepId(change.user), None)
            self._raise(PepId(change.user), change.seq)
        elif change.kind in {"account", "restored"}:
            self._changes += 1
            self._raise(change.account, change.seq)
            if change.kind == "restored":  # a restore may bring back revoked keys
                for key in [key for key in self._floors if account_of_pep(key) == change.account]:
                    del self._floors[key]
            for pep in [pep for pep, copy in self._copies.items() if copy.account == change.account]:
                del self._copies[pep]

    def on_heartbeat(self, _partition: int, _at: float) -> None:
        """No-op: ``Records`` renews the lease, and ``live`` reads it."""

    def flush(self, tail: FeedReset) -> None:
        """Drop all copies."""
        self._changes += 1
        self._copies.clear()
        if tail.new_data_set:
            self._floors.clear()

    async def acknowledge(self, _partition: int, _n: int) -> None:
        """No-op: ``Fleet`` acknowledges changes."""

    def _raise(self, key: PepId | AccountId, seq: int) -> None:
        self._floors[key] = max(seq, self._floors.pop(key, 0))
        if len(self._floors) > MAX_COPIES:
            self._floors.popitem(last=False)

    def _keep(self, pep: Pep) -> None:
        self._copies.set(pep.id, pep)


def _account(pep: PepId) -> AccountId:
    account = account_of_pep(pep)
    if account is None:
        raise ValueError("not the id of a PEP's key")
    return account


def _pep_of(account: AccountId, found: Mapping[str, Any]) -> Pep:
    return Pep(
        id=PepId(found["id"]),
        account=account,
        name=found["name"],
        scopes=frozenset(map(Scope, found["scopes"].split())),
        created_at=seconds(found["created"]),
        expires_at=seconds(found["exp"]),
        rate=integer(found["rate"]),
        digest=found["th"],
        suspended=found["acst"] != Status.ACTIVE,
    )
