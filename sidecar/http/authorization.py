"""Authorization of API calls by the sidecar's own policy. Each denial is a problem with its reason."""

from typing import assert_never

from sidecar.domain.access import CredentialSource, Target
from sidecar.domain.decision import Reason
from sidecar.domain.peps import Pep, Scope
from sidecar.domain.problems import Code, Problem
from sidecar.http.client_ip import caller_address
from sidecar.http.context import AppContext
from sidecar.http.credentials import authorization, credential
from sidecar.http.csrf import same_site
from sidecar.http.denial_causes import cross_site
from sidecar.http.denial_log import DENIAL_LOG
from sidecar.http.endpoint import Require, Requirement, RequirePermission, RequireScope
from sidecar.http.headers import RawHeaders
from sidecar.http.problems import of_decision, of_reason
from sidecar.http.request import Caller
from sidecar.identity.pep_keys import InvalidKey, OutOfScope, RateExceeded
from sidecar.policy.generation import Generation


async def admit(
    guard: Requirement,
    app: AppContext,
    generation: Generation | None,
    method: str,
    headers: RawHeaders,
    peer: str | None,
) -> Caller | Pep | Problem | None:
    """Check ``guard``. Return the caller, the problem that denies the call, or None for an open endpoint.

    ``peer``: address of the connection's other end, None on a Unix socket.
    """
    if guard is Require.OPEN:
        return None
    if generation is None:
        return of_reason(Reason.POLICY_UNAVAILABLE, "")
    if isinstance(guard, RequireScope):
        return await _admit_key(guard.scope, app, generation, headers)
    caller = await identify(app, method, headers)
    if caller is Reason.CROSS_SITE:
        return of_reason(caller, generation.id, explain_cross_site(app, headers))
    if isinstance(caller, Reason):
        return of_reason(caller, generation.id)
    if isinstance(guard, RequirePermission):
        cookie = caller.proof is CredentialSource.COOKIE
        client = caller_address(peer, headers, app.public_config.trusted_proxies, cookie=cookie)
        decision = app.pdp.evaluate(generation, caller.identity, Target(guard.section, guard.action), client)
        if not decision.allowed:
            return of_decision(decision)
    return caller


def explain_cross_site(app: AppContext, headers: RawHeaders) -> str:
    """Log the cause of a cross-site denial, Origin against the public URL, and return its remedy (or "")."""
    cause = cross_site(headers, app.public_config.origins)
    if cause is None:
        return ""
    DENIAL_LOG.cause(cause, "API")
    return cause.detail


async def identify(app: AppContext, method: str, headers: RawHeaders) -> Caller | Reason:
    """Return the live user of the request's credential, or the reason for its denial.

    A request that a cookie authenticates must come from the dashboard itself (R5).
    """
    credentials = credential(headers, app.public_config.cookie)
    if isinstance(credentials, Reason):
        return credentials
    if credentials.proof is CredentialSource.COOKIE and not same_site(
        headers, method=method, origins=app.public_config.origins
    ):
        return Reason.CROSS_SITE
    identity = await app.pdp.identify(credentials)
    if isinstance(identity, Reason):
        return identity
    return Caller(identity, credentials.proof)


async def _admit_key(scope: Scope, app: AppContext, generation: Generation, headers: RawHeaders) -> Pep | Problem:
    """Check a PEP key. Only the Authorization header is read, because a cookie belongs to a browser."""
    credentials = authorization(headers)
    if isinstance(credentials, Reason):
        return Problem(Code.BAD_REQUEST, "there are two Authorization headers; send one", {"reason": credentials.value})
    if credentials.proof is CredentialSource.NONE:
        return of_reason(Reason.MISSING_TOKEN, generation.id, _KEY_WANTED)
    outcome = await app.pep_keys.admit(credentials.token, scope)
    match outcome:
        case Pep():
            return outcome
        case InvalidKey(reason):
            return of_reason(reason, generation.id, _KEY_REFUSED.get(reason, _KEY_WANTED))
        case OutOfScope(needed):
            return Problem(
                Code.FORBIDDEN, f"the key lacks the scope {needed}: create one with sidecar pep create --scope {needed}"
            )
        case RateExceeded(retry_after):
            return Problem(
                Code.RATE_LIMITED,
                f"the rate limit of this key is exceeded; try again in {retry_after} s",
                retry_after=retry_after,
            )
        case _:
            assert_never(outcome)


_KEY_WANTED = "send a PEP key, Authorization: Bearer pep_…, as sidecar pep create printed it"
_KEY_REFUSED = {
    Reason.REVOKED: "this key is unknown or revoked: create one with sidecar pep create",
    Reason.EXPIRED: "this key has expired: create one with sidecar pep create",
    Reason.SUSPENDED: "the account of this key is suspended",
    Reason.OVERLOADED: "too many unknown keys at once: try again shortly",
}
