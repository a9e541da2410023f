"""Active generation from the store (SIDECAR_POLICY_SOURCE=store): followed by the feed of partition 0.

A switch is one feed entry with the record of the new generation. It is applied in the feed's order, before any later
change. The generation is served only while the lease of partition 0 lasts and no newer authentic record is known, so no
check by a revision at or after the switch is decided by the older generation.

Records have codes under the pepper (generation_records.py). A record without a valid code, or with an older counter
than that of the kept one, is reported and never served (R44).
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sidecar.pdp.candidate_answers import CandidateAnswers, Prepared, RejectedGenerationError
from sidecar.pdp.kept_policy import load_kept, store_kept
from sidecar.pdp.policy_holder import ActivationState, PolicyHolder
from sidecar.pdp.policy_seed import local_generation, same_as_local
from sidecar.pdp.store_loop import repeat
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.transfer.packing import pack
from sidecar.sources.policy_location import PolicyLocation
from sidecar.store.generation_records import ActiveRecord, Candidate, GenerationTerms, switch_of
from sidecar.store.integrity.feed_entries import FeedEntry, FeedReset
from sidecar.store.live.record_cache import Lease
from sidecar.store.policy_generations import GenerationFilesError, PolicyGenerations, PolicyState
from sidecar.telemetry.app_log import logger
from sidecar.tokens.opaque import Pepper

FILES_SECONDS: Final = 30.0
"""Interval in which the files of the served generation are compared as well."""

NO_CODE: Final = "the store's record of the active generation has no valid code: it was not written with this pepper"
LOST: Final = "the store has lost its record of the active generation: run `sidecar policy apply`"
WAITING: Final = "no generation yet: the store has none, and the policy files cannot be used"

_log = logger("policy")


def _no_objection(_terms: GenerationTerms, _files: Mapping[str, bytes]) -> str:
    return ""


class StorePolicy(PolicyHolder):
    """Active generation from the store. ``clock``: Unix seconds. ``monotonic``: the clock of the leases.

    ``location``: the local files, which only seed an empty store. ``objection``: reason not to take files, or ''.
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
        objection: Callable[[GenerationTerms, Mapping[str, bytes]], str] = _no_objection,
    ) -> None:
        super().__init__(location, clock)
        self._generations = generations
        self._pepper = pepper
        self._state_dir = state_dir
        self._monotonic = monotonic
        self._objection = objection
        self._answers = CandidateAnswers(generations, pepper, gates=self._refusals, objection=objection)
        self._lease = Lease()
        self._sidecar = ""
        self._verified = False
        self._wanted: ActiveRecord | None = None
        self._era = 0
        self._changed = asyncio.Event()
        self._candidate_read = asyncio.Event()
        self._candidate: Candidate | None = None
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
    def is_served(self) -> bool:
        """Return whether the generation here decides: the lease lasts, and no newer one is known."""
        return self._verified and self._monotonic() < self._lease.until

    @property
    def floor(self) -> int:
        """Return the counter below which no record is taken."""
        known = self.record or self._kept
        return known.terms.counter if known else 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the warnings for ``/status``."""
        return tuple(filter(None, (self.problem, self.ignored)))

    def attach(self, sidecar: str, lease: Lease) -> None:
        """Set the id of this sidecar in the fleet, and the lease of partition 0."""
        self._sidecar, self._lease = sidecar, lease

    async def start(self) -> None:
        """Take the kept generation, if there is one. It is served once the store confirms it."""
        self._kept, files = await load_kept(self._state_dir, self._pepper)
        if self._kept is None or files is None or self._objection(self._kept.terms, files):
            return
        compiled = await asyncio.to_thread(compile_policy, files, proof=ProofScope.START)
        if compiled.generation is not None:
            self.record = self._kept
            self._activate(compiled.generation, compiled.diagnostics)

    async def reload(self) -> None:
        """Compare with the store and with the local files now (SIGHUP)."""
        self._compared = ""
        self._changed.set()

    async def watch(self) -> None:
        """Follow the store until cancelled."""
        await repeat(self._look, self._changed, lambda: self._verified or bool(self.problem))

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
        elif self.record is not None and not self.record.precedes(record):
            self._report(self._behind(record))
        elif self._holds(record):
            self.record, self._wanted, self._verified = record, None, True
        elif (prepared := self._answers.prepared) and prepared.digest == record.terms.digest:
            self._switch(record, prepared)
        else:
            self._wanted, self._verified = record, False

    def on_heartbeat(self, partition: int, at: float) -> None:
        """No-op: the lease of partition 0 counts heartbeats."""

    def flush(self, tail: FeedReset) -> None:
        """Serve nothing until the store's record is read again: switches may have been missed."""
        if tail.partition == 0:
            self._era += 1
            self._verified = False
            self._changed.set()

    async def acknowledge(self, partition: int, n: int) -> None:
        """No-op: the fleet acknowledges, after every follower has applied the change."""

    async def look(self) -> PolicyState:
        """Return the state of the store. Raises StoreUnavailableError."""
        return await self._generations.look()

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
        await self._answers.answer(self._candidate, self._sidecar, floor=self.floor, like=self.generation)

    async def _follow(self, found: PolicyState, era: int) -> None:
        if not found.found and not found.applied and self._wanted is None:
            await self._seed()
            return
        newest, problem = self._newest(found)
        if newest is None:
            self._report(problem)
        elif self._holds(newest):
            problem = problem or await self._problem_of_files(newest)
            if era == self._era:
                self._confirm(newest, problem)
        else:
            await self._load(newest, era)

    def _newest(self, found: PolicyState) -> tuple[ActiveRecord | None, str]:
        """Return the newest authentic record known here, and what is wrong with that of the store."""
        newest = self.record if self._wanted is None else self._wanted
        active = found.active
        if active is None or not active.is_authentic(self._pepper):
            return newest, NO_CODE if found.found else LOST
        floor = newest or self._kept
        if floor is None or floor.precedes(active):
            return active, ""
        return newest, self._behind(active)

    def _behind(self, other: ActiveRecord) -> str:
        kept = self._wanted or self.record or self._kept
        its, mine = other.terms, kept.terms if kept else other.terms
        return (
            f"the store went back: its active generation {its.id} has counter {its.counter}, the one kept here "
            f"({mine.id}) {mine.counter}: run `sidecar policy apply`"
        )

    async def _problem_of_files(self, record: ActiveRecord) -> str:
        if self._monotonic() >= self._files_at + FILES_SECONDS:
            self._files_at, self._files_problem = self._monotonic(), ""
            try:
                await self._generations.files(record.terms)
            except GenerationFilesError as problem:
                self._files_problem = f"{problem}: run `sidecar policy apply`"
        return self._files_problem

    async def _load(self, record: ActiveRecord, era: int) -> None:
        """Compile a generation that other sidecars serve. Until then nothing is served: this one is older."""
        self._verified = False
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
            found = await asyncio.to_thread(local_generation, self.location, self._sidecar)
            if isinstance(found, tuple):
                self._report(f"{WAITING}: {found[0]}" if found else WAITING)
                return
            terms, generation = found.terms, found.generation
            if objection := self._objection(terms, generation.files):
                self._report(f"{WAITING}: {objection}")
                return
            self._answers.prepared = Prepared(terms.digest, generation, found.diagnostics)
        await self._generations.seed(terms, pack(generation.files), generation, sidecar=self._sidecar)
        self._changed.set()

    def _holds(self, record: ActiveRecord) -> bool:
        """Return whether the generation here has the files of the record."""
        return (
            self.record is not None and self.generation is not None and self.record.terms.digest == record.terms.digest
        )

    def _confirm(self, record: ActiveRecord, problem: str) -> None:
        self.record, self._wanted, self._verified = record, None, True
        if problem:
            self._report(problem)
        elif self.problem or self.state is not ActivationState.CURRENT:
            self.problem = ""
            self.state = ActivationState.CURRENT
            self._notify()

    def _switch(self, record: ActiveRecord, prepared: Prepared) -> None:
        """Make a compiled generation the active one: one assignment between two checks."""
        self.record, self._wanted, self._verified, self.problem = record, None, True, ""
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
