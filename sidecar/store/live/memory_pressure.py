"""Memory use of the store. At 80 % it is logged, and deferrable work waits (R16).

Only a store with ``maxmemory`` has a limit. Without it, or without INFO, memory is never low.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from sidecar.store.codec import info_fields
from sidecar.store.connection import Store, StoreUnavailableError
from sidecar.store.errors import is_not_permitted
from sidecar.telemetry.app_log import logger

SHORT: Final = 0.8
ENOUGH: Final = 0.75
"""Share below which memory suffices again; lower than SHORT, so that the state does not flap."""

LOOK_SECONDS: Final = 5.0

_log = logger("store")


class MemoryPressure:
    """Memory state of the store. ``watch`` updates ``short``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.low = False
        self.share = 0.0
        """Used share of the memory, 0 to 1; 0 when unknown."""

    async def watch(self) -> None:
        """Poll until cancelled. While the store is unavailable, the last state stays."""
        while True:
            with suppress(StoreUnavailableError):
                await self.poll()
            await asyncio.sleep(LOOK_SECONDS)

    async def poll(self) -> None:
        """Read the memory use once. Raises StoreUnavailableError."""
        self.share = _share(await self._info())
        if self.share >= SHORT and not self.low:
            self.low = True
            _log.error("store memory low: sign-ins and mails are paused", used=self.share)
        elif self.share < ENOUGH and self.low:
            self.low = False
            _log.warning("store memory sufficient again", used=self.share)

    async def _info(self) -> Mapping[str, str]:
        try:
            return info_fields(await self._store.command("INFO", "memory"))
        except StoreUnavailableError as problem:
            if is_not_permitted(problem):
                return {}
            raise


def _share(info: Mapping[str, str]) -> float:
    try:
        most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    except ValueError:
        return 0.0
    return used / most if most > 0 else 0.0
