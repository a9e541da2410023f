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

from sidecar.api.factor_serializers import to_challenge
from sidecar.api.login_metrics import count_login
from sidecar.api.session_cookies import (
    SESSION,
    cleared_cookies,
    problem_of,
    refuse_other_page,
    render_problem,
    session_cookies,
)
from sidecar.domain.access import CredentialSource
from sidecar.domain.decision import Reason
from sidecar.domain.problems import Code, Problem
from sidecar.domain.users import Actor, SessionId, UserId
from sidecar.gateways.cookie_filter import SessionCookies, session_cookies_of
from sidecar.http.authorization import explain_cross_site, identify
from sidecar.http.context import AppContext
from sidecar.http.credentials import authorization
from sidecar.http.csrf import same_site
from sidecar.http.endpoint import Endpoint, Require
from sidecar.http.headers import header_values
from sidecar.http.problems import overloaded, rate_limited
from sidecar.http.request import Request, Response
from sidecar.http.schemas import Secret, Text
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Overloaded
from sidecar.identity.login import AccountRequired, FirstStep, ResetRequired, SecondFactorRequired, SignIn
from sidecar.identity.revocation_wait import already_everywhere
from sidecar.identity.sessions import Grant, InvalidGrant, Issuer, refresh
from sidecar.store.errors import gather_all
from sidecar.store.outcomes import ActorChanged, NoUser, Position
from sidecar.store.sessions import StoreBehind
from sidecar.tokens.challenges import ChallengePurpose
from sidecar.tokens.claims import Claims

REFRESH: Final = "/v1/session/refresh"

MAX_PROOFS: Final = 8
"""Access cookies that a sign-out verifies. A browser has one, and each costs a signature verification."""


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
    refused = refuse_other_page(call)
    if refused is not None:
        return refused
    account = call.body.account if isinstance(call.body.account, str) else ""
    claim = SignIn(call.body.username, call.body.password, account or None, browser=True)
    outcome = await call.app.people.login.sign_in(claim, call.client)
    count_login(call, outcome)
    if isinstance(outcome, SecondFactorRequired):
        return await second_step(call, outcome)
    return _signed_in(call, outcome)


async def second_step(call: Request[SignInBody], required: SecondFactorRequired) -> Problem:
    """Return a challenge after the right password (R36)."""
    issued = await call.app.people.factors.sign_in.challenge(required.record.id, ChallengePurpose.SIGN_IN)
    if isinstance(issued, NoUser):
        return _signed_out()
    extra = msgspec.to_builtins(to_challenge(issued))
    return Problem(
        Code.SECOND_FACTOR_REQUIRED, "the password is right; answer the challenge at POST /v1/session/factor", extra
    )


def _signed_out() -> Problem:
    return Problem(Code.INVALID_CREDENTIALS, "the e-mail or the password is wrong or no longer valid")


def _signed_in(call: Request[SignInBody], outcome: FirstStep) -> Response | Problem:
    match outcome:
        case Grant():
            return Response(204, None, session_cookies(call, outcome))
        case InvalidGrant():
            return _signed_out()
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
        return problem_of(call, Reason.MISSING_TOKEN)
    if len(sent.access) > 1:
        return problem_of(call, Reason.BAD_REQUEST)
    claims = call.app.pdp.session_of(sent.access[0])
    if isinstance(claims, Reason):
        return problem_of(call, claims)
    people = call.app.people
    fitting = _fitting_refresh(people.issuer, sent.refresh, claims)
    if fitting is None:
        return problem_of(call, Reason.SESSION_ENDED)
    outcome = await refresh(people.issuer, people.sessions, people.fleet, fitting, call.client)
    match outcome:
        case Grant():
            return Response(204, None, session_cookies(call, outcome))
        case InvalidGrant():
            return problem_of(call, Reason.SESSION_ENDED)
        case Limited(retry_after):
            return rate_limited(retry_after)
        case StoreBehind():
            return problem_of(call, Reason.STORE_UNAVAILABLE)
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
        return problem_of(call, proven)
    await _end_sessions(call, proven)
    return Response(204, None, cleared_cookies(call.app.public_config))


async def _sign_out_bearer(call: Request[None]) -> Response | Problem:
    """End the session of the Authorization header. Cookies beside it are ignored (R4)."""
    credential = authorization(call.headers)
    if isinstance(credential, Reason):
        return problem_of(call, credential)
    if credential.proof is CredentialSource.HEADER:
        caller = await identify(call.app, "DELETE", call.headers)
        if isinstance(caller, Reason):
            return problem_of(call, caller)
        await _end_sessions(call, {caller.record.id: {caller.claims.session}})
    return Response(204, None, cleared_cookies(call.app.public_config))


def _cookies(call: Request[None]) -> SessionCookies | Problem:
    """Return the session cookies, if the sidecar's own page sent them (R5).

    None beside an Authorization header (R4).
    """
    if header_values(call.headers, b"authorization"):
        credential = authorization(call.headers)
        return problem_of(call, credential) if isinstance(credential, Reason) else SessionCookies((), ())
    found = session_cookies_of(call.headers, call.app.public_config.cookie)
    if found.any and not same_site(call.headers, method="POST", origins=call.app.public_config.origins):
        return problem_of(call, Reason.CROSS_SITE, explain_cross_site(call.app, call.headers))
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
