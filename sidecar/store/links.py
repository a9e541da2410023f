"""Which user here is a subject of an outside issuer (R10). Linked once; never by what an issuer says later.

A link stands in the account of its user, under digests of issuer and subject. It ends with its user.
"""

import hashlib
from dataclasses import dataclass

from sidecar.store.connection import Store
from sidecar.store.transition import look, transition
from sidecar.vocabulary.people import AccountId, Actor, UserId


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


class Links:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, account: AccountId, issuer: str, subject: str) -> UserId | None:
        """The user that the subject was linked to; None also when that one is gone."""
        reply = await look(self._store, "link_find", account, link=_link(issuer, subject))
        return UserId(reply["u"]) if reply["o"] == "linked" else None

    async def link(
        self, account: AccountId, *, issuer: str, subject: str, email: str
    ) -> Linked | NobodyToLink | LinkTaken:
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
            case _:
                return NobodyToLink()


def _link(issuer: str, subject: str) -> str:
    return f"{_digest(issuer)}:{_digest(subject)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
