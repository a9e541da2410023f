"""Generation that an operator wants to apply: of a directory, with its signature, or of the store."""

from dataclasses import dataclass
from pathlib import Path

import click

from sidecar.cli.output import answer_no, plain
from sidecar.cli.policy import policy_source
from sidecar.cli.policy.git_source import source_in
from sidecar.cli.policy.stored import compiled_here, stored_candidate, stored_files
from sidecar.config.settings import Settings
from sidecar.pdp.policy_signatures import SignatureCheck, read_signature
from sidecar.policy.compiler import ProofScope
from sidecar.policy.generation import Generation
from sidecar.policy.transfer.signature import SignatureError, manifest_of
from sidecar.server.admin_context import AdminContext
from sidecar.sources.policy_keys import PolicyKeysError


@dataclass(frozen=True, slots=True)
class WantedGeneration:
    """Generation with the text of its signature and its counter; "" and 0 without a signature."""

    generation: Generation
    signature: str = ""
    counter: int = 0


def of_directory(settings: Settings, directory: str | None) -> WantedGeneration:
    """Return the generation of a directory, or of the files that `policy check` reads. Raises CliError."""
    here = policy_source.source_of(settings)
    source = here if directory is None else source_in(Path(directory), here)
    generation = _accepted(source)
    try:
        text = read_signature(source.policy_dir)
        if settings.policy_keys is not None:
            return WantedGeneration(generation, text, _check(settings).manifest(text, generation.files).counter)
        counter = manifest_of(text, generation.files).counter if text else 0
    except (SignatureError, PolicyKeysError) as problem:
        raise answer_no(f"{problem}: nothing was changed") from None
    return WantedGeneration(generation, text, counter)


async def of_store(operator: AdminContext, name: str) -> WantedGeneration:
    """Return the candidate of a shadow, or a generation that was active. Raises CliError."""
    candidate = await stored_candidate(operator, name)
    if candidate is not None:
        terms, files = candidate
        return WantedGeneration(compiled_here(terms, files), terms.signature, terms.counter if terms.signature else 0)
    if operator.settings.policy_keys is not None:
        raise answer_no(
            f"SIDECAR_POLICY_KEYS is set, and the signature of {name} has an older counter: write its files with "
            "`sidecar policy export`, sign them again with `sidecar policy sign`, and apply that directory"
        )
    record, files = await stored_files(operator, name)
    return WantedGeneration(compiled_here(record.terms, files))


def _check(settings: Settings) -> SignatureCheck:
    return SignatureCheck(settings.policy_keys)


def _accepted(source: policy_source.Source) -> Generation:
    """Compile as a start does. Raises CliError with the findings if the sidecars would reject the files."""
    result = policy_source.compiled(source, ProofScope.START)
    if result.generation is None:
        errors = [str(found) for found in result.diagnostics if found.is_error]
        for one in errors:
            click.echo(plain(one), err=True)
        raise answer_no(f"{len(errors)} errors: nothing was changed")
    return result.generation
