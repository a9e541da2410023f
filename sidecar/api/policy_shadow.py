"""Application of a policy in progress, and the part of its shadow that is of the reader's account (R45).

Names of sidecars, their reasons and the counts of other accounts are for operators: ``/status`` and the command line.
"""

from typing import Final

from sidecar.api.serializers import rfc3339
from sidecar.http.endpoint import Endpoint, RequirePermission
from sidecar.http.policy_schemas import Effect, PolicyShadow, ShadowedCell
from sidecar.http.request import Request, Response
from sidecar.pdp.shadow import ShadowChange

NONE: Final = PolicyShadow(None, 0, 0, None, [])


async def shadow(call: Request[None]) -> Response:
    """Return the candidate, and the decisions in the caller's account that it would change
    (``GET /v1/policy/shadow``)."""
    stored = call.app.stored_policy
    progress = await stored.candidate() if stored is not None else None
    if progress is None:
        return Response(200, NONE)
    until = progress.candidate.shadow_until
    changes = progress.of_account(call.caller.record.account).changes
    shown = PolicyShadow(
        candidate=progress.candidate.terms.id,
        ready=progress.ready,
        sidecars=len(progress.marks),
        until=rfc3339(until // 1000) if until else None,
        changes=[_shown(one) for one in changes],
    )
    return Response(200, shown)


def _shown(change: ShadowChange) -> ShadowedCell:
    role, section, action = change.cell
    before: Effect = "deny" if change.opens else "allow"
    after: Effect = "allow" if change.opens else "deny"
    return ShadowedCell(role, section, action, before, after, change.times, list(change.users))


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/v1/policy/shadow",
        RequirePermission("policy", "view"),
        shadow,
        "Policy that is being applied, and the decisions of this account that it would change",
        response_schema=PolicyShadow,
    ),
)
