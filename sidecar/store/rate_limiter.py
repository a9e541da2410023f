"""Buckets of units that come back with time (GCRA), by Redis' clock. What they limit is for accounts to say.

Buckets are fixed in number, so nobody can fill the store with them; which one a subject falls into is for those who
know the subject's keyed digest (R16). When the store is out, that is StoreUnavailable, never "no limit".
"""

from dataclasses import dataclass

from sidecar.store import keys
from sidecar.store.codec import integer
from sidecar.store.connection import Store


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket holds ``units``; one comes back every ``seconds``."""

    units: int
    seconds: float

    @property
    def milliseconds(self) -> str:
        return str(round(self.seconds * 1000))


@dataclass(frozen=True, slots=True)
class Bucket:
    """``subject``: a keyed digest, so that nobody chooses the bucket that another one's failures fall into."""

    kind: str
    subject: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class Taken:
    """One unit is yours, until it is given back."""


@dataclass(frozen=True, slots=True)
class Empty:
    """None is left; ``seconds`` until one is."""

    seconds: float


class Buckets:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def take(self, bucket: Bucket) -> Taken | Empty:
        words = [bucket.rate.milliseconds, str(bucket.rate.units)]
        # Not confirmed by replicas: a fail-over that forgets a few failures harms nobody.
        reply = await self._store.run("limit_take", [self._key(bucket)], words)
        return Taken() if reply["o"] == "taken" else Empty(integer(reply["wait"]) / 1000)

    async def give_back(self, bucket: Bucket) -> None:
        await self._store.run("limit_give_back", [self._key(bucket)], [bucket.rate.milliseconds])

    def _key(self, bucket: Bucket) -> str:
        return keys.limit(bucket.kind, bucket.subject, self._store.partitions)
