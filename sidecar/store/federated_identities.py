"""Links between subjects of external issuers and users of an account (R10). Later e-mail claims do not change a link.

A link is stored in its user's account, under digests of issuer and subject. It ends with its user, or when an operator
unlinks the two; the subject is then forbidden to link again by e-mail. A link to a user with an unverified e-mail
raises the epoch, ends the sessions and removes the password, in the same script.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from sidecar.domain.users import AccountId, Actor, UserId, UserRecord
from sidecar.store import keys
from sidecar.store.codec import integer, position_of, record_of
from sidecar.store.connection import Store
from sidecar.store.errors import gather_all
from sidecar.store.outcomes import NoUser, Position
from sidecar.store.scripting import run_read, run_write
from sidecar.tokens.ids import account_of


@dataclass(frozen=True, slots=True)
class LinkedIdentity:
    """Linked user, at ``epoch``. Ending the link raises the epoch, so the link holds while the epoch is the same."""

    user: UserId
    epoch: int


@dataclass(frozen=True, slots=True)
class LinkQuery:
    """Search result of one account: the linked user, else the active user with the e-mail.

    ``linkable``: ``link`` would link the subject to the user found by e-mail.
    """

    account: AccountId
    link: LinkedIdentity | None
    by_email: UserId | None
    linkable: bool = False


@dataclass(frozen=True, slots=True)
class Linked:
    """Linked subject and user. ``position``: of the change that linked them; None for an existing link.

    ``cleared``: the e-mail was unverified until now, so the user's password and sessions were removed.
    """

    user: UserId
    position: Position | None = field(default=None, compare=False)
    cleared: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class LinkHeld:
    """The subject is linked to another user."""

    user: UserId


@dataclass(frozen=True, slots=True)
class NoMatchingUser:
    """No active user of the account has this e-mail."""


@dataclass(frozen=True, slots=True)
class LinkTaken:
    """The user is linked to another subject of the same issuer: the issuer has reassigned the e-mail."""


@dataclass(frozen=True, slots=True)
class LinkForbidden:
    """An operator has unlinked this subject; it is forbidden to link again by e-mail."""


@dataclass(frozen=True, slots=True)
class Unlinked:
    """Result of unlinking. ``record``: with the raised epoch, without sessions. ``subjects``: number unlinked."""

    record: UserRecord
    subjects: int
    position: Position


@dataclass(frozen=True, slots=True)
class NotLinked:
    """The user is linked to no external subject (of that issuer)."""


class FederatedIdentities:
    """Link operations. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, account: AccountId, issuer: str, subject: str) -> LinkedIdentity | None:
        """Return the user linked to the subject. None also after the user was removed or unlinked."""
        reply = await run_read(self._store, "link_find", account, link=_link(issuer, subject))
        return LinkedIdentity(UserId(reply["u"]), integer(reply["tv"])) if reply["o"] == "linked" else None

    async def seek(
        self, accounts: Sequence[AccountId], *, issuer: str, subject: str, email: str | None
    ) -> list[LinkQuery]:
        """Search ``accounts`` for the subject and the normalised ``email``, in one round trip per partition."""
        by_partition: dict[int, list[AccountId]] = {}
        for account in accounts:
            by_partition.setdefault(keys.partition_of(account, self._store.partitions), []).append(account)
        found = await gather_all(
            *(self._seek(partition, there, issuer, subject, email) for partition, there in by_partition.items())
        )
        return [one for there in found for one in there]

    async def _seek(
        self, partition: int, accounts: list[AccountId], issuer: str, subject: str, email: str | None
    ) -> list[LinkQuery]:
        at = [keys.feed(partition), *(keys.account(account, self._store.partitions) for account in accounts)]
        wanted = {"link": _link(issuer, subject), "family": _digest(issuer)}
        if email is not None:
            wanted["email"] = email
        reply = await self._store.run("link_seek", at, wanted)
        return [
            LinkQuery(
                account,
                LinkedIdentity(UserId(reported["u"]), integer(reported["tv"])) if reported["u"] else None,
                UserId(reported["e"]) if reported["e"] else None,
                reported["may"] == "1",
            )
            for account, reported in zip(accounts, reply["found"], strict=True)
        ]

    async def link(
        self, account: AccountId, *, issuer: str, subject: str, email: str
    ) -> Linked | NoMatchingUser | LinkTaken | LinkForbidden:
        """Link by normalised e-mail, which the issuer has verified. Of concurrent links to one user, one succeeds."""
        actor = Actor(user=None, role="", epoch=0, session=None, address="outside issuer")
        outcome = await self._link(account, actor, issuer, subject, email=email)
        if isinstance(outcome, LinkHeld):
            raise TypeError("link.lua returned 'held', which requires A.uid")
        return outcome

    async def link_user(
        self, uid: UserId, *, issuer: str, subject: str
    ) -> Linked | NoMatchingUser | LinkTaken | LinkHeld:
        """Link the subject to this active user by order of an operator, with any e-mail, even if forbidden before."""
        if (account := account_of(uid)) is None:
            return NoMatchingUser()
        outcome = await self._link(account, Actor.operator(), issuer, subject, uid=uid)
        if isinstance(outcome, LinkForbidden):
            raise TypeError("link.lua returned 'barred', which excludes A.uid")
        return outcome

    async def _link(
        self, account: AccountId, actor: Actor, issuer: str, subject: str, **target: str
    ) -> Linked | NoMatchingUser | LinkTaken | LinkForbidden | LinkHeld:
        reply = await run_write(
            self._store,
            "link",
            account,
            actor,
            link=_link(issuer, subject),
            family=_digest(issuer),
            issuer=issuer,
            subject=subject,
            **target,
        )
        match reply["o"]:
            case "linked":
                position = position_of(reply) if "n" in reply else None
                return Linked(UserId(reply["u"]), position, reply.get("cleared") == "1")
            case "held":
                return LinkHeld(UserId(reply["u"]))
            case "taken":
                return LinkTaken()
            case "barred":
                return LinkForbidden()
            case _:
                return NoMatchingUser()

    async def unlink(
        self, uid: UserId, *, issuer: str | None = None, may_return: bool = False
    ) -> Unlinked | NotLinked | NoUser:
        """Unlink the user from its subjects, of one issuer or of all, by order of an operator.

        The subjects are forbidden to link again by e-mail. ``may_return`` permits it, also to earlier ones.
        """
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await run_write(
            self._store,
            "unlink",
            account,
            Actor.operator(),
            uid=uid,
            family="" if issuer is None else _digest(issuer),
            issuer=issuer or "",
            may_return=may_return or None,
        )
        match reply["o"]:
            case "unlinked":
                return Unlinked(record_of(account, reply["r"]), integer(reply["parted"]), position_of(reply))
            case "no_link":
                return NotLinked()
            case _:
                return NoUser()


def _link(issuer: str, subject: str) -> str:
    return f"{_digest(issuer)}:{_digest(subject)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
