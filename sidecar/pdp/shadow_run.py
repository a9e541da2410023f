"""Run of a shadow in this sidecar: begins when the candidate is ready here, reports to the store, ends at its time."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from sidecar.pdp.candidate_answers import Prepared
from sidecar.pdp.shadow import ShadowCounts
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.generation_records import PolicyCandidate
from sidecar.store.policy_generations import PolicyGenerations
from sidecar.telemetry.check_recorder import LogEntryTemplate

REPORT_SECONDS: Final = 1.0

Hook = Callable[[Sequence[LogEntryTemplate]], None]


class ShadowRun:
    """Shadow of at most one candidate. ``clock`` returns Unix seconds."""

    def __init__(self, generations: PolicyGenerations, clock: Callable[[], float]) -> None:
        self._generations = generations
        self._clock = clock
        self._candidate: PolicyCandidate | None = None
        self._counts: ShadowCounts | None = None
        self._done = ""
        self._sidecar = ""
        self._use: Callable[[Hook | None], None] = lambda _hook: None

    def follow(self, candidate: PolicyCandidate | None, prepared: Prepared | None) -> None:
        """Begin the shadow of a candidate that is ready here, or end that of another one."""
        current = candidate.attempt if candidate else ""
        if self._candidate is not None and self._candidate.attempt != current:
            self._end()
        if candidate is None or prepared is None or self._candidate is not None or self._done == current:
            return
        if candidate.shadow_until > self._clock() * 1000:
            self._candidate, self._counts = candidate, ShadowCounts(prepared.generation)
            self._use(self._counts.count)

    async def run(self) -> None:
        """Report the counts until cancelled."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            await self.report()

    async def report(self) -> None:
        """Write the counts to the store, and end the shadow at its time."""
        candidate, counts = self._candidate, self._counts
        if candidate is None or counts is None:
            return
        done = self._clock() * 1000 >= candidate.shadow_until
        if done:
            self._use(None)
        try:
            await self._generations.report_shadow(candidate, self._sidecar, counts.report(done=done))
        except StoreUnavailableError:
            return  # the next report has all counts
        if done and self._candidate is candidate:
            self._done = candidate.attempt
            self._end()

    def attach(self, sidecar: str, use: Callable[[Hook | None], None]) -> None:
        """Set the id of this sidecar in the fleet, and the setter of the recorder's hook.

        Without a shadow it gets None, so that checks cost nothing more.
        """
        self._sidecar, self._use = sidecar, use

    def _end(self) -> None:
        self._candidate = self._counts = None
        self._use(None)
