"""Watch on the store's meta record and servers: inspected after each new connection and once per minute (R46).

A meta record that no longer matches this process stops the use of copies through `Fleet.objection`. Every other finding
is a warning: for ``/status``, ``sidecar doctor``, a metric, and one log line when it appears.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.integrity.server_checks import FindingKind, ServerFinding, clock_skew, inspect
from sidecar.store.live.fleet import Fleet
from sidecar.store.maintenance import startup_checks
from sidecar.telemetry.app_log import logger

LOOK_SECONDS: Final = 60.0

_log = logger("store")


class StoreWatch:
    """Watch on a store. ``leeway``: seconds of clock skew that tokens allow (SIDECAR_LEEWAY). ``clock``: Unix time."""

    def __init__(self, store: Store, fleet: Fleet, *, leeway: float, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._fleet = fleet
        self._leeway = leeway
        self._clock = clock
        self._wake = asyncio.Event()
        self.findings: tuple[ServerFinding, ...] = ()
        self.skew = 0.0
        """Seconds by which this machine's clock was ahead of the store's at the last inspection."""

    def look_soon(self) -> None:
        """Inspect the store soon, because a new connection may lead to another server."""
        self._wake.set()

    @property
    def warnings(self) -> list[str]:
        return [finding.message for finding in self.findings]

    def kinds(self) -> dict[str, int]:
        """Return the number of findings by kind, zeros included: samples of ``sidecar_store_warnings``."""
        kinds = [finding.kind for finding in self.findings]
        return {kind.value: kinds.count(kind) for kind in FindingKind}

    async def run(self) -> None:
        """Inspect the store until cancelled. An unavailable store is inspected at the next turn."""
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.poll()
            except StoreUnavailableError:
                continue

    async def poll(self) -> None:
        """Inspect the store once. Raises StoreUnavailableError."""
        self._fleet.objection = await startup_checks.objection(self._store)
        found = await inspect(self._store)
        self.skew = await clock_skew(self._store, self._clock)
        if abs(self.skew) > self._leeway:
            found.append(ServerFinding(FindingKind.CLOCK_SKEW, self._skew_message()))
        self._note(tuple(found))

    def _skew_message(self) -> str:
        ahead = "ahead of" if self.skew > 0 else "behind"
        return (
            f"this machine's clock is {abs(self.skew):.0f} s {ahead} the store's, more than SIDECAR_LEEWAY "
            f"({self._leeway:.0f} s): synchronise both with NTP"
        )

    def _note(self, found: tuple[ServerFinding, ...]) -> None:
        """Log findings of a new kind. A changed number in a message is not a new finding."""
        known = {finding.kind for finding in self.findings}
        for finding in found:
            if finding.kind not in known:
                log = _log.error if finding.fatal or finding.kind is FindingKind.CLOCK_SKEW else _log.warning
                log("store setup", kind=finding.kind.value, message=finding.message)
        self.findings = found
