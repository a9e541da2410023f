"""The policy in force: compile aside, judge, swap one reference, keep the last good one (house rule 7).

Whoever reads ``generation`` reads it once and answers all of a question from it. A file that does not compile, or that
a gate refuses, changes nothing but ``state`` and ``diagnostics``.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.generation import Generation
from sidecar.sources import last_good
from sidecar.sources.policy_files import PolicyFiles, Stamp, read_policy_files, stamp_of
from sidecar.store.connection import StoreUnavailable

POLL_SECONDS = 0.25
"""Two equal reads come before a compile, so an edit is judged within a second of its last byte."""

UNSETTLED_SECONDS = 1.0
"""A file this young may change again within one tick of the file system's clock: its stamp proves nothing."""


class State(StrEnum):
    """Do the files on disk say what is in force?"""

    CURRENT = "current"
    REJECTED = "rejected"


Gate = Callable[[Generation], Awaitable[tuple[Diagnostic, ...]]]
"""What only the running sidecar can hold against a generation, such as a role that somebody has. Empty: nothing.

Raises StoreUnavailable when it cannot tell; then nothing is activated, and the files are judged again later.
"""


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
        self._judged: str | None = None
        self.generation: Generation | None = None
        self.state = State.REJECTED
        self.diagnostics: tuple[Diagnostic, ...] = ()
        self.loaded_at = 0.0

    def add_gate(self, gate: Gate) -> None:
        """Asked before every swap from now on."""
        self._gates.append(gate)

    def on_change(self, listener: "Callable[[Activation], None]") -> None:
        """Called after each judgement, good or bad."""
        self._listeners.append(listener)

    async def start(self, *, force: bool = False) -> Start:
        """The first generation: of the files, else the kept last good one (``state`` is then REJECTED), else none.

        ``force`` takes files that compile but fail their own tests or the invariants; only ever here, never later.
        """
        files = await self._read()
        self._judged = files.fingerprint
        compiled = await asyncio.to_thread(_compile, files)
        generation = compiled.generation
        forced = force and generation is None and compiled.draft is not None
        if forced:
            generation = compiled.draft
        if generation is not None:
            self._take(generation, compiled.diagnostics)
            return Start(generation, compiled.diagnostics, forced)
        self._reject(compiled.diagnostics)
        self.generation = await self._last_good()
        self.loaded_at = self._clock() if self.generation else 0.0
        self._tell()
        return Start(self.generation, compiled.diagnostics)

    async def reload(self) -> None:
        """Read and judge the files now (SIGHUP). In force or rejected when it returns."""
        await self._judge(await self._read())

    async def rejudge(self) -> tuple[Diagnostic, ...]:
        """Ask the gates about the generation in force: at the start it was taken before the store could be asked."""
        return () if self.generation is None else await self._refusals(self.generation)

    async def fall_back(self, refusals: tuple[Diagnostic, ...]) -> bool:
        """What is in force may not stay: take the last good one, if it is another and passes. False: there is none."""
        self._reject(refusals)
        kept = await self._last_good()
        refused = kept is None or kept.id == _id(self.generation) or bool(await self._refusals(kept))
        if not refused:
            self.generation = kept
            self.loaded_at = self._clock()
        self._tell()
        return not refused

    async def watch(self) -> None:
        """Follow the files until cancelled: polls, because editors rename, ConfigMaps swap links, NFS tells nobody."""
        seen: str | None = None
        stamp: Stamp | None = None
        while True:
            await asyncio.sleep(POLL_SECONDS)
            now = await asyncio.to_thread(stamp_of, self._policy_dir, self._model)
            if now == stamp and seen == self._judged and _is_settled(now):
                continue
            files = await self._read()
            settled = files.fingerprint == seen
            seen, stamp = files.fingerprint, files.stamp
            if settled and files.fingerprint != self._judged:
                await self._judge(files)

    async def _read(self) -> PolicyFiles:
        return await asyncio.to_thread(read_policy_files, self._policy_dir, self._model)

    async def _judge(self, files: PolicyFiles) -> None:
        async with self._judging:
            compiled = await asyncio.to_thread(_compile, files)
            generation, diagnostics = compiled.generation, compiled.diagnostics
            if generation is not None:
                try:
                    refusals = await self._refusals(generation)
                except StoreUnavailable:
                    return  # not judged: the watch comes back to these files
                if refusals:
                    generation, diagnostics = None, tuple(sorted((*diagnostics, *refusals)))
                elif (await self._read()).fingerprint != files.fingerprint:
                    return  # written again meanwhile (R25): what was compiled is not what lies there
            self._judged = files.fingerprint
            if generation is None:
                self._reject(diagnostics)
                self._tell()
            else:
                self._take(generation, diagnostics)
                await asyncio.to_thread(self._keep, generation.files)

    async def _refusals(self, generation: Generation) -> tuple[Diagnostic, ...]:
        found: tuple[Diagnostic, ...] = ()
        for gate in self._gates:
            found += await gate(generation)
        return found

    def _take(self, generation: Generation, diagnostics: tuple[Diagnostic, ...]) -> None:
        self.generation = generation
        self.state = State.CURRENT
        self.diagnostics = diagnostics
        self.loaded_at = self._clock()
        self._tell()

    def _reject(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        self.state = State.REJECTED
        self.diagnostics = diagnostics

    def _tell(self) -> None:
        for listener in self._listeners:
            listener(self)

    def keep(self) -> None:
        """What is in force passed every gate: the next start may fall back on it."""
        if self.generation is not None and self.state is State.CURRENT:
            self._keep(self.generation.files)

    def _keep(self, files: Mapping[str, bytes]) -> None:
        if self._state_dir is not None:
            last_good.keep(self._state_dir, files)

    async def _last_good(self) -> Generation | None:
        if self._state_dir is None:
            return None
        files = await asyncio.to_thread(last_good.kept, self._state_dir)
        if files is None:
            return None
        compiled = await asyncio.to_thread(compile_policy, files, proof=ProofScope.START)
        return compiled.generation


def _compile(files: PolicyFiles) -> Compiled:
    return compile_policy(files.files, problems=files.diagnostics, proof=ProofScope.START)


def _id(generation: Generation | None) -> str | None:
    return None if generation is None else generation.id


def _is_settled(stamp: Stamp) -> bool:
    youngest = max((changed for _, _, _, changed, _ in stamp), default=0)
    return time.time() - youngest / 1e9 > UNSETTLED_SECONDS
