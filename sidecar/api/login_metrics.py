"""Metric of sign-ins, for all endpoints that sign in."""

from typing import Any, Final

from sidecar.http.request import Request
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Overloaded
from sidecar.identity.login import AccountRequired, LoginOutcome, ResetRequired
from sidecar.identity.sessions import Grant, InvalidGrant

_LABELS: Final[dict[type[Any], str]] = {
    Grant: "granted",
    InvalidGrant: "invalid_grant",
    AccountRequired: "account_required",
    ResetRequired: "password_reset_required",
    Limited: "rate_limited",
    Overloaded: "overloaded",
}


def count_login(call: Request[Any], outcome: LoginOutcome) -> None:
    """Count a login by its outcome."""
    call.app.metrics.logins.labels(_LABELS[type(outcome)]).inc()
