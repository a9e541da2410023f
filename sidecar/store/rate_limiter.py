"""Rate limit buckets (GCRA) by Redis' clock. The limits themselves are defined in ``identity``.

The number of buckets is fixed, so that no client can fill the store with them. The bucket of a subject follows from
its keyed digest (R16). An outage raises StoreUnavailableError; it never means "no limit".
"""

from dataclasses import dataclass

from sidecar.store import keys
from sidecar.store.codec import integer
from sidecar.store.connection import Store


@dataclass(frozen=True, slots=True)
class Rate:
    """Bucket size in ``units``. One unit is restored every ``seconds``."""

    units: int
    seconds: float

    @property
    def milliseconds(self) -> str:
        return str(round(self.seconds * 1000))


@dataclass(frozen=True, slots=True)
class Bucket:
    """Bucket of a subject. ``subject``: a keyed digest, so that no client can choose to share another's bucket."""

    kind: str
    subject: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class BucketTaken:
    """One unit is reserved, until it is given back."""


@dataclass(frozen=True, slots=True)
class BucketEmpty:
    """No unit is left. ``seconds``: time until the next one."""

    seconds: float


class Buckets:
    """Bucket operations. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def take(self, bucket: Bucket) -> BucketTaken | BucketEmpty:
        """Reserve one unit."""
        words = [bucket.rate.milliseconds, str(bucket.rate.units)]
        # Not confirmed by replicas: a fail-over that loses a few failures is harmless.
        reply = await self._store.run("limit_take", [self._key(bucket)], words)
        return BucketTaken() if reply["o"] == "taken" else BucketEmpty(integer(reply["wait"]) / 1000)

    async def give_back(self, bucket: Bucket) -> None:
        """Restore one unit that was reserved and not used."""
        await self._store.run("limit_give_back", [self._key(bucket)], [bucket.rate.milliseconds])

    def _key(self, bucket: Bucket) -> str:
        return keys.limit(bucket.kind, bucket.subject, self._store.partitions)
