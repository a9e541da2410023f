"""Browser sessions: both tokens are in HttpOnly cookies, never in a body (R4, R5).

``POST /v1/session`` signs in, ``POST /v1/session/refresh`` renews, ``DELETE /v1/session`` signs out. Requests that
another site's page could have sent are rejected.
The access cookie is ``SameSite=Lax``, because a link in a mail to the dashboard must find its reader signed in. R5's
checks protect all changes. The refresh cookie is ``Strict``: only the sidecar's own pages send it.

``__Host-`` binds the access cookie to this host. A page of a sibling domain can set an additional refresh cookie.
Therefore a refresh cookie renews only the session in the access cookie. Either cookie may end its session.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, assert_never

import msgspec

from sidecar.api.login_metrics import count_login
from sidecar.domain.access import CredentialSource
from sidecar.domain.decision import Reason
from sidecar.domain.problems import Code, Problem
from sidecar.domain.users import Actor, SessionId, UserId
from sidecar.gateways.cookie_filter import SessionCookies, refresh_name, session_cookies_of
from sidecar.http.authorization import explain_cross_site, identify
from sidecar.http.context import AppContext, PublicConfig
from sidecar.http.credentials import HOST_COOKIE, authorization
from sidecar.http.csrf import origin_of, same_site
from sidecar.http.endpoint import Endpoint, Require
from sidecar.http.headers import header_values
from sidecar.http.problems import of_reason, overloaded, problem_answer, rate_limited
from sidecar.http.request import Request, Response
from sidecar.http.response import REALM, RawResponse
from sidecar.http.schemas import Secret, Text
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Overloaded
from sidecar.identity.login import AccountRequired, LoginOutcome, ResetRequired, SignIn
from sidecar.identity.revocation_wait import already_everywhere
from sidecar.identity.sessions import Grant, InvalidGrant, Issuer, refresh
from sidecar.store.errors import gather_all
from sidecar.store.outcomes import ActorChanged, Position
from sidecar.store.sessions import StoreBehind
from sidecar.tokens.claims import Claims

SESSION: Final = "/v1/session"
REFRESH: Final = "/v1/session/refresh"

MAX_PROOFS: Final = 8
"""Access cookies that a sign-out verifies. A browser has one, and each costs a signature verification."""

Headers = tuple[tuple[str, str], ...]


class SignInBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credentials. ``username``: the e-mail. ``account``: name or id, if several accounts have that e-mail."""

    username: Text
    password: Secret
    account: Text | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        return "SignInBody(…)"


async def sign_in(call: Request[SignInBody]) -> Response | Problem:
    """Sign a browser in (``POST /v1/session``): JSON, with the sidecar's own Origin.

    Otherwise another site could sign its visitor in to a foreign account.
    """
    refused = _refused(call)
    if refused is not None:
        return refused
    account = call.body.account
    claim = SignIn(call.body.username, call.body.password, account if isinstance(account, str) and account else None)
    outcome = await call.app.people.login.sign_in(claim, call.client)
    count_login(call, outcome)
    return _signed_in(call, outcome)


def _refused(call: Request[SignInBody]) -> Problem | None:
    ours = origin_of(call.app.public_config.public_url)
    if header_values(call.headers, b"origin") != [ours.encode("latin-1")]:
        detail = explain_cross_site(call.app, call.headers) or f"send exactly one Origin, {ours}"
        return _of(call, Reason.CROSS_SITE, detail)
    types = header_values(call.headers, b"content-type")
    if len(types) != 1 or types[0].partition(b";")[0].strip().lower() != b"application/json":
        return Problem(Code.BAD_REQUEST, "Content-Type must be application/json")
    return None


