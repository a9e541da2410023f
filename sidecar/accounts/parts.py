"""Everything that has to do with people, put together: what the edge and the command line are handed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sidecar.accounts.hashing import Hashing
from sidecar.accounts.invitations import Inviting
from sidecar.accounts.limits import Limits
from sidecar.accounts.login import Login
from sidecar.accounts.password_change import PasswordChange
from sidecar.accounts.sessions import Entropy, Issuer
from sidecar.accounts.users import Membership
from sidecar.store.accounts import Accounts
from sidecar.store.connection import Store
from sidecar.store.fleet import Fleet
from sidecar.store.invitations import Invitations
from sidecar.store.sessions import Sessions
from sidecar.store.users import Users
from sidecar.tokens.opaque import Pepper


@dataclass(frozen=True, slots=True)
class People:
    """One a worker. The rooms' own things, and the store's nouns for what needs no judgement."""

    accounts: Accounts
    users: Users
    sessions: Sessions
    fleet: Fleet
    hashing: Hashing
    issuer: Issuer
    login: Login
    password_change: PasswordChange
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
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> People:
    """Wire them. Nothing here reads a setting or opens a connection."""
    accounts, users, sessions = Accounts(store), Users(store), Sessions(store)
    return People(
        accounts=accounts,
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
            pause=pause,
        ),
        password_change=PasswordChange(users=users, hashing=hashing, issuer=issuer, limits=limits, fleet=fleet),
        membership=Membership(users=users, fleet=fleet),
        inviting=Inviting(
            invitations=Invitations(store),
            users=users,
            hashing=hashing,
            issuer=issuer,
            pepper=pepper,
            entropy=entropy,
            public_url=public_url,
            ttl=invite_ttl,
        ),
    )
