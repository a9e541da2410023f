"""Token endpoint, public keys and metadata (RFC 6749, 7517, 8414).

Errors have the format of RFC 6749, not the API's problems. Responses of the token endpoint are not cacheable.
"""

from typing import Final, assert_never

from sidecar.api.login_metrics import count_login
from sidecar.api.oauth.oauth_errors import NO_STORE, error, render_problem
from sidecar.api.oauth.parameters import FormParameters, InvalidRequestError, read
from sidecar.api.oauth.revocation_introspection import INTROSPECT, REVOCATION, REVOKE
from sidecar.api.serializers import to_grant
from sidecar.domain.problems import Code, Problem
from sidecar.domain.sessions import Method
from sidecar.http import oauth_schemas, schemas
from sidecar.http.endpoint import Endpoint, Require
from sidecar.http.request import RawBody, Request, Response
from sidecar.identity.factors.attempts import Attempt, WrongCode
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Overloaded
from sidecar.identity.login import AccountRequired, FirstStep, ResetRequired, SecondFactorRequired, SignIn
from sidecar.identity.sessions import Grant, InvalidGrant, RefreshOutcome, refresh
from sidecar.store.outcomes import NoUser
from sidecar.store.sessions import StoreBehind
from sidecar.tokens.challenges import ChallengePurpose

TOKEN: Final = "/token"  # noqa: S105 (a path)
JWKS: Final = "/.well-known/jwks.json"
GRANT_TYPES: Final = ("password", "refresh_token", oauth_schemas.MFA_GRANT)
METADATA: Final = "/.well-known/oauth-authorization-server"

_KEYS_LIVE: Final = (("Cache-Control", "public, max-age=60"),)


async def token(call: Request[RawBody]) -> Response:
    """Issue tokens by the password, the refresh or the second-step grant (``POST /token``)."""
    try:
        parameters = read(call.body)
        match parameters.required("grant_type"):
            case "password":
                return await _password(call, parameters)
            case oauth_schemas.MFA_GRANT:
                return await _mfa(call, parameters)
            case "refresh_token":
                return _token_answer(await _refresh(call, parameters))
            case _:
                return error("unsupported_grant_type", f"grant_type must be {', '.join(GRANT_TYPES)}")
    except InvalidRequestError as problem:
        return error("invalid_request", str(problem))


async def _password(call: Request[RawBody], parameters: FormParameters) -> Response:
    claim = SignIn(
        username=parameters.required("username"),
        password=parameters.required("password"),
        account=parameters.optional("account"),
    )
    outcome = await call.app.people.login.sign_in(claim, call.client)
    count_login(call, outcome)
    if isinstance(outcome, SecondFactorRequired):
        return await _mfa_required(call, outcome)
    return _token_answer(outcome)


async def _mfa_required(call: Request[RawBody], required: SecondFactorRequired) -> Response:
    """Return the challenge of the second step. A passkey needs a browser, so that it gets no token here."""
    issued = await call.app.people.factors.sign_in.challenge(required.record.id, ChallengePurpose.TOKEN)
    if isinstance(issued, NoUser):
        return _token_answer(InvalidGrant())
    if Method.TOTP not in issued.methods:
        return error("mfa_required", "this user has a passkey alone, which needs a browser: sign in at the console")
    remedy = "send mfa_token with otp or recovery_code, and the grant_type of the second step"
    return error("mfa_required", remedy, mfa_token=issued.text, methods=[method.value for method in issued.methods])


async def _mfa(call: Request[RawBody], parameters: FormParameters) -> Response:
    otp, recovery = parameters.optional("otp"), parameters.optional("recovery_code")
    if (otp is None) == (recovery is None):
        return error("invalid_request", "send otp or recovery_code")
    attempt = Attempt(parameters.required("mfa_token"), code=otp, recovery_code=recovery)
    outcome = await call.app.people.factors.sign_in.sign_in(attempt, ChallengePurpose.TOKEN, call.client)
    count_login(call, outcome)
    return _token_answer(InvalidGrant() if isinstance(outcome, WrongCode) else outcome)


