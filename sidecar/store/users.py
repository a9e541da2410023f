"""Users: read, listed, changed, removed, their passwords and their credential epoch."""

from dataclasses import dataclass
from typing import Any

from sidecar.domain.users import AccountId, Actor, Member, Seats, Status, UserId, UserRecord
from sidecar.store.codec import integer, items, member_of, position_of, record_of, seats_of
from sidecar.store.connection import Store
from sidecar.store.email_index import hinted, unhint
from sidecar.store.outcomes import (
    ActorChanged,
    Changed,
    LastAdmin,
    NoAccount,
    NotHeld,
    NoUser,
    Position,
    Removed,
    Stale,
    StillInvited,
    Unchanged,
)
from sidecar.store.scripting import look, look_up, transition
from sidecar.store.sessions import NewSession, session_argument
from sidecar.tokens.ids import account_of


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a sign-in compares. ``reset_required``: the epoch was healed after a data loss, so the stored hash may be
    of an older password: after a correct password say ``password_reset_required``."""

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


UserOutcome = Changed | Unchanged | LastAdmin | StillInvited | NoUser | ActorChanged


class Users:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, uid: UserId) -> UserRecord | None:
        """The live record, from the master, in one round trip (an invited user's too). Malformed ids are nobody's."""
        if (account := account_of(uid)) is None:
            return None
        (found,) = (await look_up(self._store, [(account, uid)]))["found"]
        return record_of(account, found["r"]) if "r" in found else None

    async def listing(self, account: AccountId) -> list[Member]:
        match await self.roster(account):
            case NoAccount():
                return []
            case Roster(members):
                return list(members)

    async def roster(self, account: AccountId) -> Roster | NoAccount:
        reply = await look(self._store, "roster", account)
        if reply["o"] == "no_account":
            return NoAccount()
        oldest_first = sorted(items(reply["all"]), key=lambda found: (integer(found["created"]), found["id"]))
        return Roster(tuple(member_of(account, found) for found in oldest_first), seats_of(reply["seats"]))

    async def find(self, account: AccountId, email: str, *, expired: bool = False) -> UserId | None:
        """By normalised e-mail; members and live invitations, with ``expired`` also those that have expired."""
        reply = await look(self._store, "find", account, email=email, expired=expired)
        return UserId(reply["u"]) if reply["o"] == "found" else None

    async def accounts_of(self, email: str) -> list[AccountId]:
        """Where the e-mail may be found: a hint, always a superset of the truth."""
        return await hinted(self._store, email)

    async def credentials(self, account: AccountId, email: str) -> Credentials | None:
        return await self._credentials(account, uid="", email=email)

    async def credentials_of(self, uid: UserId) -> Credentials | None:
        account = account_of(uid)
        return None if account is None else await self._credentials(account, uid=uid, email="")

    async def _credentials(self, account: AccountId, *, uid: str, email: str) -> Credentials | None:
        reply = await look(self._store, "credentials", account, uid=uid, email=email)
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
        judged_role: str | None = None,
    ) -> UserOutcome:
        """All of it or nothing. ``judged_role``: the target's role when R11 was judged; another one is ActorChanged.

        ``status`` is ACTIVE or SUSPENDED, and StillInvited on an invited user, expired or not; role and name work there
        too.
        """
        if status in {Status.INVITED, Status.EXPIRED}:
            raise ValueError("nobody is made invited or expired: a user is active or suspended")
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await transition(
            self._store,
            "user_change",
            account,
            actor,
            uid=uid,
            role=role,
            name=name,
            status=status,
            judged=judged_role or "",
        )
        return _outcome(account, reply)

    async def set_role(self, actor: Actor, uid: UserId, role: str, *, judged_role: str | None = None) -> UserOutcome:
        return await self.change(actor, uid, role=role, judged_role=judged_role)

    async def set_status(
        self, actor: Actor, uid: UserId, status: Status, *, judged_role: str | None = None
    ) -> UserOutcome:
        return await self.change(actor, uid, status=status, judged_role=judged_role)

    async def set_name(self, actor: Actor, uid: UserId, name: str, *, judged_role: str | None = None) -> UserOutcome:
        return await self.change(actor, uid, name=name, judged_role=judged_role)

    async def remove(
        self, actor: Actor, uid: UserId, *, judged_role: str | None = None
    ) -> Removed | LastAdmin | NoUser | ActorChanged:
        """A member or an invited user: the seat and the e-mail are free, the invitation dead."""
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await transition(self._store, "user_remove", account, actor, uid=uid, judged=judged_role or "")
        match reply["o"]:
            case "removed":
                gone = record_of(account, reply["r"])
                await unhint(self._store, gone.email, account)
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
        password_hash: str,
        session: NewSession | None,
        actor: Actor,
        proves_email: bool | None = None,
    ) -> PasswordChanged | Stale | NoUser | ActorChanged:
        """Raises the epoch, ends all sessions, opens ``session``: one script. NoUser also when not active.

        ``proves_email``: the e-mail is proven from now on, or not any more (R9); None leaves it as it is.
        """
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await transition(
            self._store,
            "user_password",
            account,
            actor,
            uid=uid,
            epoch=str(expected_epoch),
            pw=password_hash,
            session=session_argument(session),
            proves=None if proves_email is None else str(int(proves_email)),
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
        self, uid: UserId, actor: Actor, *, session: NewSession | None = None
    ) -> Changed | NoUser | ActorChanged:
        """Raises the epoch and ends all sessions; ``session`` is opened after, for the one who asked."""
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await transition(
            self._store, "user_sign_out", account, actor, uid=uid, session=session_argument(session)
        )
        match reply["o"]:
            case "changed":
                return Changed(record_of(account, reply["r"]), position_of(reply))
            case "actor_changed":
                return ActorChanged()
            case _:
                return NoUser()

    async def rehash(self, uid: UserId, *, expected_epoch: int, password_hash: str) -> bool:
        """The same password under stronger parameters: no new epoch, no event. False: the epoch has moved on."""
        if (account := account_of(uid)) is None:
            return False
        actor = Actor.bearer(uid)
        reply = await transition(
            self._store, "user_rehash", account, actor, uid=uid, epoch=str(expected_epoch), pw=password_hash
        )
        return bool(reply["o"] == "rehashed")

    async def review(
        self, actor: Actor, uid: UserId, *, role: str, status: Status, judged_role: str | None = None
    ) -> UserOutcome | NotHeld:
        """End the hold of a user with this role and status (R48)."""
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await transition(
            self._store, "user_review", account, actor, uid=uid, role=role, status=status, judged=judged_role or ""
        )
        return NotHeld() if reply["o"] == "not_held" else _outcome(account, reply)

    async def raise_epoch(self, uid: UserId, floor: int, *, seen: int = 0) -> Changed | Unchanged | NoUser:
        """Heal a record that went back in time. Raises by at most 100 at once. ``seen``: the highest
        revision that was seen of it; the account's next change gets a higher one."""
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await transition(
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
