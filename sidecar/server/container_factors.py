"""Wiring of the services of second factors."""

from sidecar.identity.factors.attempts import FactorAttempts
from sidecar.identity.factors.enrolment import FactorEnrolment
from sidecar.identity.factors.factor_admin import FactorAdmin
from sidecar.identity.factors.passkeys import Passkeys
from sidecar.identity.factors.services import FactorServices
from sidecar.identity.factors.sign_in import FactorSignIn
from sidecar.identity.factors.step_up import StepUp
from sidecar.identity.hash_limits import LoginLimits
from sidecar.identity.hashing import Hashing
from sidecar.identity.password_proof import PasswordProofs
from sidecar.identity.security_mails import SecurityMails
from sidecar.identity.sessions import Clock, Entropy, Issuer
from sidecar.store.accounts import Accounts
from sidecar.store.connection import Store
from sidecar.store.factors import Factors
from sidecar.store.live.fleet import Fleet
from sidecar.store.sessions import Sessions
from sidecar.store.users import Users
from sidecar.tokens.opaque import Pepper


def factor_services(  # noqa: PLR0913 (the parts, each from its own place)
    store: Store,
    fleet: Fleet,
    mails: SecurityMails,
    issuer: Issuer,
    limits: LoginLimits,
    hashing: Hashing,
    *,
    pepper: Pepper,
    public_url: str,
    clock: Clock,
    entropy: Entropy,
) -> FactorServices:
    """Return the services. ``public_url``: its host is the passkeys' relying party."""
    factors, users, sessions, passkeys = Factors(store), Users(store), Sessions(store), Passkeys(public_url)
    attempts = FactorAttempts(
        factors=factors,
        limits=limits,
        mails=mails,
        passkeys=passkeys,
        pepper=pepper,
        clock=clock,
        entropy=entropy,
    )
    passwords = PasswordProofs(hashing=hashing, limits=limits)
    return FactorServices(
        sign_in=FactorSignIn(attempts=attempts, sessions=sessions, issuer=issuer, fleet=fleet),
        step_up=StepUp(
            attempts=attempts, users=users, sessions=sessions, passwords=passwords, issuer=issuer, fleet=fleet
        ),
        enrolment=FactorEnrolment(
            factors=factors,
            accounts=Accounts(store),
            limits=limits,
            fleet=fleet,
            mails=mails,
            passkeys=passkeys,
            pepper=pepper,
            clock=clock,
            entropy=entropy,
        ),
        admin=FactorAdmin(users=users, factors=factors, limits=limits, fleet=fleet, mails=mails),
    )