def _signed_in(call: Request[SignInBody], outcome: LoginOutcome) -> Response | Problem:
    match outcome:
        case Grant():
            return Response(204, None, session_cookies(call, outcome))
        case InvalidGrant():
            return Problem(Code.INVALID_CREDENTIALS, "the e-mail or the password is wrong or no longer valid")
        case AccountRequired():
            accounts = [{"id": one.id, "name": one.name} for one in outcome.accounts]
            extra = {"accounts": accounts} if accounts else {}
            return Problem(Code.ACCOUNT_REQUIRED, "several accounts have this e-mail; name one in account", extra)
        case ResetRequired():
            return Problem(Code.PASSWORD_RESET_REQUIRED, "request a link to set a new password")
        case Limited(retry_after):
            return rate_limited(retry_after)
        case Overloaded(retry_after):
            return overloaded(retry_after)
        case _:
            assert_never(outcome)


async def renew(call: Request[None]) -> Response | Problem:
    """Renew the session that the access cookie names, even an expired one, by its refresh cookie.

    ``POST /v1/session/refresh``. A page of a sibling domain can set a refresh cookie, but no access cookie, so its own
    session renews nothing (R5). A retry within the grace period gets the same pair (R14).
    """
    sent = _cookies(call)
    if isinstance(sent, Problem):
        return sent
    if not sent.refresh or not sent.access:
        return _of(call, Reason.MISSING_TOKEN)
    if len(sent.access) > 1:
        return _of(call, Reason.BAD_REQUEST)
    claims = call.app.pdp.session_of(sent.access[0])
    if isinstance(claims, Reason):
        return _of(call, claims)
    people = call.app.people
    fitting = _fitting_refresh(people.issuer, sent.refresh, claims)
    if fitting is None:
        return _of(call, Reason.SESSION_ENDED)
    outcome = await refresh(people.issuer, people.sessions, people.fleet, fitting, call.client)
    match outcome:
        case Grant():
            return Response(204, None, session_cookies(call, outcome))
        case InvalidGrant():
            return _of(call, Reason.SESSION_ENDED)
        case Limited(retry_after):
            return rate_limited(retry_after)
        case StoreBehind():
            return _of(call, Reason.STORE_UNAVAILABLE)
        case _:
            assert_never(outcome)


async def sign_out(call: Request[None]) -> Response | Problem:
    """End each session that a cookie proves, and clear both cookies (``DELETE /v1/session``).

    All sidecars reject its tokens when the response is sent. It succeeds without a session and with repeated cookies: a
    page of a sibling domain that sets another cookie must not prevent the sign-out (R5).
    """
    if header_values(call.headers, b"authorization"):
        return await _sign_out_bearer(call)
    sent = _cookies(call)
    if isinstance(sent, Problem):
        return sent
    proven = _proven_sessions(call.app, sent)
    if isinstance(proven, Reason):
        return _of(call, proven)
    await _end_sessions(call, proven)
    return Response(204, None, _cleared(call.app.public_config))


async def _sign_out_bearer(call: Request[None]) -> Response | Problem:
    """End the session of the Authorization header. Cookies beside it are ignored (R4)."""
    credential = authorization(call.headers)
    if isinstance(credential, Reason):
        return _of(call, credential)
    if credential.proof is CredentialSource.HEADER:
        caller = await identify(call.app, "DELETE", call.headers)
        if isinstance(caller, Reason):
            return _of(call, caller)
        await _end_sessions(call, {caller.record.id: {caller.claims.session}})
    return Response(204, None, _cleared(call.app.public_config))


def _cookies(call: Request[None]) -> SessionCookies | Problem:
    """Return the session cookies, if the sidecar's own page sent them (R5).

    None beside an Authorization header (R4).
    """
    if header_values(call.headers, b"authorization"):
        credential = authorization(call.headers)
        return _of(call, credential) if isinstance(credential, Reason) else SessionCookies((), ())
    found = session_cookies_of(call.headers, call.app.public_config.cookie)
    if found.any and not same_site(call.headers, method="POST", origins=call.app.public_config.origins):
        return _of(call, Reason.CROSS_SITE, explain_cross_site(call.app, call.headers))
    return found


def _fitting_refresh(issuer: Issuer, presented: Sequence[str], claims: Claims) -> str | None:
    """Return the newest refresh token of the session in ``claims``, or None.

    An older one would end the session (R14).
    """
    read = ((issuer.read(token), token) for token in presented)
    fitting = [
        (refresh.counter, token)
        for refresh, token in read
        if refresh is not None and refresh.user == claims.user and refresh.session == claims.session
    ]
    return max(fitting)[1] if fitting else None