async def _refresh(call: Request[RawBody], parameters: FormParameters) -> RefreshOutcome:
    people = call.app.people
    return await refresh(
        people.issuer, people.sessions, people.fleet, parameters.required("refresh_token"), call.client
    )


def _token_answer(outcome: FirstStep | StoreBehind) -> Response:
    match outcome:
        case Grant():
            return Response(200, to_grant(outcome), NO_STORE)
        case InvalidGrant():
            return error("invalid_grant", "the e-mail, the password, the code or the token is wrong or no longer valid")
        case AccountRequired():
            return error("invalid_request", "account_required: several accounts have this e-mail; name one in account")
        case ResetRequired():
            return error("invalid_grant", "password_reset_required: request a link to set a new password")
        case Limited(retry_after):
            return error("rate_limited", "too many attempts; try again later", 429, retry_after)
        case Overloaded(retry_after):
            return error("temporarily_unavailable", "too many sign-ins at once; try again shortly", 503, retry_after)
        case StoreBehind():
            return error("temporarily_unavailable", "the store is behind; try again shortly", 503, 1)
        case _:
            assert_never(outcome)


async def jwks(call: Request[None]) -> Response:
    """Return the public keys, including pending ones (``GET /.well-known/jwks.json``)."""
    return Response(200, call.app.people.issuer.keys.jwks(), _KEYS_LIVE)


async def metadata(call: Request[None]) -> Response:
    """Return the metadata (``GET /.well-known/oauth-authorization-server``, RFC 8414).

    Absent members are unsupported.
    """
    public_config = call.app.public_config
    base = public_config.public_url.rstrip("/")
    return Response(
        200,
        oauth_schemas.ServerMetadata(
            issuer=call.app.people.issuer.issuer,
            token_endpoint=base + TOKEN,
            token_endpoint_auth_methods_supported=["none"],
            revocation_endpoint=base + REVOKE,
            revocation_endpoint_auth_methods_supported=["none"],
            introspection_endpoint=(public_config.pdp_url or base).rstrip("/") + INTROSPECT,
            introspection_endpoint_auth_methods_supported=["Bearer"],
            jwks_uri=base + JWKS,
            grant_types_supported=list(GRANT_TYPES),
            # There is no authorization endpoint. The member is required and must not be empty; "none" means no type.
            response_types_supported=["none"],
        ),
        _KEYS_LIVE,
    )


async def metadata_of(call: Request[None]) -> Response | Problem:
    """Return the metadata at the path of RFC 8414 section 3.1 for an issuer with a path (of one segment)."""
    _, _, path = call.app.people.issuer.issuer.partition("://")[2].partition("/")
    if path.rstrip("/") != call.names["issuer"]:
        return Problem(Code.NOT_FOUND, "authorization server not found")
    return await metadata(call)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        TOKEN,
        Require.OPEN,
        token,
        "Sign in, or refresh a token",
        RawBody,
        statuses=(200, 400, 413, 429, 503),
        render_problem=render_problem,
        response_schema=schemas.Grant,
        request_schemas=(oauth_schemas.PasswordGrant, oauth_schemas.RefreshGrant, oauth_schemas.MfaGrant),
        form=True,
    ),
    *REVOCATION,
    Endpoint(
        "GET", JWKS, Require.OPEN, jwks, "The public keys of access tokens", response_schema=oauth_schemas.KeySetShown
    ),
    Endpoint(
        "GET",
        METADATA,
        Require.OPEN,
        metadata,
        "Metadata of the authorization server",
        response_schema=oauth_schemas.ServerMetadata,
    ),
    Endpoint(
        "GET",
        METADATA + "/{issuer}",
        Require.OPEN,
        metadata_of,
        "Metadata of the authorization server, for an issuer with a path",
        statuses=(200, 404),
        response_schema=oauth_schemas.ServerMetadata,
    ),
)
