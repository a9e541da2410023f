"""Construction of the identity services for the API and the command line."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sidecar.identity.hash_limits import LoginLimits
from sidecar.identity.hashing import Hashing
from sidecar.identity.invitations import InvitationService
from sidecar.identity.login import Login
from sidecar.identity.outbox import Outbox
from sidecar.identity.password_change import PasswordChange
from sidecar.identity.password_reset import PasswordReset, PasswordResetRequests
from sidecar.identity.sessions import Clock, Entropy, Issuer
from sidecar.identity.users import UserAdmin
from sidecar.store.accounts import Accounts
from sidecar.store.audit import Audit
from sidecar.store.connection import Store
from sidecar.store.federated_identities import FederatedIdentities
from sidecar.store.invitations import Invitations
from sidecar.store.live.fleet import Fleet
from sidecar.store.sessions import Sessions
from sidecar.store.users import Users
from sidecar.tokens.opaque import Pepper


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
    inviting: InvitationService


def build_services(  # noqa: PLR0913 (the parts, each from its own place)
    store: Store,
    fleet: Fleet,
    *,
    hashing: Hashing,
    issuer: Issuer,
    limits: LoginLimits,
    pepper: Pepper,
    entropy: Entropy,
    public_url: str,
    invite_ttl: int,
    outbox: Outbox | None = None,
    clock: Clock = time.time,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> IdentityServices:
    """Construct the services, without reading a setting or opening a connection."""
    accounts, users, sessions = Accounts(store), Users(store), Sessions(store)
    reset = PasswordReset(
        users=users, hashing=hashing, issuer=issuer, fleet=fleet, pepper=pepper, public_url=public_url, clock=clock
    )
    return IdentityServices(
        accounts=accounts,
        audit=Audit(store),
        users=users,
        sessions=sessions,
        fleet=fleet,
        hashing=hashing,
        issuer=issuer,
        login=Login(
            accounts=accounts,
            users=users,
            sessions=sessions,
            hashing=hashing,
            issuer=issuer,
            limits=limits,
            fleet=fleet,
            pause=pause,
        ),
        password_change=PasswordChange(users=users, hashing=hashing, issuer=issuer, limits=limits, fleet=fleet),
        password_reset=reset,
        forgotten=PasswordResetRequests(users=users, accounts=accounts, reset=reset, outbox=outbox, limits=limits),
        membership=UserAdmin(users=users, links=FederatedIdentities(store), fleet=fleet),
        inviting=InvitationService(
            invitations=Invitations(store),
            accounts=accounts,
            users=users,
            hashing=hashing,
            issuer=issuer,
            pepper=pepper,
            entropy=entropy,
            public_url=public_url,
            ttl=invite_ttl,
            outbox=outbox,
            limits=limits,
        ),
    )
