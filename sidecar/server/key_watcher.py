"""The keys in force while serving: read from the key directory, followed without a restart (R21).

The directory is looked at every second, and at once when the feed says that keys have changed: what the feed told is
read before its acknowledgement goes out. Keys that cannot be read leave those in memory in force, and the fleet sees
that this sidecar has not followed, because each one tells the version that it really uses.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from sidecar.sources.key_files import Fingerprint, KeyFileProblem, LoadedKeys, fingerprint, load
from sidecar.store.live.change_feed import Change, Tail
from sidecar.telemetry.app_log import logger

POLL_SECONDS = 1.0
CHANGED = "keys"
"""The kind of change in the feed that says so."""

_log = logger("server")


class KeyRing:
    """``used``: whoever signs and verifies, told of each new set."""

    def __init__(
        self, directory: Path, keys: LoadedKeys, used: Callable[[LoadedKeys], None], *, group_read: bool = False
    ) -> None:
        self.keys = keys
        self._group_read = group_read
        self._directory = directory
        self._used = used
        self._seen: Fingerprint = fingerprint(directory)

    async def watch(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if fingerprint(self._directory) != self._seen:
                self.read()

    def read(self) -> None:
        """Look now. A few small files: the event loop can wait for them."""
        seen = fingerprint(self._directory)
        try:
            keys = load(self._directory, group_read=self._group_read)
        except KeyFileProblem as problem:
            _log.error("the keys on disk cannot be used; those in memory stay in force", error=str(problem))
            return
        finally:
            self._seen = seen
        if keys.keys.version != self.keys.keys.version:
            _log.info("keys in force", signing=keys.keys.kid, verifying=sorted(keys.keys.verifying))
        self.keys = keys
        self._used(keys)

    # As a follower of the feed ---------------------------------------------------------------------------------------

    def apply(self, _partition: int, change: Change) -> None:
        if change.kind == CHANGED:
            self.read()

    def heard(self, _partition: int, _at: float) -> None:
        """Says nothing of keys."""

    def flush(self, _tail: Tail) -> None:
        """An announcement may have been missed."""
        self.read()

    async def acknowledge(self, _partition: int, _n: int) -> None:
        """Not ours to say: the fleet does."""
