"""Metrics of sign-ins and step-ups, for all endpoints that sign in."""

from typing import Any, Final

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
    """Count a login by its outcome. The second step counts as one more."""
    call.app.metrics.logins.labels(_LABELS[type(outcome)]).inc()


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
    """Count a step-up by its outcome."""
    call.app.metrics.step_ups.labels(_STEP_UPS[type(outcome)]).inc()
