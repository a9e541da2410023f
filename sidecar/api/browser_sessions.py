"""Sessions of browsers: the two tokens live in cookies that no script can read, and stand in no body (R4, R5).

``POST /v1/session`` signs in, ``POST /v1/session/refresh`` renews, ``DELETE /v1/session`` signs out. Refuses whatever a
page of another site could have sent. The access cookie is ``SameSite=Lax``: a link in a mail that leads to the
dashboard has to find its reader signed in, and R5's checks stand before everything that changes something. The refresh
cookie is ``Strict``: only our own pages ever send it.

``__Host-`` keeps the access cookie this host's own. A page of a sibling domain can set the refresh cookie, also beside
ours. So a refresh cookie renews only the session that the access cookie names; any cookie of ours may end its session.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, assert_never

import msgspec

from sidecar.api.serializers import Secret, Text, client_of, count_login
from sidecar.domain.access import Proof
from sidecar.domain.decision import Reason
from sidecar.domain.problems import Code, Problem
from sidecar.domain.users import Actor, SessionId, UserId
from sidecar.gateways.cookie_filter import SessionCookies, refresh_name, session_cookies_of
from sidecar.http.authorization import explain_cross_site, identify
from sidecar.http.context import Parts, Surface
from sidecar.http.credentials import HOST_COOKIE, authorization
from sidecar.http.csrf import origin_of, same_site
from sidecar.http.headers import RawHeaders
from sidecar.http.outcome_problems import overloaded, rate_limited
from sidecar.http.problems import of_reason, problem_answer
from sidecar.http.request import Call, Endpoint, Gate, Reply
from sidecar.http.response import REALM, Answer
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Overloaded
from sidecar.identity.login import AccountRequired, LoginOutcome, ResetRequired, SignIn
from sidecar.identity.revocation_wait import already_everywhere
from sidecar.identity.sessions import Grant, InvalidGrant, Issuer, refresh
from sidecar.store.connection import gathered
from sidecar.store.outcomes import ActorChanged, Position
from sidecar.store.sessions import StoreBehind
from sidecar.tokens.claims import Claims

SESSION: Final = "/v1/session"
REFRESH: Final = "/v1/session/refresh"

MAX_PROOFS: Final = 8
"""Access cookies that a sign-out verifies: a browser has one, and each costs a signature."""

Headers = tuple[tuple[str, str], ...]


class SignInBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``username`` is the e-mail. ``account``, a name or an id: where several accounts know it."""

    username: Text
    password: Secret
    account: Text | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        return "SignInBody(…)"


async def sign_in(call: Call[SignInBody]) -> Reply | Problem:
    """``POST /v1/session``: JSON, from a page of ours: another site's must not sign its visitor in as itself."""
    refused = _refused(call)
    if refused is not None:
        return refused
    account = call.body.account
    claim = SignIn(call.body.username, call.body.password, account if isinstance(account, str) and account else None)
    outcome = await call.parts.people.login.sign_in(claim, client_of(call))
    count_login(call, outcome)
    return _signed_in(call, outcome)


def _refused(call: Call[SignInBody]) -> Problem | None:
    ours = origin_of(call.parts.surface.public_url)
    if _lines(call.headers, b"origin") != [ours.encode("latin-1")]:
        detail = explain_cross_site(call.parts, call.headers) or f"exactly one Origin has to come, and be {ours}"
        return _of(call, Reason.CROSS_SITE, detail)
    types = _lines(call.headers, b"content-type")
    if len(types) != 1 or types[0].partition(b";")[0].strip().lower() != b"application/json":
        return Problem(Code.BAD_REQUEST, "Content-Type must be application/json")
    return None


