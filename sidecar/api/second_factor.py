"""Second step of a browser's sign-in, sign-in by a passkey, and step-up (R36, R38, R41).

Calls that set cookies are JSON, from a page with exactly the public URL's origin, as the sign-in is (R5).
"""

from typing import Any, Final, assert_never

from sidecar.api.factor_serializers import to_attempt, to_challenge, to_stepped_up
from sidecar.api.login_metrics import count_login, count_step_up
from sidecar.api.serializers import revocation_headers
from sidecar.api.session_cookies import SESSION, refuse_other_page, render_problem, session_cookies
from sidecar.domain.access import CredentialSource
from sidecar.domain.problems import Code, Problem
from sidecar.http.endpoint import Endpoint, Require
from sidecar.http.factor_schemas import ChallengeBody, FactorAnswerBody, PasskeyAnswerBody, SteppedUpBody, StepUpBody
from sidecar.http.problems import actor_changed, overloaded, rate_limited
from sidecar.http.request import Request, Response
from sidecar.identity.factors.attempts import Attempt, WrongCode
from sidecar.identity.factors.passkeys import UNAVAILABLE
from sidecar.identity.factors.step_up import RaisedSession, StepUpOutcome
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Overloaded
from sidecar.identity.password_proof import WrongPassword
from sidecar.identity.sessions import Grant
from sidecar.store.factor_proofs import FactorRequired
from sidecar.store.outcomes import ActorChanged, NoUser
from sidecar.tokens.challenges import ChallengePurpose

_ONE: Final = Problem(Code.BAD_REQUEST, "send challenge with exactly one of code, recovery_code and credential")


async def answer(call: Request[FactorAnswerBody]) -> Response | Problem:
    """Answer the challenge of a sign-in (``POST /v1/session/factor``)."""
    refused = refuse_other_page(call)
    if refused is not None:
        return refused
    attempt = to_attempt(call.body)
    return _ONE if attempt is None else await _sign_in(call, attempt, ChallengePurpose.SIGN_IN)


async def passkey_options(call: Request[None]) -> Response | Problem:
    """Return options for any passkey of this site (``POST /v1/session/passkey/options``)."""
    refused = refuse_other_page(call)
    if refused is not None:
        return refused
    service = call.app.people.factors.sign_in
    if not service.passkeys_available:
        return passkeys_unavailable()
    return Response(200, to_challenge(service.passkey_options()))


async def passkey(call: Request[PasskeyAnswerBody]) -> Response | Problem:
    """Sign a browser in by a passkey alone (``POST /v1/session/passkey``)."""
    refused = refuse_other_page(call)
    if refused is not None:
        return refused
    if not call.app.people.factors.sign_in.passkeys_available:
        return passkeys_unavailable()
    attempt = to_attempt(call.body)
    return _ONE if attempt is None else await _sign_in(call, attempt, ChallengePurpose.PASSKEY)


async def _sign_in(call: Request[Any], attempt: Attempt, purpose: ChallengePurpose) -> Response | Problem:
    outcome = await call.app.people.factors.sign_in.sign_in(attempt, purpose, call.client)
    count_login(call, outcome)
    match outcome:
        case Grant():
            return Response(204, None, session_cookies(call, outcome))
        case WrongCode():
            return wrong_code()
        case Limited(retry_after):
            return rate_limited(retry_after)
        case _:
            assert_never(outcome)


async def step_up_options(call: Request[None]) -> Response | Problem:
    """Return a challenge for the caller (``POST /v1/session/step-up/options``)."""
    if _is_browser(call) and (refused := refuse_other_page(call)) is not None:
        return refused
    issued = await call.app.people.factors.step_up.options(call.caller.record)
    return actor_changed() if isinstance(issued, NoUser) else Response(200, to_challenge(issued))


async def step_up(call: Request[StepUpBody]) -> Response | Problem:
    """Prove the caller's sign-in again (``POST /v1/session/step-up``). The session goes on, with the same end."""
    browser = _is_browser(call)
    if browser and (refused := refuse_other_page(call)) is not None:
        return refused
    attempt, password, service = to_attempt(call.body), call.body.password, call.app.people.factors.step_up
    if isinstance(password, str) and call.body == StepUpBody(password=password):
        outcome = await service.by_password(call.actor, password, call.client, browser=browser)
    elif attempt is not None and not isinstance(password, str):
        outcome = await service.by_factor(call.actor, attempt, call.client, browser=browser)
    else:
        return Problem(Code.BAD_REQUEST, f"send password alone, or {_ONE.detail.removeprefix('send ')}")
    count_step_up(call, outcome)
    return _stepped_up(call, outcome)


def _stepped_up(call: Request[StepUpBody], outcome: StepUpOutcome) -> Response | Problem:
    match outcome:
        case RaisedSession(_, grant, revocation, seconds_left):
            cookies = () if grant is None else session_cookies(call, grant, seconds_left)
            return Response(200, to_stepped_up(outcome), (*cookies, *revocation_headers(revocation)))
        case WrongCode():
            return wrong_code()
        case WrongPassword():
            return Problem(Code.WRONG_PASSWORD, "the password is wrong", as_status=401)
        case FactorRequired():
            detail = "you have a second factor; answer a challenge of POST /v1/session/step-up/options with it"
            return Problem(Code.SECOND_FACTOR_REQUIRED, detail, as_status=403)
        case ActorChanged():
            return actor_changed()
        case Limited(retry_after):
            return rate_limited(retry_after)
        case Overloaded(retry_after):
            return overloaded(retry_after)
        case _:
            assert_never(outcome)


def _is_browser(call: Request[Any]) -> bool:
    return call.caller.proof is CredentialSource.COOKIE


def wrong_code() -> Problem:
    """Return the problem of every wrong answer. It is the same for each cause."""
    return Problem(Code.WRONG_CODE, "the code or the credential is wrong, or the challenge is no longer valid")


def passkeys_unavailable() -> Problem:
    return Problem(Code.PASSKEYS_UNAVAILABLE, UNAVAILABLE)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        SESSION + "/factor",
        Require.OPEN,
        answer,
        "Answer the second step of a browser's sign-in: sets the cookies",
        FactorAnswerBody,
        statuses=(204, 400, 401, 403, 413, 429, 503),
        render_problem=render_problem,
    ),
    Endpoint(
        "POST",
        SESSION + "/passkey/options",
        Require.OPEN,
        passkey_options,
        "Options for a sign-in by a passkey alone",
        statuses=(200, 400, 403, 409),
        render_problem=render_problem,
        response_schema=ChallengeBody,
    ),
    Endpoint(
        "POST",
        SESSION + "/passkey",
        Require.OPEN,
        passkey,
        "Sign a browser in by a passkey alone: sets the cookies",
        PasskeyAnswerBody,
        statuses=(204, 400, 401, 403, 409, 413, 429, 503),
        render_problem=render_problem,
    ),
    Endpoint(
        "POST",
        SESSION + "/step-up/options",
        Require.SIGNED_IN,
        step_up_options,
        "A challenge for the step-up of my session",
        statuses=(200, 400, 403, 409),
        response_schema=ChallengeBody,
    ),
    Endpoint(
        "POST",
        SESSION + "/step-up",
        Require.SIGNED_IN,
        step_up,
        "Prove my sign-in again; the session goes on",
        StepUpBody,
        statuses=(200, 400, 401, 403, 409, 429, 503),
        render_problem=render_problem,
        response_schema=SteppedUpBody,
    ),
)
