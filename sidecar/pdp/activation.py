"""The policy in force: compile aside, judge, swap one reference, keep the last good one (house rule 7).

Whoever reads ``generation`` reads it once and answers all of a question from it. A file that does not compile, or that
a gate refuses, changes nothing but ``state`` and ``diagnostics``. What is in force has passed every gate, but for a
start with ``force`` and for the first moments of any start: gates ask the store, and it may not be there yet.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sidecar.pdp.activation_checks import Gate
from sidecar.pdp.compile import process
from sidecar.pdp.compile.process import Judged
from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.generation import Generation
from sidecar.sources import last_known_good
from sidecar.sources.policy_files import PolicyFiles, read_policy_files, stamp_of
from sidecar.sources.private_files import PrivateFileProblem
from sidecar.store.connection import StoreUnavailable
from sidecar.telemetry.app_log import logger

POLL_SECONDS = 0.25
SETTLE_SECONDS = 0.1
"""Between the two equal reads that come before a compile: an edit is judged half a second after its last byte."""

WHOLE_SECONDS = 30.0
"""How often every byte is read, whatever the times of the files say."""

AGAIN_SECONDS = 5.0
"""After a look at the files that failed by a mistake of ours."""

_log = logger("policy")


class State(StrEnum):
    """Do the files on disk say what is in force?"""

    CURRENT = "current"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Start:
    """How serving starts. ``forced``: the files were taken although they fail their own tests or the invariants."""

    generation: Generation | None
    diagnostics: tuple[Diagnostic, ...]
    forced: bool = False


class Activation:
    """Holds the generation in force. ``clock`` gives Unix seconds; ``state_dir`` keeps the last good files."""

    def __init__(self, policy_dir: Path, model: Path, *, state_dir: Path | None, clock: Callable[[], float]) -> None:
        self._policy_dir = policy_dir
        self._model = model
        self._state_dir = state_dir
        self._clock = clock
        self._gates: list[Gate] = []
        self._listeners: list[Callable[[Activation], None]] = []
        self._judging = asyncio.Lock()
        self._seen: PolicyFiles | None = None
        self._whole_read_at = 0.0
        self._judged: str | None = None
        self._compiled: tuple[str, Judged] | None = None
        self._waits = False
        self._confirmed = False
        self.forced = False
        self.generation: Generation | None = None
        self.state = State.REJECTED
        self.diagnostics: tuple[Diagnostic, ...] = ()
        self.loaded_at = 0.0

    def add_gate(self, gate: Gate) -> None:
        """Asked before every swap from now on, and by ``confirm``."""
        self._gates.append(gate)

    def on_change(self, listener: "Callable[[Activation], None]") -> None:
        """Called after each judgement, good or bad."""
        self._listeners.append(listener)

    # -- the start -----------------------------------------------------------------------------------------------------

    async def start(self, *, force: bool = False) -> Start:
        """The first generation: of the files, else the kept last good one (``state`` is then REJECTED), else none.

        ``force`` takes files that compile but fail their own tests or the invariants; only ever here, never later.
        """
        files = await self._read()
        self._judged = files.fingerprint
        compiled = await asyncio.to_thread(_compile, files)
        generation = compiled.generation
        self.forced = force and generation is None and compiled.draft is not None
        if self.forced:
            generation = compiled.draft
        if generation is not None:
            self._take(generation, compiled.diagnostics)
            return Start(generation, compiled.diagnostics, self.forced)
        self._reject(compiled.diagnostics)
        self.generation = await self._last_good()
        self.loaded_at = self._clock() if self.generation else 0.0
        self._tell()
        return Start(self.generation, compiled.diagnostics)

    async def confirm(self, *, force: bool = False) -> bool:
        """The gates' word on what a start has taken, now that the store can be asked. Edits are judged from here on.

        What they refuse gives way to the last good one; False: there is none that they let pass. ``force`` takes their
        refusal as said and not meant.
        """
        assert self.generation is not None  # noqa: S101 - a start without a generation is over
        refusals = await self._refusals(self.generation)
        if refusals and force:
            self.forced = True
            self.diagnostics = tuple(sorted((*self.diagnostics, *refusals)))
        elif refusals and not await self._fall_back(refusals):
            return False
        elif self.state is State.CURRENT and not self.forced:
            await self._keep(self.generation.files)
        self._confirmed = True
        return True

    async def _fall_back(self, refusals: tuple[Diagnostic, ...]) -> bool:
        self._reject(tuple(sorted((*self.diagnostics, *refusals))))
        kept = await self._last_good()
        refused = kept is None or kept.id == _id(self.generation) or bool(await self._refusals(kept))
        if not refused:
            self.generation = kept
            self.loaded_at = self._clock()
        self._tell()
        return not refused

    # -- edits ---------------------------------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Read and judge the files now (SIGHUP). In force or rejected when it returns, unless they wait for the store;
        at a start the watch does it."""
        if self._confirmed:
            await self._judge(await self._read(whole=True))

    async def watch(self) -> None:
        """Follow the files until cancelled: polls, because editors rename, ConfigMaps swap links, NFS tells nobody."""
        seen: str | None = None
        pause = POLL_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                seen, pause = await self._look(seen)
            except Exception:  # as for a judgement: nobody loses the last good policy by it
                _log.exception("the policy files could not be looked at")
                pause = AGAIN_SECONDS

    async def _look(self, seen: str | None) -> tuple[str | None, float]:
        """``seen``: the fingerprint of the look before. The fingerprint now, and how long until the next look."""
        stamp = await asyncio.to_thread(stamp_of, self._policy_dir, self._model)
        whole = asyncio.get_running_loop().time() > self._whole_read_at + WHOLE_SECONDS
        if seen == self._judged and self._seen is not None and self._seen.still_holds(stamp) and not whole:
            return seen, POLL_SECONDS
        files = await self._read(whole=whole)
        settled = files.fingerprint == seen
        if settled and seen != self._judged:
            await self._judge(files)
        return files.fingerprint, POLL_SECONDS if settled else SETTLE_SECONDS

    async def _read(self, *, whole: bool = False) -> PolicyFiles:
        if whole or self._seen is None:
            self._whole_read_at = asyncio.get_running_loop().time()
        self._seen = await asyncio.to_thread(read_policy_files, self._policy_dir, self._model, self._seen, whole=whole)
        return self._seen

    async def _judge(self, files: PolicyFiles) -> None:
        """In force or rejected; or waiting for the store: then the watch comes back to these files."""
        async with self._judging:
            try:
                judged = await self._verdict(files)
            except StoreUnavailable as problem:
                self._wait(problem)
                return
            self._compiled, self._waits = None, False
            if (await self._read()).fingerprint != files.fingerprint:
                return  # written again meanwhile (R25): what was compiled is not what lies there
            self._judged = files.fingerprint
            if judged.generation is None:
                self._reject(judged.diagnostics)
                self._tell()
            else:
                await self._swap(judged.generation, judged.diagnostics)

    async def _verdict(self, files: PolicyFiles) -> Judged:
        """With the word of the gates. Raises StoreUnavailable; what is compiled by then is not compiled again."""
        try:
            if self._compiled is None or self._compiled[0] != files.fingerprint:
                self._compiled = files.fingerprint, await process.judge(files, self.generation)
            judged = self._compiled[1]
            refusals = () if judged.generation is None else await self._refusals(judged.generation)
        except StoreUnavailable:
            raise
        except Exception as fault:  # a mistake of ours is no reason to stop answering by the last good policy
            _log.exception("an edit of the policy could not be judged")
            message = f"it could not be judged ({type(fault).__name__}); the sidecar's log has more"
            return Judged(None, (process.not_judged(message),))
        return Judged(None, tuple(sorted((*judged.diagnostics, *refusals)))) if refusals else judged

    def _wait(self, problem: StoreUnavailable) -> None:
        """A gate could not ask: the watch comes back to these files, also to those of a SIGHUP that it had judged."""
        if not self._waits:
            _log.warning("an edit of the policy waits for the store", error=str(problem))
        self._judged, self._waits = None, True

    async def _swap(self, generation: Generation, diagnostics: tuple[Diagnostic, ...]) -> None:
        self._take(generation, diagnostics)
        self.forced = False
        await self._keep(generation.files)

    async def _refusals(self, generation: Generation) -> tuple[Diagnostic, ...]:
        found: tuple[Diagnostic, ...] = ()
        for gate in self._gates:
            found += await gate(generation)
        return found

    # -- what is in force ----------------------------------------------------------------------------------------------

    def _take(self, generation: Generation, diagnostics: tuple[Diagnostic, ...]) -> None:
        if self.generation is None or generation.id != self.generation.id:
            self.generation = generation
            self.loaded_at = self._clock()
        self.state = State.CURRENT
        self.diagnostics = diagnostics
        self._tell()

    def _reject(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        self.state = State.REJECTED
        self.diagnostics = diagnostics

    def _tell(self) -> None:
        for listener in self._listeners:
            listener(self)

    async def _keep(self, files: Mapping[str, bytes]) -> None:
        """For a start with a bad file. A state directory that is full or read-only is no reason to stop serving."""
        if self._state_dir is None:
            return
        try:
            await asyncio.to_thread(last_known_good.keep, self._state_dir, files)
        except OSError as error:
            _log.error("the last good policy could not be kept", error=error.strerror)

    async def _last_good(self) -> Generation | None:
        if self._state_dir is None:
            return None
        try:
            files = await asyncio.to_thread(last_known_good.kept, self._state_dir)
        except (OSError, PrivateFileProblem) as problem:
            _log.error("the last good policy that is kept cannot be used", error=str(problem))
            return None
        if files is None:
            return None
        compiled = await asyncio.to_thread(compile_policy, files, proof=ProofScope.START)
        if compiled.generation is None:
            first = next(found for found in compiled.diagnostics if found.is_error)
            _log.error("the last good policy that is kept does not compile any more", error=str(first))
        return compiled.generation


def _compile(files: PolicyFiles) -> Compiled:
    return compile_policy(files.files, problems=files.diagnostics, proof=ProofScope.START)


def _id(generation: Generation | None) -> str | None:
    return None if generation is None else generation.id
