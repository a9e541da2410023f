"""Generations in the store, as verbs name them: by id, or by at least its first 8 digits."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from sidecar.cli.output import answer_no
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.server.admin_context import AdminContext
from sidecar.store.generation_records import ActiveRecord, GenerationTerms
from sidecar.store.policy_generations import GenerationFilesError, PolicyGenerations


def is_generation(name: str) -> bool:
    """Return whether the name is written as a generation's id."""
    return re.fullmatch("[0-9a-f]{8,32}", name) is not None


async def history_of(operator: AdminContext) -> list[ActiveRecord]:
    """Return the applications so far, newest first."""
    return await PolicyGenerations(operator.store, operator.pepper).history()


async def stored_files(operator: AdminContext, name: str) -> tuple[ActiveRecord, dict[str, bytes]]:
    """Return a generation that was active, and its files. Raises CliError."""
    found = [one for one in await history_of(operator) if one.terms.id.startswith(name)]
    if len({one.terms.id for one in found}) != 1:
        many = "several generations begin with" if found else "no generation in the store begins with"
        raise answer_no(f"{many} {name}: sidecar policy history names them")
    try:
        files = await PolicyGenerations(operator.store, operator.pepper).files(found[0].terms)
    except GenerationFilesError as problem:
        raise answer_no(str(problem)) from None
    return found[0], files


async def stored_candidate(operator: AdminContext, name: str) -> tuple[GenerationTerms, dict[str, bytes]] | None:
    """Return the candidate with this name, such as that of a shadow, and its files; None if it is another one."""
    generations = PolicyGenerations(operator.store, operator.pepper)
    candidate = (await generations.look()).candidate
    if candidate is None or not candidate.is_authentic(operator.pepper) or not candidate.terms.id.startswith(name):
        return None
    try:
        return candidate.terms, await generations.files(candidate.terms)
    except GenerationFilesError as problem:
        raise answer_no(str(problem)) from None


def compiled_here(terms: GenerationTerms, files: Mapping[str, bytes]) -> Generation:
    """Return a generation of the store, compiled by this version. Raises CliError."""
    compiled = compile_policy(files, proof=ProofScope.START)
    if compiled.generation is None:
        first = next(found for found in compiled.diagnostics if found.is_error)
        raise answer_no(f"generation {terms.id} does not compile with this version: {first}")
    return compiled.generation


def time_of(record: ActiveRecord) -> str:
    """Return the time of an application, in UTC."""
    return datetime.fromtimestamp(record.at / 1000, UTC).isoformat(timespec="seconds")
