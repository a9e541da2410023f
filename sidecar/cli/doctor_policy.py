"""Checks of ``sidecar doctor`` on a policy in the store."""

from collections.abc import Iterator

from sidecar.config.parsers import PolicySource
from sidecar.config.settings import Settings
from sidecar.pdp.policy_seed import same_as_local
from sidecar.pdp.policy_signatures import SignatureCheck, read_signature
from sidecar.policy.transfer.signature import SignatureError
from sidecar.server.admin_context import AdminContext
from sidecar.server.preflight import CheckFinding, CheckStatus
from sidecar.sources.policy_files import read_policy_files
from sidecar.sources.policy_keys import PolicyKeysError
from sidecar.sources.policy_location import PolicyLocation
from sidecar.store.policy_generations import GenerationFilesError, PolicyGenerations


def policy_keys(settings: Settings) -> Iterator[CheckFinding]:
    """Yield the findings about SIDECAR_POLICY_KEYS and the signature of the local files."""
    if settings.policy_keys is None:
        return
    try:
        check = SignatureCheck(settings.policy_keys)
    except PolicyKeysError as problem:
        yield CheckFinding("policy keys", CheckStatus.FAULT, str(problem))
        return
    if check.keys is not None and not check.keys.min_counter:
        yield CheckFinding(
            "policy keys",
            CheckStatus.WARNING,
            f"{settings.policy_keys}: has no line `min-counter: NUMBER`: a sidecar without kept state takes any older "
            "signed policy: write the counter of the policy in force there",
        )
    files = read_policy_files(settings.policy_dir, settings.model).files
    try:
        counter = check.manifest(read_signature(settings.policy_dir), files).counter
    except SignatureError as problem:
        local = settings.policy_source is PolicySource.FILES  # those of the store are signed by themselves
        yield CheckFinding("policy keys", CheckStatus.FAULT if local else CheckStatus.WARNING, str(problem))
        return
    yield CheckFinding("policy keys", CheckStatus.OK, f"{settings.policy_dir} is signed with counter {counter}")


async def stored_policy(operator: AdminContext) -> list[CheckFinding]:
    """Return the findings about the active generation of the store, and about local files that differ from it."""
    settings, generations = operator.settings, PolicyGenerations(operator.store, operator.pepper)
    found = await generations.look()
    active = found.active
    if not found.found and not found.applied:
        return [_of(CheckStatus.OK, f"the first sidecar seeds the store from {settings.policy_dir}")]
    if active is None or not active.is_authentic(operator.pepper):
        problem = "the store's record of the active generation is missing or has no valid code"
        return [_of(CheckStatus.FAULT, f"{problem}: run `sidecar policy apply`")]
    try:
        objection = _signatures(settings).objection(active.terms, await generations.files(active.terms))
    except GenerationFilesError as problem:
        objection = str(problem)
    if objection:
        return [_of(CheckStatus.FAULT, f"{objection}: run `sidecar policy apply`")]
    text = f"generation {active.terms.id} of the store, from revision {active.revision} on"
    ignored = same_as_local(PolicyLocation(settings.policy_dir, settings.model), active.terms.id)
    return [_of(CheckStatus.OK, text), *([_of(CheckStatus.WARNING, ignored)] if ignored else [])]


def _signatures(settings: Settings) -> SignatureCheck:
    try:
        return SignatureCheck(settings.policy_keys)
    except PolicyKeysError:  # `policy_keys` reports it
        return SignatureCheck(None)


def _of(status: CheckStatus, detail: str) -> CheckFinding:
    return CheckFinding("policy", status, detail)
