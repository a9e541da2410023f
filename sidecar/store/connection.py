"""The one way to Redis: run a script, know what failed. Retries nothing that it cannot repeat safely.

Outages are ``StoreUnavailable``; a store that must not be used is ``StoreRefused``. No key name lives here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


class StoreUnavailable(Exception):
    """The store did not answer, or may not answer now: out, slow, read-only, loading, without its replicas, full."""


class StoreRefused(Exception):
    """This store must not be used by this sidecar. One sentence: what, where, what now."""


class Store:
    partitions: int

    @classmethod
    async def open(cls, url: str, *, read_timeout: float = 0.4, write_timeout: float = 2.0) -> "Store":
        """Connect. Raises StoreUnavailable when nothing answers, StoreRefused for a URL it cannot use."""
        raise NotImplementedError

    @classmethod
    def from_client(cls, client: Any) -> "Store":
        """Over a client that somebody else made (tests: fakeredis)."""
        raise NotImplementedError

    async def check_meta(self, *, issuer: str, audience: str, demo: bool = False) -> tuple[str, ...]:
        """Create or compare the store's own record (R22, R23) and check how it is set up. Returns warnings.

        Raises StoreRefused: another issuer or audience, a demo store, another schema, an eviction policy.
        """
        raise NotImplementedError

    async def run(self, name: str, keys: Sequence[str], args: Mapping[str, object]) -> dict[str, Any]:
        """One script, one round trip, its JSON answer."""
        raise NotImplementedError

    async def ping(self) -> None:
        """Returns when the store answers; StoreUnavailable otherwise."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError
