"""Second factors of the signed-in user. Each call needs a proof of the sign-in that is at most 15 minutes old (R37)."""

from typing import Any

from sidecar.api.factor_serializers import credential_of, to_factor, to_factors
from sidecar.api.second_factor import passkeys_unavailable, wrong_code
from sidecar.api.serializers import revocation_headers, to_revocation
from sidecar.domain.factors import FactorId, kind_of
from sidecar.domain.problems import Code, Problem
from sidecar.http.endpoint import Endpoint, Require
from sidecar.http.factor_schemas import (
    ConfirmedFactorBody,
    ConfirmFactorBody,
    FactorNameBody,
    FactorsBody,
    PasskeyBody,
    RecoveryCodesBody,
    TotpBody,
)
from sidecar.http.problems import actor_changed, bad_name, not_found, rate_limited, step_up_required
from sidecar.http.request import Request, Response
from sidecar.identity.display_names import clean
from sidecar.identity.factors.attempts import WrongCode
from sidecar.identity.factors.enrolment import (
    FactorEnrolled,
    FactorProofSent,
    NewPasskeyOptions,
    NewTotp,
    PasskeysUnavailable,
)
from sidecar.identity.factors.step_up import FRESH_SECONDS, is_fresh
from sidecar.identity.hash_limits import Limited
from sidecar.store.factors import FactorGone, TooManyFactors
from sidecar.store.live.fleet import Revocation
from sidecar.store.outcomes import ActorChanged, NoUser


def refuse_stale(call: Request[Any]) -> Problem | None:
    """Return the problem of a proof that is too old, or not of a factor although the caller has one."""
    caller = call.caller
    fresh = is_fresh(caller.record, caller.claims.session, call.app.people.issuer.now())
    return None if fresh else step_up_required(FRESH_SECONDS)


async def listing(call: Request[None]) -> Response | Problem:
    """Return the caller's second factors, oldest first (``GET /v1/me/factors``)."""
    if (refused := refuse_stale(call)) is not None:
        return refused
    held = await call.app.people.factors.enrolment.listing(call.caller.record.id)
    if isinstance(held, NoUser):
        return actor_changed()
    available = call.app.people.factors.sign_in.passkeys_available
    return Response(200, to_factors(held, passkeys_available=available))


async def add_totp(call: Request[None]) -> Response | Problem:
    """Add an authenticator app (``POST /v1/me/factors/totp``). The secret is shown once."""
    if (refused := refuse_stale(call)) is not None:
        return refused
    outcome = await call.app.people.factors.enrolment.add_totp(call.caller.record, call.actor)
    if not isinstance(outcome, NewTotp):
        return _refused(outcome)
    return Response(201, TotpBody(outcome.id, outcome.secret, outcome.uri, outcome.qr))


async def add_passkey(call: Request[None]) -> Response | Problem:
    """Add a passkey (``POST /v1/me/factors/passkey``)."""
    if (refused := refuse_stale(call)) is not None:
        return refused
    outcome = await call.app.people.factors.enrolment.add_passkey(call.caller.record, call.actor)
    if not isinstance(outcome, NewPasskeyOptions):
        return _refused(outcome)
    return Response(201, PasskeyBody(outcome.id, dict(outcome.options)))


async def confirm(call: Request[ConfirmFactorBody]) -> Response | Problem:
    """Confirm a new factor (``POST /v1/me/factors/{id}/confirm``). All sidecars know it when the response is sent."""
    if (refused := refuse_stale(call)) is not None:
        return refused
    code, credential = call.body.code, credential_of(call.body.credential)
    if isinstance(code, str) == (credential is not None):
        return Problem(Code.BAD_REQUEST, "send code for an authenticator app, or credential for a passkey")
    name = clean(call.body.name) if call.body.name else ""
    if name is None:
        return bad_name()
    sent = FactorProofSent(code if isinstance(code, str) else None, credential)
    wait = call.policy.needs.wait_s
    outcome = await call.app.people.factors.enrolment.confirm(
        call.caller.record, call.actor, call.names["id"], sent, name=name, wait=wait
    )
    if not isinstance(outcome, FactorEnrolled):
        return _refused(outcome)
    _count(call, outcome.factor.id, "added")
    body = ConfirmedFactorBody(
        to_factor(outcome.factor), list(outcome.recovery_codes), to_revocation(outcome.revocation)
    )
    return Response(200, body, revocation_headers(outcome.revocation))


