"""Active generation from the store (SIDECAR_POLICY_SOURCE=store): followed by the feed of partition 0.

A switch is one feed entry with the record of the new generation. It is applied in the feed's order, before any later
change. The generation is served only while the lease of partition 0 lasts and no newer authentic record is known, so no
check by a revision at or after the switch is decided by the older generation.

Records have codes under the pepper (generation_records.py). A record without a valid code, or with an older counter
than that of the kept one, is reported and never served (R44).
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.pdp.candidate_answers import CandidateAnswers, Prepared, RejectedGenerationError
from sidecar.pdp.candidate_progress import CandidateProgress, progress_of
from sidecar.pdp.kept_policy import load_kept, store_kept, went_back
from sidecar.pdp.policy_holder import ActivationState, PolicyHolder
from sidecar.pdp.policy_seed import WAITING, local_generation, same_as_local
from sidecar.pdp.policy_signatures import SignatureCheck
from sidecar.pdp.shadow_run import ShadowRun
from sidecar.pdp.store_loop import repeat
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.transfer.packing import pack
from sidecar.sources.policy_location import PolicyLocation
from sidecar.store.generation_records import ActiveRecord, PolicyCandidate, switch_of
from sidecar.store.integrity.feed_entries import FeedEntry, FeedReset
from sidecar.store.live.record_cache import Lease
from sidecar.store.policy_generations import GenerationFilesError, PolicyGenerations, PolicyState
from sidecar.telemetry.app_log import logger
from sidecar.tokens.opaque import Pepper

FILES_SECONDS: Final = 30.0
"""Interval in which the files of the served generation are compared as well."""

NO_CODE: Final = "the store's record of the active generation has no valid code: it was not written with this pepper"
LOST: Final = "the store has lost its record of the active generation: run `sidecar policy apply`"

_log = logger("policy")


class StorePolicy(PolicyHolder):
    """Active generation from the store. ``clock``: Unix seconds. ``monotonic``: the clock of the leases.

    ``location``: the local files, which only seed an empty store. ``signatures``: keys that may sign.
    """

    def __init__(
        self,
        location: PolicyLocation,
        generations: PolicyGenerations,
        pepper: Pepper,
        *,
        state_dir: Path,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        signatures: SignatureCheck | None = None,
    ) -> None:
        super().__init__(location, clock)
        self._generations = generations
        self._pepper = pepper
        self._state_dir = state_dir
        self.monotonic = monotonic
        self._signatures = signatures or SignatureCheck(None)
        self._answers = CandidateAnswers(
            generations, pepper, gates=self._refusals, objection=self._signatures.objection
        )
        self._floor = 0
        self.shadow = ShadowRun(generations, clock)
        self.lease = Lease()
        """Lease of partition 0. Outside it nothing is served."""
        self._sidecar = ""
        self.verified = False
        """True while no newer generation is known, and no switch can have been missed."""
        self._wanted: ActiveRecord | None = None
        self._era = 0
        self._changed = asyncio.Event()
        self._candidate_read = asyncio.Event()
        self._candidate: PolicyCandidate | None = None
        self._files_at = float("-inf")
        self._files_problem = ""
        self._kept: ActiveRecord | None = None
        self._compared = ""
        self.record: ActiveRecord | None = None
        """Record of the generation here, served or not."""
        self.problem = ""
        """Reason why the store's active generation is not, or not as stored, the one here; empty if it is."""
        self.ignored = ""
        """Warning about local files that differ; empty if they do not."""

    @property
    def floor(self) -> int:
        """Return the counter below which no record is taken."""
        return self.record.terms.counter if self.record else self._floor

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the warnings for ``/status``."""
        return tuple(filter(None, (self.problem, self.ignored)))

    def attach(self, sidecar: str, lease: Lease) -> None:
        """Set the id of this sidecar in the fleet, and the lease of partition 0."""
        self._sidecar, self.lease = sidecar, lease

    async def start(self) -> None:
        """Take the kept generation, if there is one. It is served once the store confirms it."""
        kept = await load_kept(self._state_dir, self._pepper)
        self._kept, self._floor = kept.record, kept.counter
        if kept.record is None or kept.files is None or self._signatures.objection(kept.record.terms, kept.files):
            return
        compiled = await asyncio.to_thread(compile_policy, kept.files, proof=ProofScope.START)
        if compiled.generation is not None:
            self.record = kept.record
            self._activate(compiled.generation, compiled.diagnostics)

    async def reload(self) -> None:
        """Compare with the store and with the local files now (SIGHUP)."""
        self._compared = ""
        self._signatures.reload()
        self._changed.set()

    async def watch(self) -> None:
        """Follow the store until cancelled."""
        await repeat(self._look, self._changed, lambda: self.verified or bool(self.problem))

    async def answer(self) -> None:
        """Answer candidates until cancelled, beside `watch`: a compile takes seconds."""
        await repeat(self._answer, self._candidate_read, lambda: True)

    # Follower of the feed --------------------------------------------------------------------------------------------

    def apply(self, partition: int, change: FeedEntry) -> None:
        """Apply a switch at once if its generation is compiled; else serve nothing until it is."""
        if partition != 0 or change.kind not in {"policy", "candidate"}:
            return
        self._changed.set()
        record = switch_of(change.switch or {})
        if record is None:
            return
        self._era += 1
        if record.revision != change.n or not record.is_authentic(self._pepper):
            self._report(NO_CODE)
        elif not self._may_follow(record):
            self._report(self._behind(record))
        elif self._holds(record) and not self._objection(record):
            self.record, self._wanted, self.verified = record, None, True
        elif (prepared := self._answers.prepared_for(record.terms)) is not None:
            self._switch(record, prepared)
        else:
            self._wanted, self.verified = record, False

    def on_heartbeat(self, partition: int, at: float) -> None:
        """No-op: the lease of partition 0 counts heartbeats."""

    def flush(self, tail: FeedReset) -> None:
        """Serve nothing until the store's record is read again: switches may have been missed."""
        if tail.partition == 0:
            self._era += 1
            self.verified = False
            self._changed.set()

    async def acknowledge(self, partition: int, n: int) -> None:
        """No-op: the fleet acknowledges, after every follower has applied the change."""

    async def candidate(self) -> CandidateProgress | None:
        """Return the progress of the current application. Raises StoreUnavailableError."""
        return await progress_of(self._generations)

    # Internals -------------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        era = self._era
        found = await self._generations.look()
        if era == self._era:
            await self._follow(found, era)
        self._candidate = found.candidate
        self._candidate_read.set()
        if self.record is not None and (self._kept is None or self.record.code != self._kept.code):
            await self._keep()

    async def _answer(self) -> None:
        candidate, answers = self._candidate, self._answers
        await answers.answer(candidate, self._sidecar, floor=self.floor, like=self.generation)
        self.shadow.follow(candidate, answers.prepared_for(candidate.terms) if candidate else None)

    async def _follow(self, found: PolicyState, era: int) -> None:
        if not found.found and not found.applied and self._wanted is None:
            await self._seed()
            return
        newest, problem = self._newest(found)
        if newest is None:
            self._report(problem)
        elif self._holds(newest):
            objection = self._objection(newest)
            problem = objection or problem or await self._problem_of_files(newest)
            if era == self._era:
                self._confirm(newest, problem, served=not objection)
        else:
            await self._load(newest, era)

    def _newest(self, found: PolicyState) -> tuple[ActiveRecord | None, str]:
        """Return the newest authentic record known here, and what is wrong with that of the store."""
        newest, active = self._wanted or self.record, found.active
        if active is None or not active.is_authentic(self._pepper):
            return newest, NO_CODE if found.found else LOST
        return (active, "") if self._may_follow(active) else (newest, self._behind(active))

    def _may_follow(self, record: ActiveRecord) -> bool:
        """Return whether the record is not older than what is known here (R44)."""
        known = self._wanted or self.record or self._kept
        return known.precedes(record) if known else record.terms.counter >= self._floor

    def _behind(self, record: ActiveRecord) -> str:
        return went_back(record.terms, self._wanted or self.record or self._kept, self._floor)

    async def _problem_of_files(self, record: ActiveRecord) -> str:
        if self.monotonic() >= self._files_at + FILES_SECONDS:
            self._files_at, self._files_problem = self.monotonic(), ""
            try:
                await self._generations.files(record.terms)
            except GenerationFilesError as problem:
                self._files_problem = f"{problem}: run `sidecar policy apply`"
        return self._files_problem

    async def _load(self, record: ActiveRecord, era: int) -> None:
        """Compile a generation that other sidecars serve. Until then nothing is served: this one is older."""
        self.verified = False
        try:
            prepared = await self._answers.prepare(record.terms, self.generation)
        except (RejectedGenerationError, GenerationFilesError) as problem:
            self._report(f"the active generation {record.terms.id} cannot be served here: {problem}")
            return
        if era == self._era:
            self._switch(record, prepared)
        else:
            self._answers.prepared = prepared
            self._changed.set()

    async def _seed(self) -> None:
        """Make the kept generation the first one of an empty store, else that of the local files."""
        if self.record is not None and self.generation is not None:
            terms, generation = self.record.terms, self.generation
        else:
            found = await asyncio.to_thread(local_generation, self.location, self._signatures, self._sidecar)
            if isinstance(found, tuple):
                self._report(f"{WAITING}: {found[0]}" if found else WAITING)
                return
            terms, generation = found.terms, found.generation
            self._answers.prepared = Prepared(terms.digest, generation, found.diagnostics)
        await self._generations.seed(terms, pack(generation.files), generation, sidecar=self._sidecar)
        self._changed.set()

    def _holds(self, record: ActiveRecord) -> bool:
        """Return whether the generation here has the files of the record."""
        return (
            self.record is not None and self.generation is not None and self.record.terms.digest == record.terms.digest
        )

    def _objection(self, record: ActiveRecord) -> str:
        """Return the reason not to serve the generation here by this record; empty if there is none (R43)."""
        return self._signatures.objection(record.terms, self.generation.files) if self.generation else ""

    def _confirm(self, record: ActiveRecord, problem: str, *, served: bool) -> None:
        self.record, self._wanted, self.verified = record, None, served
        if problem:
            self._report(problem)
        elif self.problem or self.state is not ActivationState.CURRENT:
            self.problem = ""
            self.state = ActivationState.CURRENT
            self._notify()

    def _switch(self, record: ActiveRecord, prepared: Prepared) -> None:
        """Make a compiled generation the active one: one assignment between two checks."""
        self.record, self._wanted, self.verified, self.problem = record, None, True, ""
        self._files_at = float("-inf")
        self._activate(prepared.generation, prepared.diagnostics)
        self._changed.set()

    def _report(self, problem: str) -> None:
        """Report a problem once. The generation here stays, served or not."""
        if problem != self.problem:
            self.problem = problem
            _log.error("policy of the store", problem=problem)
            self._reject(self.diagnostics)
            self._notify()

    async def _keep(self) -> None:
        """Store the generation in the state directory, and compare it with the local files."""
        record, generation = self.record, self.generation
        assert record is not None  # noqa: S101 - the caller has looked
        assert generation is not None  # noqa: S101 - a record has its generation
        if record.terms.id != self._compared:
            self._compared = record.terms.id
            self.ignored = await asyncio.to_thread(same_as_local, self.location, record.terms.id)
        await store_kept(self._state_dir, record, generation.files)
        self._kept = record
