"""Local policy files of a sidecar that follows the store: the seed of an empty store, and a comparison."""

from dataclasses import dataclass
from typing import Final

from sidecar.pdp.policy_signatures import SignatureCheck, read_signature
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.generation import Generation, content_hash
from sidecar.policy.transfer.packing import MAX_BYTES, digest_of, pack
from sidecar.policy.transfer.signature import SignatureError
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.sources.policy_location import PolicyLocation
from sidecar.store.generation_records import GenerationTerms

SEED_COUNTER: Final = 1
"""Counter of a seed: below that of every application, so a seed never replaces one that a sidecar remembers."""
WAITING: Final = "no generation yet: the store has none, and the policy files cannot be used"
SEED_NOTE: Final = "the policy files of the first sidecar"


@dataclass(frozen=True, slots=True)
class LocalGeneration:
    """Generation of the local files, as it would be stored."""

    terms: GenerationTerms
    generation: Generation
    diagnostics: tuple[Diagnostic, ...]


def local_generation(
    location: PolicyLocation, signatures: SignatureCheck, sidecar: str
) -> LocalGeneration | tuple[str, ...]:
    """Return the generation of the local files, or the reasons why they make none.

    With keys, only signed files seed a store (R43).
    """
    read = read_policy_files(location.policy_dir, location.model)
    compiled = compile_policy(read.files, problems=read.diagnostics, proof=ProofScope.START)
    generation = compiled.generation
    if generation is None:
        return tuple(str(location.shown(found)) for found in compiled.diagnostics if found.is_error)
    packed = pack(generation.files)
    if len(packed) > MAX_BYTES:
        return (f"the files have {len(packed):,} bytes: the store takes {MAX_BYTES:,}",)
    text, counter = "", SEED_COUNTER
    if signatures.keys is not None:
        try:
            text = read_signature(location.policy_dir)
            counter = signatures.manifest(text, generation.files).counter
        except SignatureError as problem:
            return (str(problem),)
    terms = GenerationTerms(generation.id, digest_of(packed), counter, text, by=sidecar, note=SEED_NOTE)
    return LocalGeneration(terms, generation, compiled.diagnostics)


def same_as_local(location: PolicyLocation, active: str) -> str:
    """Return a warning if the local files are not those of the active generation; empty if they are, or if none are
    here."""
    if location.policy_dir == packaged()[0]:
        return ""
    local = content_hash(read_policy_files(location.policy_dir, location.model).files)
    if local == active:
        return ""
    return (
        f"the policy files in {location.policy_dir} (generation {local}) are ignored, because SIDECAR_POLICY_SOURCE is "
        f"store: generation {active} is active; `sidecar policy apply` changes it"
    )
