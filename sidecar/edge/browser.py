"""Sessions of browsers: the two tokens live in cookies that no script can read, and stand in no body (R4, R5).

``POST /v1/session`` signs in, ``POST /v1/session/refresh`` renews, ``DELETE /v1/session`` signs out. Refuses whatever a
page of another site could have sent. The access cookie is ``SameSite=Lax``: a link in a mail that leads to the
dashboard has to find its reader signed in, and R5's checks stand before everything that changes something. The refresh
cookie is ``Strict``: only our own pages ever send it.
"""

from typing import Any, Final, assert_never

import msgspec

from sidecar.accounts.hashing import Overloaded
from sidecar.accounts.limits import Limited
from sidecar.accounts.login import AccountRequired, LoginOutcome, ResetRequired, SignIn
from sidecar.accounts.revocation import everywhere
from sidecar.accounts.sessions import Grant, InvalidGrant, refresh
from sidecar.edge.answers import REALM, Answer
from sidecar.edge.call import Call, Endpoint, Gate, Reply
from sidecar.edge.cookies import LOOPBACK_REFRESH_COOKIE, REFRESH_COOKIE
from sidecar.edge.credentials import HOST_COOKIE, RawHeaders, credential
from sidecar.edge.guard import explain_cross_site, identify
from sidecar.edge.parts import Surface
from sidecar.edge.people import Secret, Text, client_of, count_login
from sidecar.edge.problems import of_reason, problem_answer
from sidecar.edge.refusals import overloaded, rate_limited
from sidecar.edge.same_site import origin_of, same_site
from sidecar.store.sessions import Ended, StoreBehind
from sidecar.vocabulary.access import Credential, Proof
from sidecar.vocabulary.decision import Reason, Verdict
from sidecar.vocabulary.people import Actor, SessionId, UserId
from sidecar.vocabulary.problems import Code, Problem

SESSION: Final = "/v1/session"
REFRESH: Final = "/v1/session/refresh"

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
    """``POST /v1/session/refresh``: by the refresh cookie alone. A retry within the grace gets the same pair (R14)."""
    given = _refresh_cookie(call)
    if isinstance(given, Reason):
        return _of(call, given)
    if given.proof is not Proof.COOKIE:
        return _of(call, Reason.MISSING_TOKEN)
    people = call.parts.people
    outcome = await refresh(people.issuer, people.sessions, given.token, client_of(call))
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
    """``DELETE /v1/session``: the session is dead everywhere when this answers, and both cookies are gone.

    Also when there was nothing to end: whoever signs out wants to be out, not to be told that the token had expired.
    """
    given = _refresh_cookie(call)
    if isinstance(given, Reason):
        return _of(call, given)
    people = call.parts.people
    presented = people.issuer.read(given.token) if given.proof is Proof.COOKIE else None
    if presented is not None:
        await _end(call, presented.user, presented.session)
        return Reply(204, None, _cleared(call.parts.surface))
    caller = await identify(call.parts, "DELETE", call.headers)
    if not isinstance(caller, Reason):
        await _end(call, caller.record.id, caller.claims.session)
    elif caller.verdict is not Verdict.UNAUTHENTICATED or given.proof is Proof.HEADER:
        return _of(call, caller)
    return Reply(204, None, _cleared(call.parts.surface))


async def _end(call: Call[None], user: UserId, session: SessionId) -> None:
    people = call.parts.people
    actor = Actor.bearer(user, address=call.address, request_id=call.request_id)
    ended = await people.sessions.end(user, (session,), actor)
    if isinstance(ended, Ended):
        await everywhere(people.fleet, ended.position)


def _refresh_cookie(call: Call[None]) -> Credential | Reason:
    """The refresh cookie as R4 reads any: not beside an Authorization header, never twice, and from our pages (R5)."""
    given = credential(call.headers, _refresh_name(call.parts.surface))
    if isinstance(given, Reason):
        return given
    if given.proof is Proof.COOKIE and not same_site(call.headers, method="POST", origins=call.parts.surface.origins):
        return Reason.CROSS_SITE
    return given


def session_cookies(call: Call[Any], grant: Grant) -> Headers:
    """Both cookies of a fresh pair, each living as long as its token may."""
    surface = call.parts.surface
    return (
        _cookie(surface, surface.cookie, grant.access_token, grant.expires_in),
        _cookie(surface, _refresh_name(surface), grant.refresh_token, call.parts.people.issuer.refresh_ttl),
    )


def _cleared(surface: Surface) -> Headers:
    return (_cookie(surface, surface.cookie, "", 0), _cookie(surface, _refresh_name(surface), "", 0))


def _cookie(surface: Surface, name: str, value: str, seconds: int) -> tuple[str, str]:
    """No Domain: only the host that set it gets it back. Secure wherever the public URL is https (R4)."""
    path, site = ("/", "Lax") if name == surface.cookie else (SESSION, "Strict")
    secure = "; Secure" if surface.cookie == HOST_COOKIE else ""
    return "Set-Cookie", f"{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly{secure}; SameSite={site}"


def _refresh_name(surface: Surface) -> str:
    return REFRESH_COOKIE if surface.cookie == HOST_COOKIE else LOOPBACK_REFRESH_COOKIE


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