def _signed_in(call: Call[SignInBody], outcome: LoginOutcome) -> Reply | Problem:
    match outcome:
        case Grant():
            return Reply(204, None, session_cookies(call, outcome))
        case InvalidGrant():
            return Problem(Code.INVALID_CREDENTIALS, "the e-mail or the password is not right, or not any more")
        case AccountRequired():
            return Problem(Code.ACCOUNT_REQUIRED, "several accounts fit; name one in account")
        case ResetRequired():
            return Problem(Code.PASSWORD_RESET_REQUIRED, "ask for a link to set a new password")
        case Limited(retry_after):
            return rate_limited(retry_after)
        case Overloaded(retry_after):
            return overloaded(retry_after)
        case _:
            assert_never(outcome)


async def renew(call: Call[None]) -> Reply | Problem:
    """``POST /v1/session/refresh``: by the refresh cookie of the session that the access cookie names, also an expired
    one. A page of a sibling domain can set a refresh cookie and never an access cookie, so its own session renews
    nothing (R5). A retry within the grace gets the same pair (R14)."""
    given = _cookies(call)
    if isinstance(given, Problem):
        return given
    if not given.refresh or not given.access:
        return _of(call, Reason.MISSING_TOKEN)
    if len(given.access) > 1:
        return _of(call, Reason.BAD_REQUEST)
    claims = call.parts.pdp.session_of(given.access[0])
    if isinstance(claims, Reason):
        return _of(call, claims)
    people = call.parts.people
    fitting = _fitting_refresh(people.issuer, given.refresh, claims)
    if fitting is None:
        return _of(call, Reason.SESSION_ENDED)
    outcome = await refresh(people.issuer, people.sessions, people.fleet, fitting, client_of(call))
    match outcome:
        case Grant():
            return Reply(204, None, session_cookies(call, outcome))
        case InvalidGrant():
            return _of(call, Reason.SESSION_ENDED)
        case Limited(retry_after):
            return rate_limited(retry_after)
        case StoreBehind():
            return _of(call, Reason.STORE_UNAVAILABLE)
        case _:
            assert_never(outcome)


async def sign_out(call: Call[None]) -> Reply | Problem:
    """``DELETE /v1/session``: every session that a cookie proves is dead everywhere when this answers, and both
    cookies are gone.

    Also when there was nothing to end, and when a cookie stands twice: a page of a sibling domain that sets one more
    must not keep anybody signed in (R5).
    """
    if _lines(call.headers, b"authorization"):
        return await _sign_out_bearer(call)
    given = _cookies(call)
    if isinstance(given, Problem):
        return given
    proven = _proven_sessions(call.parts, given)
    if isinstance(proven, Reason):
        return _of(call, proven)
    await _end_sessions(call, proven)
    return Reply(204, None, _cleared(call.parts.surface))


async def _sign_out_bearer(call: Call[None]) -> Reply | Problem:
    """Beside an Authorization header no cookie is read (R4)."""
    given = authorization(call.headers)
    if isinstance(given, Reason):
        return _of(call, given)
    if given.proof is Proof.HEADER:
        caller = await identify(call.parts, "DELETE", call.headers)
        if isinstance(caller, Reason):
            return _of(call, caller)
        await _end_sessions(call, {caller.record.id: {caller.claims.session}})
    return Reply(204, None, _cleared(call.parts.surface))


def _cookies(call: Call[None]) -> SessionCookies | Problem:
    """All of ours that came, from our own pages (R5). None beside an Authorization header (R4)."""
    if _lines(call.headers, b"authorization"):
        given = authorization(call.headers)
        return _of(call, given) if isinstance(given, Reason) else SessionCookies((), ())
    found = session_cookies_of(call.headers, call.parts.surface.cookie)
    if found.any and not same_site(call.headers, method="POST", origins=call.parts.surface.origins):
        return _of(call, Reason.CROSS_SITE, explain_cross_site(call.parts, call.headers))
    return found


def _fitting_refresh(issuer: Issuer, presented: Sequence[str], claims: Claims) -> str | None:
    """The newest refresh token of the session that ``claims`` name; None when there is none. An older one of the same
    session would end it (R14)."""
    read = ((issuer.read(token), token) for token in presented)
    fitting = [
        (refresh.counter, token)
        for refresh, token in read
        if refresh is not None and refresh.user == claims.user and refresh.session == claims.session
    ]
    return max(fitting)[1] if fitting else None


