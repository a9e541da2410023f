"""The policy in force: compile aside, judge, swap one reference, keep the last good one (house rule 7).

Whoever reads ``generation`` reads it once and answers all of a question from it. A file that does not compile, or that
the gate refuses, changes nothing but ``state`` and ``diagnostics``.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sidecar.policy.compiler import Compiled, compile_policy
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.generation import Generation
from sidecar.sources.policy_files import PolicyFiles, read_policy_files

POLL_SECONDS = 0.4
"""Two equal reads come before a compile, so an edit is judged about a second after it was saved."""


class State(StrEnum):
    """Do the files on disk say what is in force?"""

    CURRENT = "current"
    REJECTED = "rejected"


Gate = Callable[[Generation], Awaitable[tuple[Diagnostic, ...]]]
"""What only the running sidecar can know against a generation (held roles, the last administrators). Empty: none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one reading of the files. ``generation`` is None when they were refused."""

    generation: Generation | None
    diagnostics: tuple[Diagnostic, ...]


class Activation:
    """Holds the generation in force. ``clock`` gives Unix seconds."""

    def __init__(self, policy_dir: Path, model: Path, *, clock: Callable[[], float]) -> None:
        self._policy_dir = policy_dir
        self._model = model
        self._clock = clock
        self._gates: list[Gate] = []
        self._on_change: list[Callable[[Activation], None]] = []
        self._judged: object = None
        self.generation: Generation | None = None
        self.state = State.REJECTED
        self.diagnostics: tuple[Diagnostic, ...] = ()
        self.loaded_at = 0.0

    def add_gate(self, gate: Gate) -> None:
        """Asked before every swap from now on."""
        self._gates.append(gate)

    def on_change(self, listener: Callable[["Activation"], None]) -> None:
        """Called after each judgement, good or bad: metrics and log."""
        self._on_change.append(listener)

    async def reload(self) -> Outcome:
        """Read and judge the files now. In force or rejected when it returns."""
        files = await asyncio.to_thread(read_policy_files, self._policy_dir, self._model)
        return await self._judge(files)

    async def watch(self) -> None:
        """Follow the files until cancelled: polls, because editors rename, ConfigMaps swap links, NFS tells nobody."""
        seen: object = None
        while True:
            await asyncio.sleep(POLL_SECONDS)
            files = await asyncio.to_thread(read_policy_files, self._policy_dir, self._model)
            settled = files.fingerprint == seen
            seen = files.fingerprint
            if settled and files.fingerprint != self._judged:
                await self._judge(files)

    async def _judge(self, files: PolicyFiles) -> Outcome:
        self._judged = files.fingerprint
        compiled = await asyncio.to_thread(_compile, files)
        outcome = await self._gated(compiled)
        if outcome.generation is None:
            self.state = State.REJECTED
        else:
            self.generation = outcome.generation
            self.state = State.CURRENT
            self.loaded_at = self._clock()
        self.diagnostics = outcome.diagnostics
        for listener in self._on_change:
            listener(self)
        return outcome

    async def _gated(self, compiled: Compiled) -> Outcome:
        generation = compiled.generation
        if generation is None:
            return Outcome(None, compiled.diagnostics)
        findings: tuple[Diagnostic, ...] = ()
        for gate in self._gates:
            findings += await gate(generation)
        if findings:
            return Outcome(None, tuple(sorted((*compiled.diagnostics, *findings))))
        return Outcome(generation, compiled.diagnostics)


def _compile(files: PolicyFiles) -> Compiled:
    if files.diagnostics:
        return Compiled(None, files.diagnostics)
    return compile_policy(files.files)
