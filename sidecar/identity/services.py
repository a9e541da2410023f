"""Construction of the identity services for the API and the command line."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sidecar.identity.hash_limits import Limits
from sidecar.identity.hashing import Hashing
from sidecar.identity.invitations import Inviting
from sidecar.identity.login import Login
from sidecar.identity.outbox import Outbox
from sidecar.identity.password_change import PasswordChange
from sidecar.identity.password_reset import Forgotten, PasswordReset
from sidecar.identity.sessions import Clock, Entropy, Issuer
from sidecar.identity.users import Membership
from sidecar.store.accounts import Accounts
from sidecar.store.audit import Audit
from sidecar.store.connection import Store
from sidecar.store.federated_identities import Links
from sidecar.store.invitations import Invitations
from sidecar.store.live.fleet import Fleet
from sidecar.store.sessions import Sessions
from sidecar.store.users import Users
from sidecar.tokens.opaque import Pepper


@dataclass(frozen=True, slots=True)
class People:
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
    forgotten: Forgotten
    membership: Membership
    inviting: Inviting


def people(  # noqa: PLR0913 (the parts, each from its own place)
    store: Store,
    fleet: Fleet,
    *,
    hashing: Hashing,
    issuer: Issuer,
    limits: Limits,
    pepper: Pepper,
    entropy: Entropy,
    public_url: str,
    invite_ttl: int,
    outbox: Outbox | None = None,
    clock: Clock = time.time,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> People:
    """Construct the services, without reading a setting or opening a connection."""
    accounts, users, sessions = Accounts(store), Users(store), Sessions(store)
    reset = PasswordReset(
        users=users, hashing=hashing, issuer=issuer, fleet=fleet, pepper=pepper, public_url=public_url, clock=clock
    )
    return People(
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
        forgotten=Forgotten(users=users, accounts=accounts, reset=reset, outbox=outbox, limits=limits),
        membership=Membership(users=users, links=Links(store), fleet=fleet),
        inviting=Inviting(
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
