"""PEP keys: credentials of services and gateways that send requests about an account's users (R20)."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NewType

from sidecar.domain.users import AccountId

PepId = NewType("PepId", str)
"""``pep_``, the account's 12 characters, ``_`` and 12 own characters. First half of the key; not secret."""

DEFAULT_RATE: Final = 100_000
"""Default limit of a key: decisions per second per sidecar process.

Higher than the rate of single checks that a process reaches, so it bounds batches only. Operators lower it for clients
that may send too much.
"""

_ID: Final = re.compile(r"pep_([a-z2-7]{12})_[a-z2-7]{12}")


class Scope(StrEnum):
    """Permission of a key. A key has at least one scope."""

    EVALUATE = "evaluate"
    SEARCH = "search"
    INTROSPECT = "introspect"


@dataclass(frozen=True, slots=True)
class Pep:
    """Key record in the store. Times are Unix seconds.

    ``suspended``: the key's account is suspended, and the key is unusable. ``digest`` verifies a presented key and does
    not reveal it (R19). ``rate``: decisions per second per sidecar process.
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
    """Return the account named in a key's id, or None if ``pep`` is not a key's id."""
    match = _ID.fullmatch(pep)
    return None if match is None else AccountId("acc_" + match[1])
