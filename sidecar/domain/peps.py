"""The keys of PEPs: services and gateways that ask about an account's users without being one (R20)."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NewType

from sidecar.domain.users import AccountId

PepId = NewType("PepId", str)
"""``pep_``, the account's 12 characters, ``_`` and 12 of its own: the first half of the key, and no secret."""

DEFAULT_RATE: Final = 100_000
"""Decisions a second that a key may ask of each sidecar process, unless the operator says otherwise. More than a
process gives one by one: it bounds batches, and an operator lowers it for who is not trusted to be moderate."""

_ID: Final = re.compile(r"pep_([a-z2-7]{12})_[a-z2-7]{12}")


class Scope(StrEnum):
    """What a key may be used for. A key has at least one."""

    EVALUATE = "evaluate"
    SEARCH = "search"
    INTROSPECT = "introspect"


@dataclass(frozen=True, slots=True)
class Pep:
    """A key as the store holds it. Times are Unix seconds. ``suspended``: its account is, so nobody may use it now.

    ``digest`` proves a presented key and betrays none (R19). ``rate``: decisions a second, for each sidecar process.
    """

    id: PepId
    account: AccountId
    name: str
    scopes: frozenset[Scope]
    created_at: int
    expires_at: int
    rate: int
    digest: str = field(repr=False)
    suspended: bool = False


def account_of_pep(pep: str) -> AccountId | None:
    """The account that a key's id names, or None when ``pep`` is not the id of a key."""
    match = _ID.fullmatch(pep)
    return None if match is None else AccountId("acc_" + match[1])
