"""Problems for the outcomes that several user operations share: the cause and the remedy."""

from typing import assert_never

from sidecar.domain.problems import Code, Problem
from sidecar.identity.passwords import Weaknesses
from sidecar.identity.role_assignment import RoleAboveYours, UnknownRole
from sidecar.store.outcomes import AccountSuspended, ActorChanged, IdempotencyMismatch

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


def actor_changed() -> Problem:
    return Problem(
        Code.ACTOR_CHANGED, "conflict: your account or the user changed during the request; reload and try again"
    )


def not_found(what: str) -> Problem:
    return Problem(Code.NOT_FOUND, f"{what} not found")


def bad_name() -> Problem:
    return Problem(Code.BAD_REQUEST, "name must be one line of at most 100 visible characters - at `$.name`")


def overloaded(retry_after: int) -> Problem:
    return Problem(Code.OVERLOADED, "too many passwords are being checked; try again shortly", retry_after=retry_after)


def rate_limited(retry_after: int) -> Problem:
    return Problem(Code.RATE_LIMITED, f"too many attempts; try again in {retry_after} s", retry_after=retry_after)


def weak_password(weaknesses: Weaknesses) -> Problem:
    advice = "; ".join(one.advice for one in weaknesses)
    each = [{"code": one.value, "advice": one.advice} for one in weaknesses]
    return Problem(Code.WEAK_PASSWORD, f"password rejected: {advice}", {"weaknesses": each})
