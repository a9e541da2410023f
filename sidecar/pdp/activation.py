"""Policy activation: compile off the loop, run the gates, swap one reference, save the last good policy (house rule 7).

Callers read ``generation`` once per check. Files that do not compile, or that a gate rejects, change only ``state`` and
``diagnostics``. The active generation has passed every gate, with two exceptions: a start with ``force``, and the first
moments of a start. Gates read the store, which may still be unreachable then.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.pdp.compile import process
from sidecar.pdp.compile.process import CompileResult
from sidecar.pdp.last_good import ReadStored, keep_last_good, kept_last_good, stored_last_good
from sidecar.pdp.policy_holder import ActivationState, PolicyHolder
from sidecar.pdp.policy_signatures import FileSignature, SignatureCheck
from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode
from sidecar.policy.generation import Generation
from sidecar.sources.policy_files import PolicyFiles, read_policy_files, stamp_of
from sidecar.sources.policy_location import PolicyLocation
from sidecar.store.connection import StoreUnavailableError
from sidecar.telemetry.app_log import logger

POLL_SECONDS = 0.25
SETTLE_SECONDS = 0.1
"""Interval of the two equal reads before a compile. An edit is compiled half a second after its last byte."""

WHOLE_SECONDS = 30.0
"""Interval of full reads, which ignore the files' times."""

RECHECK_SECONDS = 30.0
"""Interval in which the gates look again at files that they rejected: the removed role may have no holder any more."""

AGAIN_SECONDS = 5.0
"""Delay after a poll that failed because of a bug."""

_log = logger("policy")


@dataclass(frozen=True, slots=True)
class PolicyStart:
    """Result of a start."""

    generation: Generation | None
    diagnostics: tuple[Diagnostic, ...]


