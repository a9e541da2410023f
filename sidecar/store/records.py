"""The live records: a local copy that is exact while its lease lasts, and the store itself past it.

``peek`` never waits and never guesses: None means ask ``read``. ``read`` fails with StoreUnavailable, never with an
older truth: a record below what was once seen here is a store that went back in time.
"""

from typing import Protocol

from sidecar.vocabulary.people import UserId, UserRecord


class Records(Protocol):
    def peek(self, uid: UserId) -> UserRecord | None:
        """The copy, if it is live now; None when it is not, or when there is no copy. No await, no lock."""

    async def read(self, uid: UserId, *, fresh: bool = False) -> UserRecord | None:
        """The live copy or a direct read; None when there is no such user. ``fresh`` skips the copy: ask so when a
        token's epoch is above the copy's or its session is not in it (a sign-in a moment ago)."""
