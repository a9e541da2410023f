"""Checks of ``sidecar doctor`` on a policy in the store."""

from sidecar.pdp.policy_seed import same_as_local
from sidecar.server.admin_context import AdminContext
from sidecar.server.preflight import CheckFinding, CheckStatus
from sidecar.sources.policy_location import PolicyLocation
from sidecar.store.policy_generations import GenerationFilesError, PolicyGenerations


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
        await generations.files(active.terms)
    except GenerationFilesError as problem:
        return [_of(CheckStatus.FAULT, f"{problem}: run `sidecar policy apply`")]
    text = f"generation {active.terms.id} of the store, from revision {active.revision} on"
    ignored = same_as_local(PolicyLocation(settings.policy_dir, settings.model), active.terms.id)
    return [_of(CheckStatus.OK, text), *([_of(CheckStatus.WARNING, ignored)] if ignored else [])]


def _of(status: CheckStatus, detail: str) -> CheckFinding:
    return CheckFinding("policy", status, detail)
