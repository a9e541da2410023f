"""Response Structs of second factors, and answers to challenges from their bodies."""

from collections.abc import Mapping
from typing import Any

import msgspec

from sidecar.api.serializers import rfc3339, to_revocation, when
from sidecar.domain.factors import Factor
from sidecar.http.factor_schemas import (
    BrowserCredential,
    ChallengeBody,
    FactorAnswerBody,
    FactorBody,
    FactorsBody,
    PasskeyAnswerBody,
    SteppedUpBody,
    StepUpBody,
)
from sidecar.identity.factors.attempts import Attempt, IssuedChallenge
from sidecar.identity.factors.step_up import RaisedSession
from sidecar.store.factors import FactorList


def to_challenge(issued: IssuedChallenge) -> ChallengeBody:
    passkey = None if issued.passkey is None else dict(issued.passkey)
    return ChallengeBody(issued.text, [method.value for method in issued.methods], passkey, rfc3339(issued.expires_at))


def to_factor(factor: Factor) -> FactorBody:
    return FactorBody(
        factor.id,
        factor.kind.value,
        factor.name,
        rfc3339(factor.created_at),
        when(factor.last_used_at),
        rfc3339(factor.counts_at),
    )


def to_factors(held: FactorList, *, passkeys_available: bool) -> FactorsBody:
    return FactorsBody([to_factor(one.factor) for one in held.factors], held.recovery_codes, passkeys_available)


def to_stepped_up(raised: RaisedSession) -> SteppedUpBody:
    methods = list(dict.fromkeys(proof.method.value for proof in raised.session.methods))
    revocation = raised.revocation
    return SteppedUpBody(rfc3339(raised.session.signed_in_at), methods, revocation.revision, to_revocation(revocation))


def to_attempt(body: FactorAnswerBody | PasskeyAnswerBody | StepUpBody) -> Attempt | None:
    """Return the answer of a body, or None unless it has a challenge and exactly one answer."""
    code = getattr(body, "code", msgspec.UNSET)
    recovery = getattr(body, "recovery_code", msgspec.UNSET)
    answers = [one for one in (code, recovery, body.credential) if one is not msgspec.UNSET]
    if len(answers) != 1 or not isinstance(body.challenge, str):
        return None
    return Attempt(
        body.challenge,
        code=code if isinstance(code, str) else None,
        recovery_code=recovery if isinstance(recovery, str) else None,
        credential=credential_of(body.credential),
    )


def credential_of(sent: BrowserCredential | msgspec.UnsetType) -> Mapping[str, Any] | None:
    """Return a browser's credential as the JSON that it sent, with known members alone."""
    if not isinstance(sent, BrowserCredential):
        return None
    found: dict[str, Any] = msgspec.to_builtins(sent)
    return found
