"""Who may call an endpoint: the sidecar obeys its own policy. Every denial leaves here as a problem with its reason."""

from sidecar.edge.call import Caller, Gate, Guard, May
from sidecar.edge.credentials import RawHeaders, credential
from sidecar.edge.parts import Parts
from sidecar.edge.problems import of_reason
from sidecar.edge.same_site import same_site
from sidecar.pdp.check import rule_on
from sidecar.policy.generation import Generation
from sidecar.vocabulary.access import Proof, Target
from sidecar.vocabulary.decision import Reason
from sidecar.vocabulary.problems import Problem


async def admit(
    guard: Guard, parts: Parts, generation: Generation | None, method: str, headers: RawHeaders
) -> Caller | Problem | None:
    """The caller, the problem that keeps it out, or None for an open endpoint."""
    if guard is Gate.OPEN:
        return None
    if generation is None:
        return of_reason(Reason.POLICY_UNAVAILABLE, "")
    caller = await identify(parts, method, headers)
    if isinstance(caller, Reason):
        return of_reason(caller, generation.id)
    if isinstance(guard, May):
        decision = rule_on(generation, caller.record, Target(guard.section, guard.action))
        if not decision.allowed:
            return of_reason(decision.reason, generation.id)
    return caller


async def identify(parts: Parts, method: str, headers: RawHeaders) -> Caller | Reason:
    """The live user behind the request's credential; a cookie's request must come from the dashboard itself (R5)."""
    given = credential(headers, parts.surface.cookie)
    if isinstance(given, Reason):
        return given
    if given.proof is Proof.COOKIE and not same_site(headers, method=method, origins=parts.surface.origins):
        return Reason.CROSS_SITE
    identity = await parts.pdp.identify(given)
    if isinstance(identity, Reason):
        return identity
    return Caller(identity.record, identity.claims, given.proof)
