"""Which user here is a subject of an outside issuer (R10). Linked once; never by what an issuer says later.

A link stands in the account of its user, under digests of issuer and subject. It ends with its user, or when an
operator parts the two: the subject is then barred from that user.
"""

import hashlib
from dataclasses import dataclass

from sidecar.store.codec import integer, position_of, record_of
from sidecar.store.connection import Store
from sidecar.store.outcomes import NoUser, Position
from sidecar.store.transition import look, transition
from sidecar.tokens.ids import account_of
from sidecar.vocabulary.people import AccountId, Actor, UserId, UserRecord


@dataclass(frozen=True, slots=True)
class Held:
    """The subject is this user, at this epoch of it. While that is the same the link is too: ending it raises it."""

    user: UserId
    epoch: int


@dataclass(frozen=True, slots=True)
class Linked:
    """The subject is this user, from now on or since earlier."""

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

    async def link(
        self, account: AccountId, *, issuer: str, subject: str, email: str
    ) -> Linked | NobodyToLink | LinkTaken | LinkBarred:
        """By normalised e-mail, which the issuer has verified. Of many at once, for one user, one wins."""
        reply = await transition(
            self._store,
            "link",
            account,
            Actor(user=None, role="", epoch=0, session=None, address="outside issuer"),
            link=_link(issuer, subject),
            family=_digest(issuer),
            issuer=issuer,
            subject=subject,
            email=email,
        )
        match reply["o"]:
            case "linked":
                return Linked(UserId(reply["u"]))
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
