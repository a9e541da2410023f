"""Keys in force while serving, re-read from the key directory without a restart (R21).

The directory is polled every second, and read at once when the change feed announces new keys, before the
acknowledgement is sent. Unreadable keys leave those in memory in force. The fleet sees this, because each sidecar
registers the version of its key set in use.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from sidecar.sources.key_files import Fingerprint, KeyFileError, LoadedKeys, fingerprint, load
from sidecar.store.live.change_feed import FeedEntry, FeedReset
from sidecar.telemetry.app_log import logger

POLL_SECONDS = 1.0
CHANGED = "keys"
"""Kind of the feed's change for new keys."""

_log = logger("server")


class KeyWatcher:
    """Keys in force. ``used`` is called with each new set."""

    def __init__(
        self, directory: Path, keys: LoadedKeys, used: Callable[[LoadedKeys], None], *, group_read: bool = False
    ) -> None:
        self.keys = keys
        self._group_read = group_read
        self._directory = directory
        self._used = used
        self._seen: Fingerprint = fingerprint(directory)

    async def watch(self) -> None:
        """Poll every second, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if fingerprint(self._directory) != self._seen:
                self.read()

    def read(self) -> None:
        """Read the keys now. The files are few and small enough to block the event loop."""
        seen = fingerprint(self._directory)
        try:
            keys = load(self._directory, group_read=self._group_read)
        except KeyFileError as problem:
            _log.error("the keys on disk cannot be used; those in memory stay in force", error=str(problem))
            return
        finally:
            self._seen = seen
        if keys.keys.version != self.keys.keys.version:
            _log.info("keys in force", signing=keys.keys.kid, verifying=sorted(keys.keys.verifying))
        self.keys = keys
        self._used(keys)

    # Listener of the change feed --------------------------------------------------------------------------------------

    def apply(self, _partition: int, change: FeedEntry) -> None:
        if change.kind == CHANGED:
            self.read()

    def on_heartbeat(self, _partition: int, _at: float) -> None:
        """No-op: a heartbeat carries no keys."""

    def flush(self, _tail: FeedReset) -> None:
        """Read the keys, because an announcement may have been missed."""
        self.read()

    async def acknowledge(self, _partition: int, _n: int) -> None:
        """No-op: ``Fleet`` acknowledges changes."""
