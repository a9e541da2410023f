"""OAuth 2: tokens, their revocation, the keys and the metadata (RFC 6749, 7009, 7517, 8414). Only translates.

Errors have RFC 6749's own shape here, not the API's problems. No answer of a token endpoint may be kept by a cache.
"""

from typing import Final, assert_never

from sidecar.accounts.hashing import Overloaded
from sidecar.accounts.limits import Limited
from sidecar.accounts.login import AccountRequired, LoginOutcome, ResetRequired, SignIn
from sidecar.accounts.revocation import everywhere
from sidecar.accounts.sessions import Grant, InvalidGrant, refresh
from sidecar.edge.call import Call, Endpoint, Gate, RawBody, Reply
from sidecar.edge.oauth_parameters import InvalidRequest, Parameters, read
from sidecar.edge.people import client_of, count_login, grant_json
from sidecar.store.sessions import Ended, StoreBehind
from sidecar.tokens.opaque import Refresh
from sidecar.vocabulary.people import Actor

TOKEN: Final = "/token"  # noqa: S105 (a path)
REVOKE: Final = "/revoke"
JWKS: Final = "/.well-known/jwks.json"
METADATA: Final = "/.well-known/oauth-authorization-server"

_NO_STORE: Final = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))
_KEYS_LIVE: Final = (("Cache-Control", "public, max-age=60"),)


async def token(call: Call[RawBody]) -> Reply:
    """``POST /token``: the password and the refresh grant."""
    try:
        parameters = read(call.body)
        match parameters.required("grant_type"):
            case "password":
                return _token_answer(await _password(call, parameters))
            case "refresh_token":
                return _token_answer(await _refresh(call, parameters))
            case _:
                return _error("unsupported_grant_type", "grant_type must be password or refresh_token")
    except InvalidRequest as error:
        return _error("invalid_request", str(error))


async def _password(call: Call[RawBody], parameters: Parameters) -> LoginOutcome:
    claim = SignIn(
        username=parameters.required("username"),
        password=parameters.required("password"),
        account=parameters.optional("account"),
    )
    outcome = await call.parts.people.login.sign_in(claim, client_of(call))
    count_login(call, outcome)
    return outcome


async def _refresh(call: Call[RawBody], parameters: Parameters) -> Grant | InvalidGrant | StoreBehind:
    people = call.parts.people
    return await refresh(people.issuer, people.sessions, parameters.required("refresh_token"), client_of(call))


def _token_answer(outcome: LoginOutcome | StoreBehind) -> Reply:
    match outcome:
        case Grant():
            return Reply(200, grant_json(outcome), _NO_STORE)
        case InvalidGrant():
            return _error("invalid_grant", "the e-mail, the password or the token is not right, or not any more")
        case AccountRequired():
            return _error("invalid_request", "account_required: several accounts fit; name one in account")
        case ResetRequired():
            return _error("invalid_grant", "password_reset_required: ask for a link to set a new password")
        case Limited(retry_after):
            return _error("rate_limited", "too many failures; try again later", 429, retry_after)
        case Overloaded(retry_after):
            return _error("temporarily_unavailable", "too many sign-ins at once; try again shortly", 503, retry_after)
        case StoreBehind():
            return _error("temporarily_unavailable", "the store is behind; try again shortly", 503, 1)
        case _:
            assert_never(outcome)


async def revoke(call: Call[RawBody]) -> Reply:
    """``POST /revoke`` (RFC 7009): a refresh token takes its session along. What is not ours is gone already: 200."""
    try:
        presented = call.parts.people.issuer.read(read(call.body).required("token"))
    except InvalidRequest as error:
        return _error("invalid_request", str(error))
    if presented is not None:
        await _end(call, presented)
    return Reply(200, None, _NO_STORE)


async def _end(call: Call[RawBody], presented: Refresh) -> None:
    people = call.parts.people
    actor = Actor.bearer(presented.user, address=call.address, request_id=call.request_id)
    ended = await people.sessions.end(presented.user, (presented.session,), actor)
    if isinstance(ended, Ended):
        await everywhere(people.fleet, ended.position)


async def jwks(call: Call[None]) -> Reply:
    """``GET /.well-known/jwks.json``: the public keys, those that are about to sign included."""
    return Reply(200, call.parts.people.issuer.keys.jwks(), _KEYS_LIVE)


async def metadata(call: Call[None]) -> Reply:
    """``GET /.well-known/oauth-authorization-server`` (RFC 8414)."""
    base = call.parts.surface.public_url.rstrip("/")
    return Reply(
        200,
        {
            "issuer": call.parts.people.issuer.issuer,
            "token_endpoint": base + TOKEN,
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint": base + REVOKE,
            "revocation_endpoint_auth_methods_supported": ["none"],
            "jwks_uri": base + JWKS,
            "grant_types_supported": ["password", "refresh_token"],
            "response_types_supported": [],
        },
        _KEYS_LIVE,
    )


def _error(code: str, description: str, status: int = 400, retry_after: int | None = None) -> Reply:
    wait = () if retry_after is None else (("Retry-After", str(retry_after)),)
    return Reply(status, {"error": code, "error_description": description}, _NO_STORE + wait)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST", TOKEN, Gate.OPEN, token, "Sign in, or refresh a token", RawBody, statuses=(200, 400, 413, 429, 503)
    ),
    Endpoint("POST", REVOKE, Gate.OPEN, revoke, "End the session of a refresh token", RawBody, statuses=(200, 400)),
    Endpoint("GET", JWKS, Gate.OPEN, jwks, "The public keys of access tokens"),
    Endpoint("GET", METADATA, Gate.OPEN, metadata, "What this authorization server can do"),
)
