"""Answers of this sidecar to candidates: compile, test, prove and run the gates, then mark ready or the reason.

A ready candidate stays compiled here until another one arrives: its switch may follow, and is then one assignment.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from sidecar.pdp.compile import process
from sidecar.pdp.compile.process import CompileResult
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.generation import Generation
from sidecar.sources.policy_files import PolicyFiles
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.generation_records import GenerationTerms, MarkState, PolicyCandidate
from sidecar.store.policy_generations import GenerationFilesError, PolicyGenerations
from sidecar.telemetry.app_log import logger
from sidecar.telemetry.tracing import child, current
from sidecar.tokens.opaque import Pepper

MAX_REASON = 500
"""Characters of a reason that an operator reads."""

_log = logger("policy")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Compiled generation of the files with this digest."""

    digest: str
    generation: Generation
    diagnostics: tuple[Diagnostic, ...]


class RejectedGenerationError(Exception):
    """Raised for a generation that is not accepted here. One sentence."""


class CandidateAnswers:
    """Compiler of generations from the store. ``gates``: run before ready. ``objection``: reason to reject files, or
    ''."""

    def __init__(
        self,
        generations: PolicyGenerations,
        pepper: Pepper,
        *,
        gates: Callable[[Generation], Awaitable[tuple[Diagnostic, ...]]],
        objection: Callable[[GenerationTerms, Mapping[str, bytes]], str],
    ) -> None:
        self._generations = generations
        self._pepper = pepper
        self._gates = gates
        self._objection = objection
        self._answered = ""
        self.prepared: Prepared | None = None
        """Generation that a switch can activate without waiting."""

    async def answer(
        self, candidate: PolicyCandidate | None, sidecar: str, *, floor: int, like: Generation | None
    ) -> None:
        """Answer a new candidate. ``floor``: counter of the active generation. Raises StoreUnavailableError."""
        if candidate is None or candidate.attempt == self._answered:
            return
        state, reason = MarkState.READY, ""
        try:
            await self._accept(candidate, floor, like)
        except (RejectedGenerationError, GenerationFilesError) as problem:
            state, reason = MarkState.REJECTED, str(problem)[:MAX_REASON]
            _log.warning("policy candidate rejected", generation=candidate.terms.id, reason=reason)
        span = current()
        if span is not None:
            span.set("sidecar.policy.mark", state.value)
        with child("policy vote"):
            await self._generations.mark(candidate, sidecar, state, reason)
        self._answered = candidate.attempt

    async def _accept(self, candidate: PolicyCandidate, floor: int, like: Generation | None) -> None:
        terms = candidate.terms
        if not candidate.is_authentic(self._pepper):
            raise RejectedGenerationError("the candidate was not stored with this pepper")
        if terms.counter <= floor:
            raise RejectedGenerationError(f"its counter {terms.counter} is not above {floor}, that of the active one")
        prepared = await self.prepare(terms, like)
        refusals = await self._gates(prepared.generation)
        if refusals:
            raise RejectedGenerationError(_first_of(refusals))
        self.prepared = prepared

    def prepared_for(self, terms: GenerationTerms) -> Prepared | None:
        """Return the compiled generation of these terms, if it is ready here."""
        found = self.prepared
        if found is None or found.digest != terms.digest or self._objection(terms, found.generation.files):
            return None
        return found

    async def prepare(self, terms: GenerationTerms, like: Generation | None) -> Prepared:
        """Read and compile a generation of the store.

        Raises StoreUnavailableError, GenerationFilesError and RejectedGenerationError.
        """
        known = self.prepared if self.prepared and self.prepared.digest == terms.digest else None
        files = known.generation.files if known else await self._generations.files(terms)
        if objection := self._objection(terms, files):
            raise RejectedGenerationError(objection)
        if known is not None:
            return known
        with child("policy compile"):
            result = await _compile(terms, files, like)
        if result.generation is None:
            raise RejectedGenerationError(_first_of(result.diagnostics))
        return Prepared(terms.digest, result.generation, result.diagnostics)


async def _compile(terms: GenerationTerms, files: Mapping[str, bytes], like: Generation | None) -> CompileResult:
    read = PolicyFiles(files, (), fingerprint=terms.id, stamp=(), settled=frozenset())
    try:
        return await process.compile_files(read, like)
    except StoreUnavailableError:
        raise
    except Exception as fault:  # a bug must not end the active policy
        _log.exception("policy of the store could not be compiled")
        raise RejectedGenerationError(f"it could not be compiled ({type(fault).__name__}): see the log") from None


def _first_of(diagnostics: tuple[Diagnostic, ...]) -> str:
    first, *more = (found for found in diagnostics if found.is_error)
    return f"{first} (and {len(more)} more)" if more else str(first)
