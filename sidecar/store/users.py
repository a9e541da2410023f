"""Users: read, list, change, remove; their passwords and credential epoch."""

from dataclasses import dataclass
from typing import Any

from sidecar.domain.users import AccountId, Actor, Member, Seats, Status, UserId, UserRecord
from sidecar.store.codec import integer, items, member_of, position_of, record_of, seats_of
from sidecar.store.connection import Store
from sidecar.store.email_index import lookup_email, remove_email
from sidecar.store.outcomes import (
    ActorChanged,
    Changed,
    LastAdmin,
    NoAccount,
    NotActive,
    NotHeld,
    NoUser,
    Position,
    Removed,
    ResetUse,
    Stale,
    StillInvited,
    Unchanged,
)
from sidecar.store.scripting import read_records, run_read, run_write
from sidecar.store.sessions import NewSession, session_argument
from sidecar.tokens.ids import account_of


@dataclass(frozen=True, slots=True)
class Credentials:
    """Record and password hash. ``reset_required``: the epoch was repaired after a data loss, so the hash may be of an
    older password. A correct one then results in ``password_reset_required``."""

    record: UserRecord
    password_hash: str
    reset_required: bool = False

    def __repr__(self) -> str:
        return f"Credentials(record={self.record!r}, password_hash=…)"


@dataclass(frozen=True, slots=True)
class Roster:
    """Members, invited users and seats of an account, read atomically."""

    members: tuple[Member, ...]
    seats: Seats


@dataclass(frozen=True, slots=True)
class PasswordChanged:
    """Result of a password change. ``record``: with the new epoch."""

    record: UserRecord
    position: Position


UserOutcome = Changed | Unchanged | LastAdmin | StillInvited | NoUser | ActorChanged


