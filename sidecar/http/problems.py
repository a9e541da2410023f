"""Problem responses: ``application/problem+json`` (RFC 9457), one schema for all errors of the API."""

from typing import Any, assert_never

import msgspec

from sidecar.domain.decision import Decision, Reason, Verdict
from sidecar.domain.problems import Code, Problem
from sidecar.http.response import REALM, RawResponse, challenge, step_up_challenge
from sidecar.identity.display_names import NAME_RULE
from sidecar.identity.passwords import Weaknesses
from sidecar.identity.role_assignment import RoleAboveYours, UnknownRole
from sidecar.store.outcomes import AccountSuspended, ActorChanged, IdempotencyMismatch

TITLES: dict[int, str] = {
    400: "Bad request",
    401: "Authentication required",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    410: "Gone",
    413: "Too large",
    422: "Unprocessable content",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available",
}


def of_reason(reason: Reason, generation: str, detail: str = "") -> Problem:
    """Return a denial as a problem with the gateways' reason and message. ``detail`` replaces the message as detail."""
    detail = detail or reason.message
    extra = {"decision": False, "reason": reason.value, "message": reason.message, "generation": generation}
    match reason.verdict:
        case Verdict.UNAUTHENTICATED:
            return Problem(Code.UNAUTHENTICATED, detail, extra)
        case Verdict.UNKNOWN:
            return Problem(_UNKNOWN[reason], detail, extra, retry_after=1)
        case Verdict.DENY | Verdict.ALLOW:
            code = _DENIALS.get(reason, Code.FORBIDDEN)  # fails closed: an unlisted reason is a 403
            return Problem(code, detail, extra)


def of_decision(decision: Decision) -> Problem:
    """Return a denial as a problem. Unmet needs add ``unmet``, ``max_age``, ``acr_values`` and ``enrol``."""
    denial = of_reason(decision.reason, decision.generation)
    missing = decision.missing
    if missing is None:
        return denial
    code = Code.STEP_UP_REQUIRED if decision.reason is Reason.STEP_UP_REQUIRED else Code.CONDITION_UNMET
    members: dict[str, Any] = {"max_age": missing.max_age, "acr_values": missing.acr_values, "enrol": missing.enrol}
    present = {name: value for name, value in members.items() if value}
    return Problem(code, denial.detail, {**denial.extra, "unmet": list(missing.names), **present})


_UNKNOWN = {
    Reason.STORE_UNAVAILABLE: Code.STORE_UNAVAILABLE,
    Reason.POLICY_UNAVAILABLE: Code.POLICY_UNAVAILABLE,
    Reason.OVERLOADED: Code.OVERLOADED,
}
_DENIALS = {Reason.CROSS_SITE: Code.CROSS_SITE}


OUT_OF_SCOPE = f'Bearer realm="{REALM}", error="insufficient_scope"'


def described_by_header(problem: Problem) -> list[tuple[str, str]]:
    """Return the headers of the PEP endpoints: reason, challenge (RFC 6750 section 3) and Retry-After."""
    headers = []
    if "reason" in problem.extra:
        headers.append(("X-Auth-Reason", problem.extra["reason"]))
    if problem.status == 401:
        headers.append(("WWW-Authenticate", challenge(Reason(problem.extra["reason"]))))
    if problem.status == 403:
        headers.append(("WWW-Authenticate", OUT_OF_SCOPE))
    if problem.retry_after is not None:
        headers.append(("Retry-After", str(problem.retry_after)))
    return headers