class Activation(PolicyHolder):
    """Active generation from the policy files. ``state_dir`` stores the last good files. ``signatures``: keys that may
    sign them; None requires no signature."""

    def __init__(
        self,
        policy_dir: Path,
        model: Path,
        *,
        state_dir: Path | None,
        clock: Callable[[], float],
        signatures: SignatureCheck | None = None,
    ) -> None:
        super().__init__(PolicyLocation(policy_dir, model), clock)
        self.signature = FileSignature(signatures or SignatureCheck(None), policy_dir, state_dir)
        self._state_dir = state_dir
        self._compile_lock = asyncio.Lock()
        self._seen: PolicyFiles | None = None
        self._whole_read_at = 0.0
        self._processed: str | None = None
        self._compiled: tuple[str, CompileResult] | None = None
        self._waits = False
        self._recheck_at: float | None = None
        self._confirmed = False
        self.stored: ReadStored | None = None
        """Reader of the store's copy, for a start without a kept one."""
        self._taken = False

    # -- the start -----------------------------------------------------------------------------------------------------

    async def start(self, *, force: bool = False) -> PolicyStart:
        """Activate the first generation: of the files, else the last good one (``state`` is then REJECTED), else none.

        ``force`` accepts files that compile but fail their own tests or the invariants. Later edits cannot be forced.
        """
        files = await self._read()
        self._processed = files.fingerprint
        compiled = await asyncio.to_thread(_compile, files)
        generation = compiled.generation
        unsigned = any(found.code is DiagnosticCode.SIGNATURE for found in files.diagnostics)  # never forced (R43)
        self.forced = force and generation is None and compiled.draft is not None and not unsigned
        if self.forced:
            generation = compiled.draft
        if generation is not None:
            self._activate(generation, compiled.diagnostics)
            return PolicyStart(generation, compiled.diagnostics)
        self._reject(compiled.diagnostics)
        self.generation = await self._last_good()
        self.loaded_at = self._clock() if self.generation else 0.0
        self._notify()
        return PolicyStart(self.generation, compiled.diagnostics)

    async def start_from_store(self) -> bool:
        """Activate the store's last good generation after a start without any. Returns False if there is none.

        ``state`` stays REJECTED. Raises StoreUnavailableError.
        """
        if self.generation is None and self.stored is not None:
            self.generation = await stored_last_good(self.stored)
            self.loaded_at = self._clock()
            self._taken = True
        return self.generation is not None

    async def confirm(self, *, force: bool = False) -> bool:
        """Run the gates on the first generation, once the store is reachable. Edits are compiled from then on.

        A rejected generation is replaced by the last good one. Returns False if no generation passes the gates.
        ``force`` turns rejections into diagnostics.
        """
        assert self.generation is not None  # noqa: S101 - a start without a generation is over
        refusals = await self._refusals(self.generation)
        if refusals and force:
            self.forced = True
            self.diagnostics = tuple(sorted((*self.diagnostics, *refusals)))
        elif refusals and not await self._fall_back(refusals):
            return False
        if not self.forced and (self.state is ActivationState.CURRENT or self._taken):
            await self._keep(self.generation.files)  # a copy of the store as well: its counter was in force here (R44)
        self._confirmed = True
        return True

    async def _fall_back(self, refusals: tuple[Diagnostic, ...]) -> bool:
        kept = await self._last_good()
        self._taken = kept is None and self.stored is not None
        if kept is None and self.stored is not None:
            kept = await stored_last_good(self.stored)
        self._reject(tuple(sorted((*self.diagnostics, *refusals))))
        self._recheck_at = asyncio.get_running_loop().time() + RECHECK_SECONDS
        refused = kept is None or kept.id == _id(self.generation) or bool(await self._refusals(kept))
        if not refused:
            self.generation = kept
            self.loaded_at = self._clock()
        self._notify()
        return not refused

    # -- edits ---------------------------------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Read and compile the files now (SIGHUP). They are active or rejected on return, unless a gate waits for the
        store. A no-op before ``confirm`` has succeeded."""
        self.signature.reload()
        if self._confirmed:
            await self._compile(await self._read(whole=True))

    async def watch(self) -> None:
        """Poll the files until cancelled. Editors rename, ConfigMaps swap links and NFS sends no events."""
        seen: str | None = None
        pause = POLL_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                seen, pause = await self._poll(seen)
            except Exception:  # a bug must not end the last good policy
                _log.exception("policy files could not be read")
                pause = AGAIN_SECONDS

    async def _poll(self, seen: str | None) -> tuple[str | None, float]:
        """Poll once. ``seen``: previous fingerprint. Returns the current one and the seconds until the next poll."""
        stamp = await asyncio.to_thread(stamp_of, self.location.policy_dir, self.location.model)
        now = asyncio.get_running_loop().time()
        whole = now > self._whole_read_at + WHOLE_SECONDS
        again = self._recheck_at is not None and now > self._recheck_at
        known = self._seen is not None and self._seen.still_holds(stamp) and self.signature.is_unchanged()
        if seen == self._processed and known and not (whole or again):
            return seen, POLL_SECONDS
        files = await self._read(whole=whole)
        settled = files.fingerprint == seen
        if settled and (seen != self._processed or again):
            await self._compile(files, again=seen == self._processed)
        return files.fingerprint, POLL_SECONDS if settled else SETTLE_SECONDS

    async def _read(self, *, whole: bool = False) -> PolicyFiles:
        if whole or self._seen is None:
            self._whole_read_at = asyncio.get_running_loop().time()
        self._seen = await asyncio.to_thread(
            read_policy_files, self.location.policy_dir, self.location.model, self._seen, whole=whole
        )
        return await asyncio.to_thread(self.signature.checked, self._seen)

    async def _compile(self, files: PolicyFiles, *, again: bool = False) -> None:
        """Activate or reject ``files``. If the store is unavailable, ``watch`` retries them.

        ``again``: another look of the gates. The same rejection is not reported again.
        """
        async with self._compile_lock:
            try:
                result = await self._verdict(files)
            except StoreUnavailableError as problem:
                self._wait(problem)
                return
            self._waits = False
            if self._recheck_at is None:  # otherwise the gates alone look again
                self._compiled = None
            if (await self._read()).fingerprint != files.fingerprint:
                return  # the files changed during the compile (R25)
            self._processed = files.fingerprint
            if result.generation is None:
                same = again and self.diagnostics == result.diagnostics
                self._reject(result.diagnostics)
                if not same:
                    self._notify()
            else:
                await self._swap(result.generation, result.diagnostics)

    async def _verdict(self, files: PolicyFiles) -> CompileResult:
        """Compile ``files`` and run the gates. Raises StoreUnavailableError. A retry reuses the compile result."""
        self._recheck_at = None
        try:
            if self._compiled is None or self._compiled[0] != files.fingerprint:
                self._compiled = files.fingerprint, await process.compile_files(files, self.generation)
            result = self._compiled[1]
            refusals = await self._gate_refusals(result.generation)
        except StoreUnavailableError:
            raise
        except Exception as fault:  # a bug must not end the last good policy
            _log.exception("policy edit could not be compiled")
            message = f"the policy could not be compiled ({type(fault).__name__}); see the sidecar's log"
            return CompileResult(None, (process.not_compiled(message),))
        return CompileResult(None, tuple(sorted((*result.diagnostics, *refusals)))) if refusals else result

    async def _gate_refusals(self, generation: Generation | None) -> tuple[Diagnostic, ...]:
        """Run the gates on a compiled edit, and set the time of the next look if they reject it."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        refusals = () if generation is None else await self._refusals(generation)
        # A look may read every user: at most a tenth of the time.
        self._recheck_at = clock() + max(RECHECK_SECONDS, 10 * (clock() - begun)) if refusals else None
        return refusals

    def _wait(self, problem: StoreUnavailableError) -> None:
        """Make ``watch`` retry the files, also those of a SIGHUP, because a gate could not read the store."""
        if not self._waits:
            _log.warning("policy edit waits for the store", error=str(problem))
        self._processed, self._waits = None, True

    async def _swap(self, generation: Generation, diagnostics: tuple[Diagnostic, ...]) -> None:
        self._activate(generation, diagnostics)
        self.forced = False
        await self._keep(generation.files)

    # -- the last good policy ------------------------------------------------------------------------------------------

    async def _keep(self, files: Mapping[str, bytes]) -> None:
        if self._state_dir is not None:
            await keep_last_good(self._state_dir, files, self.signature)

    async def _last_good(self) -> Generation | None:
        return None if self._state_dir is None else await kept_last_good(self._state_dir, self.signature)


def _compile(files: PolicyFiles) -> Compiled:
    return compile_policy(files.files, problems=files.diagnostics, proof=ProofScope.START)


def _id(generation: Generation | None) -> str | None:
    return None if generation is None else generation.id