def _proven_sessions(app: AppContext, cookies: SessionCookies) -> Mapping[UserId, set[SessionId]] | Reason:
    """Return the sessions in authentic cookies, per user, or OVERLOADED if an access cookie cannot be verified now."""
    found: dict[UserId, set[SessionId]] = {}
    for token in cookies.refresh:
        refresh = app.people.issuer.read(token)
        if refresh is not None:
            found.setdefault(refresh.user, set()).add(refresh.session)
    for token in list(dict.fromkeys(cookies.access))[:MAX_PROOFS]:
        claims = app.pdp.session_of(token)
        if claims is Reason.OVERLOADED:
            return claims
        if isinstance(claims, Claims):
            found.setdefault(claims.user, set()).add(claims.session)
    return found


async def _end_sessions(call: Request[Any], proven: Mapping[UserId, set[SessionId]]) -> None:
    """End the sessions. Return when all sidecars reject their tokens. Raises StoreUnavailableError."""
    people = call.app.people

    async def end(user: UserId, sessions: set[SessionId]) -> Position | None:
        actor = Actor.bearer(user, address=call.address, request_id=call.request_id)
        ended = await people.sessions.end(user, sorted(sessions), actor)
        return None if isinstance(ended, ActorChanged) else ended.position

    positions = await gather_all(*(end(user, sessions) for user, sessions in proven.items()))
    await gather_all(*(already_everywhere(people.fleet, position) for position in positions))


def session_cookies(call: Request[Any], grant: Grant) -> Headers:
    """Return both cookies of a new pair, with the lifetime of the session.

    An access cookie with an expired token still proves the browser's session (R5).
    """
    public_config, seconds = call.app.public_config, call.app.people.issuer.refresh_ttl
    return (
        _cookie(public_config, public_config.cookie, grant.access_token, seconds),
        _cookie(public_config, refresh_name(public_config.cookie), grant.refresh_token, seconds),
    )


def _cleared(public_config: PublicConfig) -> Headers:
    return (
        _cookie(public_config, public_config.cookie, "", 0),
        _cookie(public_config, refresh_name(public_config.cookie), "", 0),
    )


def _cookie(public_config: PublicConfig, name: str, value: str, seconds: int) -> tuple[str, str]:
    """Return a Set-Cookie header. No Domain: only this host receives it. Secure if the public URL is https (R4)."""
    path, site = ("/", "Lax") if name == public_config.cookie else (SESSION, "Strict")
    secure = "; Secure" if public_config.cookie == HOST_COOKIE else ""
    return "Set-Cookie", f"{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly{secure}; SameSite={site}"


def _of(call: Request[Any], reason: Reason, detail: str = "") -> Problem:
    return of_reason(reason, call.generation.id if call.generation else "", detail)


def render_problem(problem: Problem) -> RawResponse:
    """Render a problem. Each 401 gets a challenge, also for a wrong password (RFC 9110 section 11.6.1)."""
    answer = problem_answer(problem)
    if answer.status != 401 or any(name == "WWW-Authenticate" for name, _ in answer.headers):
        return answer
    return RawResponse(answer.status, (*answer.headers, ("WWW-Authenticate", f'Bearer realm="{REALM}"')), answer.body)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        SESSION,
        Require.OPEN,
        sign_in,
        "Sign a browser in: sets the cookies, shows no token",
        SignInBody,
        statuses=(204, 400, 401, 403, 413, 429, 503),
        render_problem=render_problem,
    ),
    Endpoint(
        "POST",
        REFRESH,
        Require.OPEN,
        renew,
        "Renew a browser's session",
        statuses=(204, 401, 403, 429, 503),
        render_problem=render_problem,
    ),
    Endpoint(
        "DELETE",
        SESSION,
        Require.OPEN,
        sign_out,
        "Sign a browser out",
        statuses=(204, 401, 403, 503),
        render_problem=render_problem,
    ),
)
