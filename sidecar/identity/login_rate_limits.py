"""Buckets of the limits for sign-in (R16) and mail (R12), and the effect of an empty one.

Only buckets of one address reject. An empty bucket of an e-mail, or the empty global one, moves later attempts to the
small share of the hashing pool. Rejecting would let strangers lock users out, because strangers can empty those
buckets. Subjects are MACs under the pepper, so that an attacker cannot choose an address with a colliding bucket.
"""

import math
import time
from asyncio import Semaphore
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from sidecar.domain.caching import FifoCache
from sidecar.domain.users import AccountId, UserId
from sidecar.identity.emails import Email
from sidecar.identity.hash_limits import Limited, MailSource, Reservation
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.rate_limiter import Bucket, BucketEmpty, Buckets, Rate
from sidecar.tokens.opaque import Pepper, Purpose

PAIR: Final = Rate(units=10, seconds=60)
"""Failures of one e-mail from one address."""

ADDRESS: Final = Rate(units=100, seconds=6)
"""Failures from one address. An office behind one address mistypes more often than a person."""

TRIES: Final = Rate(units=200, seconds=2)
"""Sign-ins of one e-mail from one address, including successful ones: each costs a hash, a session and an event."""

EMAIL: Final = Rate(units=30, seconds=60)
"""Failures of one e-mail from all addresses. Never rejects."""

ALL_CLIENTS: Final = Rate(units=600, seconds=0.2)
"""Failures of all e-mails from all addresses. Never rejects."""

REQUESTED: Final = Rate(units=10, seconds=60)
"""Mails requested without sign-in from one address."""

RECIPIENT: Final = Rate(units=5, seconds=600)
"""Mails to one recipient, per source."""

ACCOUNT: Final = Rate(units=30, seconds=120)
"""Mails on behalf of one account, per source."""

PROFILE: Final = Rate(units=20, seconds=60)
"""Changes of one user to their own profile: each costs an audit row and an event."""

CREDENTIALS: Final = Rate(units=60, seconds=10)
"""Reset links and sign-outs that one user makes for others. Each is an audit row and an event for every sidecar."""

LINK: Final = Rate(units=100, seconds=6)
"""Invitations that one address opens. An office behind one address can invite a hundred people at once."""

AT_ONCE: Final = 2
"""Concurrent attempts of one e-mail from one address; further ones wait. A crowd with the correct password then does
not count as failures, and one guesser cannot occupy the whole pool."""

WAITING: Final = 64

REMEMBERED_SECONDS: Final = 1.0
"""Time in which a rejected address is rejected unread. Its bucket regains one unit in six times as long."""

MAX_REMEMBERED: Final = 10_000


@dataclass(slots=True)
class _Queue:
    """Queue of attempts for one e-mail from one address."""

    turn: Semaphore = field(default_factory=lambda: Semaphore(AT_ONCE))
    length: int = 0


@dataclass(frozen=True, slots=True)
class _Reserved:
    """Units that one attempt holds until it is settled."""

    line: str
    buckets: tuple[Bucket, ...]


