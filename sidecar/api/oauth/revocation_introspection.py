"""Token revocation (RFC 7009) and introspection (RFC 7662).

Both disclose as little as their RFCs allow. Revoking an unknown token succeeds. Introspection returns ``{"active":
false}`` unless the token is a live access token of the PEP's own account. A refresh token is never active, because a
service that accepts all active tokens would accept it (RFC 7662 section 4).
"""

from typing import Final, assert_never

from msgspec import UNSET

from sidecar.api.oauth.oauth_errors import NO_STORE, error, render_problem
from sidecar.api.oauth.parameters import InvalidRequestError, read
from sidecar.domain.access import Credential, CredentialSource
from sidecar.domain.decision import Reason, Verdict
from sidecar.domain.peps import Scope
from sidecar.domain.sessions import amr_of
from sidecar.domain.users import Actor, SessionId, UserId
from sidecar.http import oauth_schemas
from sidecar.http.endpoint import Endpoint, Require, RequireScope
from sidecar.http.request import RawBody, Request, Response
from sidecar.identity.revocation_wait import already_everywhere
from sidecar.pdp.decision_basis import Identity
from sidecar.store.outcomes import ActorChanged
from sidecar.store.sessions import Ended, SessionGone
from sidecar.tokens.opaque import SecretKind, read_secret

REVOKE: Final = "/revoke"
INTROSPECT: Final = "/introspect"

_INACTIVE: Final = oauth_schemas.Introspection(active=False)


async def revoke(call: Request[RawBody]) -> Response:
    """End the session of a refresh or access token, and thereby revoke all its tokens (``POST /revoke``).

    ``token_type_hint`` is ignored, because the token's format shows its type.
    """
    try:
        token = read(call.body).required("token")
    except InvalidRequestError as problem:
        return error("invalid_request", str(problem))
    if any(read_secret(kind, token) for kind in SecretKind):
        return error("unsupported_token_type", "invitations, reset links and PEP keys cannot be revoked here")
    refresh = call.app.people.issuer.read(token)
    if refresh is not None:
        return await _end(call, refresh.user, refresh.session)
    identity = await call.app.pdp.identify(Credential(CredentialSource.HEADER, token))
    if isinstance(identity, Reason):
        return _unknown() if identity.verdict is Verdict.UNKNOWN else _gone()
    if not identity.claims.session:
        return error("unsupported_token_type", "the token is from another issuer; only that issuer can revoke it")
    return await _end(call, identity.record.id, identity.claims.session)


async def _end(call: Request[RawBody], user: UserId, session: SessionId) -> Response:
    people = call.app.people
    actor = Actor.bearer(user, address=call.address, request_id=call.request_id)
    outcome = await people.sessions.end(user, (session,), actor)
    match outcome:
        case Ended() | SessionGone():
            await already_everywhere(people.fleet, outcome.position)
        case ActorChanged():
            pass
        case _:
            assert_never(outcome)
    return _gone()


def _gone() -> Response:
    return Response(200, None, NO_STORE)


def _unknown() -> Response:
    """Return 503 for a token that cannot be checked.

    The client must assume that it is valid (RFC 7009 section 2.2.1).
    """
    return error("temporarily_unavailable", "the token cannot be checked now; try again shortly", 503, 1)


async def introspect(call: Request[RawBody]) -> Response:
    """Return the state of a token of the PEP's own account (``POST /introspect``)."""
    try:
        token = read(call.body).required("token")
    except InvalidRequestError as problem:
        return error("invalid_request", str(problem))
    identity = await call.app.pdp.identify(Credential(CredentialSource.HEADER, token))
    if isinstance(identity, Reason):
        return _unknown() if identity.verdict is Verdict.UNKNOWN else Response(200, _INACTIVE, NO_STORE)
    if identity.record.account != call.pep.account:
        return Response(200, _INACTIVE, NO_STORE)
    return Response(200, _active(identity), NO_STORE)


def _active(identity: Identity) -> oauth_schemas.Introspection:
    """Return an active token.

    ``iss`` and ``sub`` are the token's; others are this sidecar's. ``auth_time`` and ``amr`` are live.
    """
    claims, record = identity.claims, identity.record
    return oauth_schemas.Introspection(
        active=True,
        token_type="Bearer",  # noqa: S106 (no secret)
        iss=claims.issuer,
        sub=claims.subject or claims.user,
        client_id=UNSET if claims.subject else claims.user,
        aud=claims.audience,
        exp=claims.expires_at,
        iat=claims.issued_at,
        nbf=UNSET if claims.not_before is None else claims.not_before,
        jti=claims.jti or UNSET,
        username=record.email if record.email_verified else UNSET,
        acct=record.account,
        user=record.id,
        sid=claims.session or UNSET,
        auth_time=identity.signed_in_at or UNSET,
        amr=list(amr_of(identity.proofs)) or UNSET,
    )


REVOCATION: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "POST",
        REVOKE,
        Require.OPEN,
        revoke,
        "End the session of a token",
        RawBody,
        statuses=(200, 400, 413, 503),
        render_problem=render_problem,
        request_schemas=(oauth_schemas.TokenQuery,),
        form=True,
    ),
)
INTROSPECTION: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "POST",
        INTROSPECT,
        RequireScope(Scope.INTROSPECT),
        introspect,
        "Introspect a token, for a PEP",
        RawBody,
        statuses=(200, 400, 401, 403, 413, 429, 503),
        render_problem=render_problem,
        response_schema=oauth_schemas.Introspection,
        request_schemas=(oauth_schemas.TokenQuery,),
        form=True,
    ),
)
