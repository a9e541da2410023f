"""Failed sign-ins of known users, counted per minute and then audited. The script limits the rows of an account."""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.domain.users import AccountId, Actor, UserId
from sidecar.store.codec import integer
from sidecar.store.connection import Store
from sidecar.store.scripting import run_write


@dataclass(frozen=True, slots=True)
class FailedSignIns:
    """Failed sign-ins of one user. ``addresses``: some of the clients, each once."""

    user: UserId
    count: int
    addresses: Sequence[str]


class SignInFailures:
    """Counter of failed sign-ins. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def count(self, account: AccountId, failures: Sequence[FailedSignIns]) -> float:
        """Count failures, and audit those of earlier minutes. Returns the seconds until the next row is due, or 0.

        The caller calls again at that time, also without failures.
        """
        listed = [[one.user, one.count, list(one.addresses)] for one in failures]
        reply = await run_write(self._store, "sign_in_failed", account, Actor.operator(), failures=listed)
        return integer(reply["due"]) / 1000