class LoginRateLimits:
    """Limits that count in the store. ``address_of`` maps an address to its bucket subject (an IPv6 customer holds a
    whole /64). ``short`` returns True while the store is low on memory. ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        buckets: Buckets,
        pepper: Pepper,
        *,
        address_of: Callable[[str], str],
        memory_low: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buckets = buckets
        self._pepper = pepper
        self._address_of = address_of
        self._memory_low = memory_low
        self._clock = clock
        self._lines: dict[str, _Queue] = {}
        self._refused: FifoCache[str, tuple[float, Limited]] = FifoCache(MAX_REMEMBERED)

    @property
    def memory_low(self) -> bool:
        return self._memory_low()

    def refused(self, address: str) -> Limited | None:
        until, refusal = self._refused.get(self._address_of(address), (0.0, None))
        return refusal if self._clock() < until else None

    async def reserve(self, subject: Email | str, address: str) -> Reservation | Limited:
        place = self._address_of(address)
        pair = self._bucket("pair", PAIR, subject, place)
        if not await self._enqueue(pair.subject):
            return Limited(1)
        try:
            answer = await self._reserve(pair, subject, place)
        except BaseException:
            self._leave(pair.subject)
            raise
        if isinstance(answer, Limited):
            self._leave(pair.subject)
        return answer

    async def settle(self, admitted: Reservation, *, failed: bool) -> None:
        held = admitted.receipt
        if not isinstance(held, _Reserved):
            raise TypeError("unknown receipt")
        self._leave(held.line)
        if not failed:
            with suppress(StoreUnavailableError):  # the sign-in is done; units not returned refill with time
                await self._give_back(held.buckets)

    async def admit_profile_change(self, user: UserId) -> Limited | None:
        return await self._admit(self._bucket("profile", PROFILE, user))

    async def admit_credential_change(self, actor: UserId) -> Limited | None:
        return await self._admit(self._bucket("credentials", CREDENTIALS, actor))

    async def admit_link(self, address: str) -> Limited | None:
        return await self._admit(self._bucket("link", LINK, self._address_of(address)))

    async def may_ask(self, address: str) -> bool:
        return await self._may(self._bucket("asked", REQUESTED, self._address_of(address)))

    async def may_mail(self, recipient: Email, source: MailSource) -> bool:
        return await self._may(self._bucket("recipient", RECIPIENT, source, recipient))

    async def may_mail_for(self, account: AccountId, source: MailSource) -> bool:
        return await self._may(self._bucket("account", ACCOUNT, source, account))

    async def _may(self, bucket: Bucket) -> bool:
        return not self._memory_low() and not isinstance(await self._buckets.take(bucket), BucketEmpty)

    async def _admit(self, bucket: Bucket) -> Limited | None:
        taken = await self._buckets.take(bucket)
        return Limited(max(1, math.ceil(taken.seconds))) if isinstance(taken, BucketEmpty) else None

    async def _reserve(self, pair: Bucket, subject: str, place: str) -> Reservation | Limited:
        """Take a unit of every rejecting bucket, or of none. Then take one of each bucket that marks as suspect."""
        taken: list[Bucket] = []
        tries = self._bucket("tries", TRIES, subject, place)
        of_address = self._bucket("address", ADDRESS, place)
        for bucket in (pair, of_address, tries):
            answer = await self._buckets.take(bucket)
            if isinstance(answer, BucketEmpty):
                await self._give_back(taken)
                refusal = Limited(max(1, math.ceil(answer.seconds)))
                if bucket is of_address:
                    self._refused.set(place, (self._clock() + min(answer.seconds, REMEMBERED_SECONDS), refusal))
                return refusal
            taken.append(bucket)
        taken.remove(tries)  # successful attempts count too
        suspect = False
        for bucket in (self._bucket("email", EMAIL, subject), self._bucket("everybody", ALL_CLIENTS)):
            if isinstance(await self._buckets.take(bucket), BucketEmpty):
                suspect = True
            else:
                taken.append(bucket)
        return Reservation(suspect, _Reserved(pair.subject, tuple(taken)))

    async def _give_back(self, taken: Iterable[Bucket]) -> None:
        for bucket in taken:
            await self._buckets.give_back(bucket)

    def _bucket(self, kind: str, rate: Rate, *subject: str) -> Bucket:
        return Bucket(kind, self._pepper.mac(Purpose.LIMITS, kind, *subject).hex(), rate)

    async def _enqueue(self, name: str) -> bool:
        line = self._lines.setdefault(name, _Queue())
        if line.length >= AT_ONCE + WAITING:
            return False
        line.length += 1
        try:
            await line.turn.acquire()
        except BaseException:
            self._leave_queue(name, line)
            raise
        return True

    def _leave(self, name: str) -> None:
        line = self._lines[name]
        line.turn.release()
        self._leave_queue(name, line)

    def _leave_queue(self, name: str, line: _Queue) -> None:
        line.length -= 1
        if line.length == 0:
            del self._lines[name]