def _proven_sessions(parts: Parts, cookies: SessionCookies) -> Mapping[UserId, set[SessionId]] | Reason:
    """Sessions named by an authentic cookie, per user. OVERLOADED when an access cookie cannot be verified now."""
    found: dict[UserId, set[SessionId]] = {}
    for token in cookies.refresh:
        refresh = parts.people.issuer.read(token)
        if refresh is not None:
            found.setdefault(refresh.user, set()).add(refresh.session)
    for token in list(dict.fromkeys(cookies.access))[:MAX_PROOFS]:
        claims = parts.pdp.session_of(token)
        if claims is Reason.OVERLOADED:
            return claims
        if isinstance(claims, Claims):
            found.setdefault(claims.user, set()).add(claims.session)
    return found


async def _end_sessions(call: Call[Any], proven: Mapping[UserId, set[SessionId]]) -> None:
    """End them, and return once no sidecar accepts a token of theirs. Raises StoreUnavailable."""
    people = call.parts.people

    async def end(user: UserId, sessions: set[SessionId]) -> Position | None:
        actor = Actor.bearer(user, address=call.address, request_id=call.request_id)
        ended = await people.sessions.end(user, sorted(sessions), actor)
        return None if isinstance(ended, ActorChanged) else ended.position

    positions = await gathered(*(end(user, sessions) for user, sessions in proven.items()))
    await gathered(*(already_everywhere(people.fleet, position) for position in positions))


def session_cookies(call: Call[Any], grant: Grant) -> Headers:
    """Both cookies of a fresh pair. Both live as long as the session may: an access cookie whose token has expired
    still proves which session its browser has (R5)."""
    surface, seconds = call.parts.surface, call.parts.people.issuer.refresh_ttl
    return (
        _cookie(surface, surface.cookie, grant.access_token, seconds),
        _cookie(surface, refresh_name(surface.cookie), grant.refresh_token, seconds),
    )


def _cleared(surface: Surface) -> Headers:
    return (_cookie(surface, surface.cookie, "", 0), _cookie(surface, refresh_name(surface.cookie), "", 0))


def _cookie(surface: Surface, name: str, value: str, seconds: int) -> tuple[str, str]:
    """No Domain: only the host that set it gets it back. Secure wherever the public URL is https (R4)."""
    path, site = ("/", "Lax") if name == surface.cookie else (SESSION, "Strict")
    secure = "; Secure" if surface.cookie == HOST_COOKIE else ""
    return "Set-Cookie", f"{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly{secure}; SameSite={site}"


def _lines(headers: RawHeaders, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name.lower() == wanted]


def _of(call: Call[Any], reason: Reason, detail: str = "") -> Problem:
    return of_reason(reason, call.generation.id if call.generation else "", detail)


def tell(problem: Problem) -> Answer:
    """RFC 9110 section 11.6.1: every 401 has a challenge, a refused password too."""
    answer = problem_answer(problem)
    if answer.status != 401 or any(name == "WWW-Authenticate" for name, _ in answer.headers):
        return answer
    return Answer(answer.status, (*answer.headers, ("WWW-Authenticate", f'Bearer realm="{REALM}"')), answer.body)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        SESSION,
        Gate.OPEN,
        sign_in,
        "Sign a browser in: sets the cookies, shows no token",
        SignInBody,
        statuses=(204, 400, 401, 403, 413, 429, 503),
        tell=tell,
    ),
    Endpoint(
        "POST", REFRESH, Gate.OPEN, renew, "Renew a browser's session", statuses=(204, 401, 403, 429, 503), tell=tell
    ),
    Endpoint("DELETE", SESSION, Gate.OPEN, sign_out, "Sign a browser out", statuses=(204, 401, 403, 503), tell=tell),
)
