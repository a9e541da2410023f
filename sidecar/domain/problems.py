"""API problems by stable code (RFC 9457): one HTTP status per code."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Closed list of problem codes. README names each code; clients may switch on it."""

    BAD_REQUEST = "bad_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    CONDITION_UNMET = "condition_unmet"
    CROSS_SITE = "cross_site"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"

    SEAT_LIMIT = "seat_limit"
    ALREADY_MEMBER = "already_member"
    ALREADY_INVITED = "already_invited"
    NOT_INVITED = "not_invited"
    NOT_HELD = "not_held"
    NOT_ACTIVE = "not_active"
    USE_ME = "use_me"
    LAST_ADMIN = "last_admin"
    ROLE_ABOVE_YOURS = "role_above_yours"
    ACTOR_CHANGED = "actor_changed"
    ACCOUNT_SUSPENDED = "account_suspended"
    INVITATION_GONE = "invitation_gone"

    INVALID_CREDENTIALS = "invalid_credentials"
    ACCOUNT_REQUIRED = "account_required"
    PASSWORD_RESET_REQUIRED = "password_reset_required"
    SECOND_FACTOR_REQUIRED = "second_factor_required"
    WRONG_CODE = "wrong_code"
    STEP_UP_REQUIRED = "step_up_required"
    PASSKEYS_UNAVAILABLE = "passkeys_unavailable"
    TOO_MANY_FACTORS = "too_many_factors"
    NO_FACTOR = "no_factor"
    INVALID_EMAIL = "invalid_email"
    UNKNOWN_ROLE = "unknown_role"
    WRONG_PASSWORD = "wrong_password"
    WEAK_PASSWORD = "weak_password"
    SAME_PASSWORD = "same_password"
    PASSWORD_MISMATCH = "password_mismatch"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"

    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    STORE_UNAVAILABLE = "store_unavailable"
    POLICY_UNAVAILABLE = "policy_unavailable"
    INTERNAL_ERROR = "internal_error"


STATUSES: dict[Code, int] = {
    Code.BAD_REQUEST: 400,
    Code.UNAUTHENTICATED: 401,
    Code.FORBIDDEN: 403,
    Code.CONDITION_UNMET: 403,
    Code.CROSS_SITE: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.TOO_LARGE: 413,
    Code.SEAT_LIMIT: 409,
    Code.ALREADY_MEMBER: 409,
    Code.ALREADY_INVITED: 409,
    Code.NOT_INVITED: 409,
    Code.NOT_HELD: 409,
    Code.NOT_ACTIVE: 409,
    Code.USE_ME: 409,
    Code.LAST_ADMIN: 409,
    Code.ROLE_ABOVE_YOURS: 403,
    Code.ACTOR_CHANGED: 409,
    Code.ACCOUNT_SUSPENDED: 409,
    Code.INVITATION_GONE: 410,
    Code.INVALID_CREDENTIALS: 401,
    Code.ACCOUNT_REQUIRED: 400,
    Code.PASSWORD_RESET_REQUIRED: 403,
    Code.SECOND_FACTOR_REQUIRED: 401,
    Code.WRONG_CODE: 401,
    Code.STEP_UP_REQUIRED: 401,
    Code.PASSKEYS_UNAVAILABLE: 409,
    Code.TOO_MANY_FACTORS: 409,
    Code.NO_FACTOR: 409,
    Code.INVALID_EMAIL: 422,
    Code.UNKNOWN_ROLE: 422,
    Code.WRONG_PASSWORD: 403,
    Code.WEAK_PASSWORD: 422,
    Code.SAME_PASSWORD: 422,
    Code.PASSWORD_MISMATCH: 422,
    Code.IDEMPOTENCY_MISMATCH: 422,
    Code.RATE_LIMITED: 429,
    Code.OVERLOADED: 503,
    Code.STORE_UNAVAILABLE: 503,
    Code.POLICY_UNAVAILABLE: 503,
    Code.INTERNAL_ERROR: 500,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Error response of the API. ``detail`` names the object, the value and the remedy, never a secret.

    ``extra`` holds further members of the body (RFC 9457 section 3.2). ``retry_after`` is the header's value in
    seconds. ``as_status`` replaces the code's status at a step-up, where a wrong password is a failed authentication.
    """

    code: Code
    detail: str
    extra: dict[str, Any] = field(default_factory=dict)
    retry_after: int | None = None
    as_status: int | None = None

    @property
    def status(self) -> int:
        return self.as_status or STATUSES[self.code]