async def rename(call: Request[FactorNameBody]) -> Response | Problem:
    """Rename a factor (``PATCH /v1/me/factors/{id}``)."""
    if (refused := refuse_stale(call)) is not None:
        return refused
    name = clean(call.body.name)
    if not name:
        return bad_name()
    outcome = await call.app.people.factors.enrolment.rename(call.actor, call.names["id"], name)
    return Response(204) if outcome is None else _refused(outcome)


async def remove(call: Request[None]) -> Response | Problem:
    """Remove a factor (``DELETE /v1/me/factors/{id}``). No sidecar counts its proofs when the response is sent."""
    if (refused := refuse_stale(call)) is not None:
        return refused
    outcome = await call.app.people.factors.enrolment.remove(call.actor, call.names["id"])
    if not isinstance(outcome, Revocation):
        return _refused(outcome)
    _count(call, FactorId(call.names["id"]), "removed")
    return Response(204, None, revocation_headers(outcome))


async def recovery_codes(call: Request[None]) -> Response | Problem:
    """Replace the caller's recovery codes (``POST /v1/me/recovery-codes``). They are shown once."""
    if (refused := refuse_stale(call)) is not None:
        return refused
    outcome = await call.app.people.factors.enrolment.new_recovery_codes(call.caller.record, call.actor)
    if isinstance(outcome, FactorGone):
        return Problem(Code.NO_FACTOR, "recovery codes belong to a second factor; add one first")
    return Response(201, RecoveryCodesBody(list(outcome))) if isinstance(outcome, tuple) else _refused(outcome)


def _refused(
    outcome: FactorGone | TooManyFactors | PasskeysUnavailable | WrongCode | ActorChanged | Limited,
) -> Problem:
    match outcome:
        case FactorGone():
            return not_found("factor")
        case TooManyFactors():
            return Problem(Code.TOO_MANY_FACTORS, "you have the maximum number of second factors; remove one first")
        case PasskeysUnavailable():
            return passkeys_unavailable()
        case WrongCode():
            return wrong_code()
        case ActorChanged():
            return actor_changed()
        case Limited(retry_after):
            return rate_limited(retry_after)


def _count(call: Request[Any], factor: FactorId, change: str) -> None:
    call.app.metrics.factor_changes.labels(kind_of(factor).value, change).inc()


_ME = "/v1/me/factors"
_SIGNED_IN = Require.SIGNED_IN

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET", _ME, _SIGNED_IN, listing, "My second factors", statuses=(200, 401, 409), response_schema=FactorsBody
    ),
    Endpoint(
        "POST",
        _ME + "/totp",
        _SIGNED_IN,
        add_totp,
        "Add an authenticator app",
        statuses=(201, 401, 409, 429),
        response_schema=TotpBody,
    ),
    Endpoint(
        "POST",
        _ME + "/passkey",
        _SIGNED_IN,
        add_passkey,
        "Add a passkey",
        statuses=(201, 401, 409, 429),
        response_schema=PasskeyBody,
    ),
    Endpoint(
        "POST",
        _ME + "/{id}/confirm",
        _SIGNED_IN,
        confirm,
        "Confirm a new factor",
        ConfirmFactorBody,
        statuses=(200, 400, 401, 404, 409, 429),
        response_schema=ConfirmedFactorBody,
    ),
    Endpoint(
        "PATCH",
        _ME + "/{id}",
        _SIGNED_IN,
        rename,
        "Rename a factor",
        FactorNameBody,
        statuses=(204, 400, 401, 404, 409, 429),
    ),
    Endpoint("DELETE", _ME + "/{id}", _SIGNED_IN, remove, "Remove a factor", statuses=(204, 401, 404, 409)),
    Endpoint(
        "POST",
        "/v1/me/recovery-codes",
        _SIGNED_IN,
        recovery_codes,
        "Replace my recovery codes",
        statuses=(201, 401, 409, 429),
        response_schema=RecoveryCodesBody,
    ),
)
