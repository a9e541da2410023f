"""Failed sign-ins: counted in memory per user, and written to the audit in the background.

A sign-in itself writes nothing, and costs the same for known and unknown e-mails (R17). Unknown e-mails appear in the
log alone, in one line per interval and without the text: it may be a password, typed into the wrong field.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidecar.domain.users import AccountId, UserId, UserRecord
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.sign_in_failures import FailedSignIns, SignInFailures
from sidecar.telemetry.app_log import logger

INTERVAL: Final = 10.0
MAX_ADDRESSES: Final = 5
MAX_USERS: Final = 10_000
"""Users whose failures are held in memory. Hashing limits the failures of an interval to far fewer."""
MAX_CALL: Final = 100
"""Users per call of the store."""

_log = logger("sign-in")


@dataclass(slots=True)
class _Count:
    """Number of failures, and the first addresses."""

    number: int = 0
    addresses: dict[str, None] = field(default_factory=dict)

    def add(self, address: str, number: int = 1) -> None:
        self.number += number
        if len(self.addresses) < MAX_ADDRESSES:
            self.addresses[address] = None


class FailedLogins:
    """Counter of failed sign-ins. ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        store: SignInFailures,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._clock = clock
        self._pause = pause
        self._unknown = _Count()
        self._users: dict[tuple[AccountId, UserId], _Count] = {}
        self._due: dict[AccountId, float] = {}

    def count(self, candidates: Sequence[UserRecord], address: str) -> None:
        """Count a failed sign-in of the users that it was compared with. Does no I/O. Empty: the e-mail is unknown."""
        for record in candidates:
            self._add((record.account, record.id), address)
        if not candidates:
            self._unknown.add(address)

    def _add(self, key: tuple[AccountId, UserId], address: str, number: int = 1) -> None:
        if key in self._users or len(self._users) < MAX_USERS:
            self._users.setdefault(key, _Count()).add(address, number)

    async def run(self) -> None:
        """Write the counts until cancelled. In an outage they stay in memory."""
        while True:
            await self._pause(INTERVAL)
            await self.flush()

    async def flush(self) -> None:
        """Log and write the counts, and write the rows that are due."""
        self._log_unknown()
        now = self._clock()
        waiting = self._take()
        due = {account for account, at in self._due.items() if at <= now}
        for account in sorted(waiting.keys() | due):
            failures = waiting.get(account, [])
            try:
                await self._write(account, failures, now)
            except StoreUnavailableError:  # of this account's partition; others may be available
                self._put_back(account, failures)

    async def _write(self, account: AccountId, failures: list[FailedSignIns], now: float) -> None:
        """Write and remove ``failures`` in bounded parts. What remains after an exception is not written."""
        while True:
            seconds = await self._store.count(account, failures[:MAX_CALL])
            self._schedule(account, now + seconds if seconds else None)
            del failures[:MAX_CALL]
            if not failures:
                return

    def _schedule(self, account: AccountId, at: float | None) -> None:
        if at is None:
            self._due.pop(account, None)
        elif account in self._due or len(self._due) < MAX_USERS:
            self._due[account] = at

    def _take(self) -> dict[AccountId, list[FailedSignIns]]:
        taken, self._users = self._users, {}
        waiting: dict[AccountId, list[FailedSignIns]] = {}
        for (account, user), count in taken.items():
            waiting.setdefault(account, []).append(FailedSignIns(user, count.number, tuple(count.addresses)))
        return waiting

    def _put_back(self, account: AccountId, failures: Sequence[FailedSignIns]) -> None:
        for one in failures:
            number = one.count
            for address in one.addresses:
                self._add((account, one.user), address, number)
                number = 0

    def _log_unknown(self) -> None:
        count, self._unknown = self._unknown, _Count()
        if count.number:
            _log.warning("sign_in_failed: unknown e-mail", count=count.number, addresses=list(count.addresses))