class Users:
    """User operations. Every method raises StoreUnavailableError in an outage. A malformed id is an unknown user."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, uid: UserId) -> UserRecord | None:
        """Return the live record of a member or invited user, from the master, in one round trip."""
        if (account := account_of(uid)) is None:
            return None
        (found,) = (await read_records(self._store, [(account, uid)]))["found"]
        return record_of(account, found["r"]) if "r" in found else None

    async def roster(self, account: AccountId) -> Roster | NoAccount:
        """Return the members and invited users, oldest first, and the seats."""
        reply = await run_read(self._store, "roster", account)
        if reply["o"] == "no_account":
            return NoAccount()
        oldest_first = sorted(items(reply["all"]), key=lambda found: (integer(found["created"]), found["id"]))
        return Roster(tuple(member_of(account, found) for found in oldest_first), seats_of(reply["seats"]))

    async def find(self, account: AccountId, email: str, *, expired: bool = False) -> UserId | None:
        """Return the member or invited user with this normalised e-mail. ``expired``: include expired invitations."""
        reply = await run_read(self._store, "find", account, email=email, expired=expired)
        return UserId(reply["u"]) if reply["o"] == "found" else None

    async def accounts_of(self, email: str) -> list[AccountId]:
        """Return the accounts that may have the normalised e-mail: a superset of those that have it."""
        return await lookup_email(self._store, email)

    async def credentials(self, account: AccountId, email: str) -> Credentials | None:
        """Return the credentials of the user with this normalised e-mail."""
        return await self._credentials(account, uid="", email=email)

    async def credentials_of(self, uid: UserId) -> Credentials | None:
        """Return the credentials of the user with this id."""
        account = account_of(uid)
        return None if account is None else await self._credentials(account, uid=uid, email="")

    async def _credentials(self, account: AccountId, *, uid: str, email: str) -> Credentials | None:
        reply = await run_read(self._store, "credentials", account, uid=uid, email=email)
        if reply["o"] != "found":
            return None
        found = reply["r"]
        healed = "pwtv" in found and integer(found["tv"]) > integer(found["pwtv"])
        return Credentials(record_of(account, found), reply["pw"], reset_required=healed)

    async def change(
        self,
        actor: Actor,
        uid: UserId,
        *,
        role: str | None = None,
        name: str | None = None,
        status: Status | None = None,
        expected_role: str | None = None,
        voids_link: bool = False,
    ) -> UserOutcome:
        """Change role, name and status, all or nothing. ``voids_link``: the link of an open invitation stops working.

        ``expected_role``: the target's role when R11 was checked; ActorChanged when the stored role differs.
        ``status``: ACTIVE or SUSPENDED. For an invited user, expired or not, it results in StillInvited; role and name
        can be changed. Raises ValueError for another status.
        """
        if status in {Status.INVITED, Status.EXPIRED}:
            raise ValueError(f"status {status} cannot be set: use active or suspended")
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await run_write(
            self._store,
            "user_change",
            account,
            actor,
            uid=uid,
            role=role,
            name=name,
            status=status,
            expected_role=expected_role or "",
            voids_link=voids_link,
        )
        return _outcome(account, reply)

    async def remove(
        self, actor: Actor, uid: UserId, *, expected_role: str | None = None
    ) -> Removed | LastAdmin | NoUser | ActorChanged:
        """Remove a member or an invited user. Frees the seat and the e-mail, and invalidates the invitation."""
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await run_write(self._store, "user_remove", account, actor, uid=uid, expected_role=expected_role or "")
        match reply["o"]:
            case "removed":
                gone = record_of(account, reply["r"])
                await remove_email(self._store, gone.email, account)
                return Removed(gone, position_of(reply))
            case "last_admin":
                return LastAdmin()
            case "actor_changed":
                return ActorChanged()
            case _:
                return NoUser()

    async def change_password(
        self,
        uid: UserId,
        *,
        expected_epoch: int,
        expected_role: str | None = None,
        password_hash: str,
        session: NewSession | None,
        actor: Actor,
        reset: ResetUse | None = None,
    ) -> PasswordChanged | Stale | NoUser | ActorChanged:
        """Set the password hash, raise the epoch, end all sessions and open ``session``, in one script.

        Returns Stale when epoch or role is not the expected one, NoUser also when the user is not active.
        ``reset``: the link that was used, which sets the e-mail to verified or unverified (R9).
        """
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await run_write(
            self._store,
            "user_password",
            account,
            actor,
            uid=uid,
            epoch=str(expected_epoch),
            expected_role=expected_role,
            pw=password_hash,
            session=session_argument(session),
            reset=None if reset is None else {"shown": reset.shown, "maker": reset.maker or ""},
        )
        match reply["o"]:
            case "changed":
                return PasswordChanged(record_of(account, reply["r"]), position_of(reply))
            case "stale":
                return Stale(integer(reply["tv"]))
            case "actor_changed":
                return ActorChanged()
            case _:
                return NoUser()

    async def sign_out_everywhere(
        self, uid: UserId, actor: Actor, *, expected_role: str | None = None
    ) -> Changed | NoUser | ActorChanged:
        """Raise the epoch and end all sessions."""
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await run_write(self._store, "user_sign_out", account, actor, uid=uid, expected_role=expected_role)
        match reply["o"]:
            case "changed":
                return Changed(record_of(account, reply["r"]), position_of(reply))
            case "actor_changed":
                return ActorChanged()
            case _:
                return NoUser()

    async def reset_link(
        self, uid: UserId, actor: Actor, *, shown: bool, expected_role: str | None = None
    ) -> UserRecord | NotActive | NoUser | ActorChanged:
        """Audit the creation of a reset link and return the record that binds it.

        ``shown``: a person other than the mailbox's owner sees the link.
        """
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await run_write(
            self._store, "user_reset_link", account, actor, uid=uid, shown=shown, expected_role=expected_role
        )
        match reply["o"]:
            case "linked":
                return record_of(account, reply["r"])
            case "not_active":
                return NotActive()
            case "actor_changed":
                return ActorChanged()
            case _:
                return NoUser()

    async def rehash(self, uid: UserId, *, expected_epoch: int, password_hash: str) -> bool:
        """Store a hash with stronger parameters: no new epoch, no event. Returns False when the epoch has changed."""
        if (account := account_of(uid)) is None:
            return False
        actor = Actor.bearer(uid)
        reply = await run_write(
            self._store, "user_rehash", account, actor, uid=uid, epoch=str(expected_epoch), pw=password_hash
        )
        return bool(reply["o"] == "rehashed")

    async def review(
        self, actor: Actor, uid: UserId, *, role: str, status: Status, expected_role: str | None = None
    ) -> UserOutcome | NotHeld:
        """End the review hold of a user and set this role and status (R48)."""
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await run_write(
            self._store,
            "user_review",
            account,
            actor,
            uid=uid,
            role=role,
            status=status,
            expected_role=expected_role or "",
        )
        return NotHeld() if reply["o"] == "not_held" else _outcome(account, reply)

    async def raise_epoch(self, uid: UserId, floor: int, *, seen: int = 0) -> Changed | Unchanged | NoUser:
        """Repair a record of a store that lost writes: raise the epoch to ``floor``, by at most 100 per call.

        ``seen``: highest revision seen of the user. The account's next change gets a higher revision.
        """
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await run_write(
            self._store, "user_raise_epoch", account, Actor.operator(), uid=uid, floor=str(floor), seen=str(seen)
        )
        match reply["o"]:
            case "changed":
                return Changed(record_of(account, reply["r"]), position_of(reply))
            case "unchanged":
                return Unchanged(record_of(account, reply["r"]))
            case _:
                return NoUser()


def _outcome(account: AccountId, reply: dict[str, Any]) -> UserOutcome:
    match reply["o"]:
        case "changed":
            return Changed(record_of(account, reply["r"]), position_of(reply))
        case "unchanged":
            return Unchanged(record_of(account, reply["r"]), position_of(reply))
        case "last_admin":
            return LastAdmin()
        case "still_invited":
            return StillInvited()
        case "actor_changed":
            return ActorChanged()
        case _:
            return NoUser()
