"""Identity services as one value, for the API and the command line. server/container_identity.py builds it."""

from dataclasses import dataclass

from sidecar.identity.credential_admin import CredentialAdmin
from sidecar.identity.factors.services import FactorServices
from sidecar.identity.failed_logins import FailedLogins
from sidecar.identity.hashing import Hashing
from sidecar.identity.invitations import InvitationService
from sidecar.identity.login import Login
from sidecar.identity.password_change import PasswordChange
from sidecar.identity.password_reset import PasswordReset, PasswordResetRequests
from sidecar.identity.profile import Profile
from sidecar.identity.sessions import Issuer
from sidecar.identity.user_creation import UserCreation
from sidecar.identity.users import UserAdmin
from sidecar.store.accounts import Accounts
from sidecar.store.audit import Audit
from sidecar.store.live.fleet import Fleet
from sidecar.store.sessions import Sessions
from sidecar.store.users import Users


@dataclass(frozen=True, slots=True)
class IdentityServices:
    """Identity services, one set per worker, and the store objects for operations without a policy decision."""

    accounts: Accounts
    audit: Audit
    users: Users
    sessions: Sessions
    fleet: Fleet
    hashing: Hashing
    issuer: Issuer
    login: Login
    password_change: PasswordChange
    password_reset: PasswordReset
    forgotten: PasswordResetRequests
    membership: UserAdmin
    profile: Profile
    inviting: InvitationService
    credentials: CredentialAdmin
    creation: UserCreation
    failed_logins: FailedLogins
    factors: FactorServices
