"""Links between subjects of outside issuers and users of an account (R10). Made once; never by a later e-mail claim.

A link is kept in the account of its user, under digests of issuer and subject. It ends with its user, or when an
operator parts the two: the subject is then barred from that user. A link to a user whose e-mail was not proven raises
the epoch, ends the sessions and removes the password, in the same script.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from sidecar.domain.users import AccountId, Actor, UserId, UserRecord
from sidecar.store import keys
from sidecar.store.codec import integer, position_of, record_of
from sidecar.store.connection import Store, gathered
from sidecar.store.outcomes import NoUser, Position
from sidecar.store.scripting import look, transition
from sidecar.tokens.ids import account_of


@dataclass(frozen=True, slots=True)
class Held:
    """The subject is this user, at this epoch of it. While that is the same the link is too: ending it raises it."""

    user: UserId
    epoch: int


@dataclass(frozen=True, slots=True)
class Sought:
    """One account's answer about a subject: its user; else the active user who has the e-mail asked about.

    ``linkable``: ``link`` would link the subject to that one; it is neither barred nor another subject already.
    """

    account: AccountId
    held: Held | None
    by_email: UserId | None
    linkable: bool = False


@dataclass(frozen=True, slots=True)
class Linked:
    """The subject is this user. ``position``: of the change that linked them just now, None when they were before.

    ``cleared``: the e-mail was not proven until now, so password and sessions of the user are gone.
    """

    user: UserId
    position: Position | None = field(default=None, compare=False)
    cleared: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class LinkHeld:
    """The subject is another user already."""

    user: UserId


@dataclass(frozen=True, slots=True)
class NobodyToLink:
    """The account has no active user with this e-mail."""


@dataclass(frozen=True, slots=True)
class LinkTaken:
    """The user is another subject of the same issuer already: the e-mail has gone to somebody else over there."""


@dataclass(frozen=True, slots=True)
class LinkBarred:
    """An operator has parted this subject from its user, and it may not come back by an e-mail."""


@dataclass(frozen=True, slots=True)
class Unlinked:
    """Of so many subjects. The record as it is now: its epoch has risen, its sessions have ended."""

    record: UserRecord
    subjects: int
    position: Position


@dataclass(frozen=True, slots=True)
class NotLinked:
    """No outside subject (of that issuer) is this user."""


class Links:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, account: AccountId, issuer: str, subject: str) -> Held | None:
        """The user that the subject was linked to; None also when that one is gone, or was parted from it."""
        reply = await look(self._store, "link_find", account, link=_link(issuer, subject))
        return Held(UserId(reply["u"]), integer(reply["tv"])) if reply["o"] == "linked" else None

    async def seek(
        self, accounts: Sequence[AccountId], *, issuer: str, subject: str, email: str | None
    ) -> list[Sought]:
        """The subject, and the normalised ``email``, in all of these accounts: one round trip per partition."""
        by_partition: dict[int, list[AccountId]] = {}
        for account in accounts:
            by_partition.setdefault(keys.partition_of(account, self._store.partitions), []).append(account)
        found = await gathered(
            *(self._seek(partition, there, issuer, subject, email) for partition, there in by_partition.items())
        )
        return [one for there in found for one in there]

    async def _seek(
        self, partition: int, accounts: list[AccountId], issuer: str, subject: str, email: str | None
    ) -> list[Sought]:
        at = [keys.feed(partition), *(keys.account(account, self._store.partitions) for account in accounts)]
        wanted = {"link": _link(issuer, subject), "family": _digest(issuer)}
        if email is not None:
            wanted["email"] = email
        reply = await self._store.run("link_seek", at, wanted)
        return [
            Sought(
                account,
                Held(UserId(told["u"]), integer(told["tv"])) if told["u"] else None,
                UserId(told["e"]) if told["e"] else None,
                told["may"] == "1",
            )
            for account, told in zip(accounts, reply["found"], strict=True)
        ]

    async def link(
        self, account: AccountId, *, issuer: str, subject: str, email: str
    ) -> Linked | NobodyToLink | LinkTaken | LinkBarred:
        """By normalised e-mail, which the issuer has verified. Of many at once, for one user, one wins."""
        actor = Actor(user=None, role="", epoch=0, session=None, address="outside issuer")
        outcome = await self._link(account, actor, issuer, subject, email=email)
        if isinstance(outcome, LinkHeld):
            raise TypeError("link.lua reports another user only to an operator, who names one")
        return outcome

    async def link_user(
        self, uid: UserId, *, issuer: str, subject: str
    ) -> Linked | NobodyToLink | LinkTaken | LinkHeld:
        """As an operator: the subject is this active user, whatever its e-mail. Lifts what barred the subject."""
        if (account := account_of(uid)) is None:
            return NobodyToLink()
        outcome = await self._link(account, Actor.operator(), issuer, subject, uid=uid)
        if isinstance(outcome, LinkBarred):
            raise TypeError("link.lua bars nobody whom an operator links")
        return outcome

    async def _link(
        self, account: AccountId, actor: Actor, issuer: str, subject: str, **whom: str
    ) -> Linked | NobodyToLink | LinkTaken | LinkBarred | LinkHeld:
        reply = await transition(
            self._store,
            "link",
            account,
            actor,
            link=_link(issuer, subject),
            family=_digest(issuer),
            issuer=issuer,
            subject=subject,
            **whom,
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
                return LinkBarred()
            case _:
                return NobodyToLink()

    async def unlink(
        self, uid: UserId, *, issuer: str | None = None, may_return: bool = False
    ) -> Unlinked | NotLinked | NoUser:
        """As an operator: part the user from its subjects, of one issuer or of all. They are barred from it, unless
        they ``may_return``, which also lifts what barred them before."""
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await transition(
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
