"""Second factors of other users over HTTP, for managers of users (R11, R37)."""

from sidecar.api.factors import refuse_stale
from sidecar.api.serializers import revocation_headers
from sidecar.api.user_credentials import is_own, refused_credential
from sidecar.domain.problems import Code, Problem
from sidecar.http.endpoint import Endpoint, RequirePermission
from sidecar.http.request import Request, Response
from sidecar.identity.factors.factor_admin import FactorAdminOutcome
from sidecar.store.live.fleet import Revocation
from sidecar.store.outcomes import Unchanged


async def reset(call: Request[None]) -> Response | Problem:
    """Remove all second factors of a user and end the user's sessions (``DELETE /v1/users/{id}/factors``)."""
    if is_own(call):
        return Problem(Code.USE_ME, "this is your own user; DELETE /v1/me/factors/{id} removes one of your factors")
    if (refused := refuse_stale(call)) is not None:
        return refused
    outcome = await call.app.people.factors.admin.reset(
        call.actor, call.policy, call.caller.record.account, call.names["id"]
    )
    return _answer(outcome)


async def confirm(call: Request[None]) -> Response | Problem:
    """Let the second factors of a user count from now on (``POST /v1/users/{id}/factors/confirm``)."""
    if is_own(call):
        return Problem(Code.USE_ME, "this is your own user; another administrator confirms your second factor")
    if (refused := refuse_stale(call)) is not None:
        return refused
    outcome = await call.app.people.factors.admin.confirm(
        call.actor, call.policy, call.caller.record.account, call.names["id"]
    )
    return _answer(outcome)


def _answer(outcome: FactorAdminOutcome) -> Response | Problem:
    match outcome:
        case Revocation():
            return Response(204, None, revocation_headers(outcome))
        case Unchanged():
            return Response(204)
        case _:
            return refused_credential(outcome)


_MANAGE = RequirePermission("users", "manage")
_STATUSES = (204, 401, 403, 404, 409, 429)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "DELETE",
        "/v1/users/{id}/factors",
        _MANAGE,
        reset,
        "Remove all second factors of a user",
        statuses=_STATUSES,
    ),
    Endpoint(
        "POST",
        "/v1/users/{id}/factors/confirm",
        _MANAGE,
        confirm,
        "Let the second factors of a user count at once",
        statuses=_STATUSES,
    ),
)
