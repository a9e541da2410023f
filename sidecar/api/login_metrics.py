"""Metrics of sign-ins and step-ups, for all endpoints that sign in. Failures have a line in the log, too."""

from typing import Any, Final

from sidecar.api.sign_in_log import FAILURE_LOG, FailureEvent
from sidecar.http.request import Request
from sidecar.identity.factors.attempts import WrongCode
from sidecar.identity.factors.sign_in import FactorSignInOutcome
from sidecar.identity.factors.step_up import RaisedSession, StepUpOutcome
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Overloaded
from sidecar.identity.login import AccountRequired, LoginOutcome, ResetRequired, SecondFactorRequired
from sidecar.identity.password_proof import WrongPassword
from sidecar.identity.sessions import Grant, InvalidGrant
from sidecar.store.factor_proofs import FactorRequired
from sidecar.store.outcomes import ActorChanged
from sidecar.telemetry.tracing import current

_LABELS: Final[dict[type[Any], str]] = {
    Grant: "granted",
    InvalidGrant: "invalid_grant",
    AccountRequired: "account_required",
    ResetRequired: "password_reset_required",
    SecondFactorRequired: "second_factor_required",
    WrongCode: "wrong_code",
    Limited: "rate_limited",
    Overloaded: "overloaded",
}


def count_login(call: Request[Any], outcome: LoginOutcome | FactorSignInOutcome) -> None:
    """Count a login by its outcome, and log a failure. The second step counts as one more."""
    label = _LABELS[type(outcome)]
    call.app.metrics.logins.labels(label).inc()
    span = current()
    if span is not None:
        span.set("sidecar.login.outcome", label)
    if isinstance(outcome, InvalidGrant | WrongCode | Limited) or outcome == AccountRequired(proven=False):
        FAILURE_LOG.failed(FailureEvent.SIGN_IN, label, address=call.address, request_id=call.request_id)


_STEP_UPS: Final[dict[type[Any], str]] = {
    RaisedSession: "raised",
    WrongCode: "wrong_code",
    WrongPassword: "wrong_password",
    FactorRequired: "second_factor_required",
    ActorChanged: "actor_changed",
    Limited: "rate_limited",
    Overloaded: "overloaded",
}


def count_step_up(call: Request[Any], outcome: StepUpOutcome) -> None:
    """Count a step-up by its outcome, and log a failure."""
    label = _STEP_UPS[type(outcome)]
    call.app.metrics.step_ups.labels(label).inc()
    if isinstance(outcome, WrongCode | WrongPassword | Limited):
        FAILURE_LOG.failed(FailureEvent.STEP_UP, label, address=call.address, request_id=call.request_id)
