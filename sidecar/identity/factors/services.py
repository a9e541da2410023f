"""Services of second factors as one value, for the API and the command line."""

from dataclasses import dataclass

from sidecar.identity.factors.enrolment import FactorEnrolment
from sidecar.identity.factors.factor_admin import FactorAdmin
from sidecar.identity.factors.sign_in import FactorSignIn
from sidecar.identity.factors.step_up import StepUp


@dataclass(frozen=True, slots=True)
class FactorServices:
    """Services of second factors, one set per worker."""

    sign_in: FactorSignIn
    step_up: StepUp
    enrolment: FactorEnrolment
    admin: FactorAdmin