def problem_answer(problem: Problem) -> RawResponse:
    """Encode a problem.

    A denial gets the gateways' reason headers, a 401 its challenge, a temporary error Retry-After.
    """
    headers = [("Cache-Control", "no-store"), ("Content-Type", "application/problem+json")]
    if "generation" in problem.extra:
        reason = Reason(problem.extra["reason"])
        headers += [("X-Auth-Reason", reason.value), ("X-Auth-Generation", problem.extra["generation"])]
        if problem.status == 401 and problem.code is not Code.STEP_UP_REQUIRED:
            headers.append(("WWW-Authenticate", challenge(reason)))
    if problem.code is Code.STEP_UP_REQUIRED:
        headers.append(("WWW-Authenticate", _step_up_challenge(problem.extra)))
    if "allow" in problem.extra:
        headers.append(("Allow", problem.extra["allow"]))
    if problem.retry_after is not None:
        headers.append(("Retry-After", str(problem.retry_after)))
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": TITLES[problem.status],
        "status": problem.status,
        "code": problem.code.value,
        "detail": problem.detail,
        **problem.extra,
    }
    return RawResponse(problem.status, tuple(headers), msgspec.json.encode(body))


# -- outcomes that several user operations share: the cause and the remedy ---------------------------------------------

Refusal = UnknownRole | RoleAboveYours | ActorChanged | AccountSuspended | IdempotencyMismatch


def refusal(outcome: Refusal) -> Problem:
    """Return the problem of a shared outcome."""
    match outcome:
        case UnknownRole(role, known, nearest):
            hint = f' (did you mean "{nearest}"?)' if nearest else ""
            return Problem(
                Code.UNKNOWN_ROLE,
                f'"{role}" is not an assignable role{hint}; use one of {", ".join(known)}',
                {"roles": list(known), "nearest": nearest},
            )
        case RoleAboveYours(role, now=True):
            return Problem(
                Code.ROLE_ABOVE_YOURS,
                f'"{role}" has permissions whose needs you do not meet now; GET /v1/me/permissions names them',
            )
        case RoleAboveYours(role):
            return Problem(
                Code.ROLE_ABOVE_YOURS, f'"{role}" has permissions that your own role lacks; ask a user with that role'
            )
        case ActorChanged():
            return actor_changed()
        case AccountSuspended():
            return Problem(Code.ACCOUNT_SUSPENDED, "the account is suspended; users cannot be added")
        case IdempotencyMismatch():
            return Problem(Code.IDEMPOTENCY_MISMATCH, "this Idempotency-Key was used with another body; use a new key")
        case _:
            assert_never(outcome)


def _step_up_challenge(members: dict[str, Any]) -> str:
    """Return the challenge of a problem with these members."""
    description = members.get("message", "a recent proof of the sign-in is required")
    return step_up_challenge(description, members.get("max_age"), members.get("acr_values"))


def step_up_required(max_age: int) -> Problem:
    """Return the problem of a call that needs a recent proof of the sign-in. ``max_age``: seconds."""
    return Problem(
        Code.STEP_UP_REQUIRED,
        f"prove your sign-in again: POST /v1/session/step-up; the last proof must be at most {max_age // 60} minutes "
        "old, and of a second factor if you have one",
        {"max_age": max_age},
    )


def actor_changed() -> Problem:
    return Problem(
        Code.ACTOR_CHANGED, "conflict: your account or the user changed during the request; reload and try again"
    )


def not_found(what: str) -> Problem:
    return Problem(Code.NOT_FOUND, f"{what} not found")


def bad_name() -> Problem:
    return Problem(Code.BAD_REQUEST, f"name {NAME_RULE} - at `$.name`")


def overloaded(retry_after: int) -> Problem:
    return Problem(Code.OVERLOADED, "too many passwords are being checked; try again shortly", retry_after=retry_after)


def rate_limited(retry_after: int) -> Problem:
    return Problem(Code.RATE_LIMITED, f"too many attempts; try again in {retry_after} s", retry_after=retry_after)


def weak_password(weaknesses: Weaknesses) -> Problem:
    advice = "; ".join(one.advice for one in weaknesses)
    each = [{"code": one.value, "advice": one.advice} for one in weaknesses]
    return Problem(Code.WEAK_PASSWORD, f"password rejected: {advice}", {"weaknesses": each})
