"""Wiring of the identity services, for a serving process and for an operator's command.

Separate from container.py, because a command wires these services without the rest of a serving process.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from sidecar.config.settings import Settings
from sidecar.http.client_ip import limiter_address
from sidecar.identity.credential_admin import CredentialAdmin
from sidecar.identity.failed_logins import FailedLogins
from sidecar.identity.hash_limits import LoginLimits, MailSource, Unlimited
from sidecar.identity.hashing import Hashing
from sidecar.identity.invitations import InvitationService
from sidecar.identity.login import Login
from sidecar.identity.login_rate_limits import LoginRateLimits
from sidecar.identity.mail import Smtp, mail_server
from sidecar.identity.outbox import Count, MailOutcome, Outbox, uncounted
from sidecar.identity.password_change import PasswordChange
from sidecar.identity.password_reset import PasswordReset, PasswordResetRequests
from sidecar.identity.profile import Profile
from sidecar.identity.security_mails import SecurityMails
from sidecar.identity.services import IdentityServices
from sidecar.identity.sessions import Clock, Entropy, Issuer
from sidecar.identity.user_creation import UserCreation
from sidecar.identity.users import UserAdmin
from sidecar.server.clock import since_boot
from sidecar.server.container_factors import factor_services
from sidecar.sources.key_files import LoadedKeys
from sidecar.store.accounts import Accounts
from sidecar.store.audit import Audit
from sidecar.store.connection import Store
from sidecar.store.federated_identities import FederatedIdentities
from sidecar.store.invitations import Invitations
from sidecar.store.live.fleet import Fleet
from sidecar.store.live.memory_pressure import MemoryPressure
from sidecar.store.live.replica import RecordReplica
from sidecar.store.rate_limiter import Buckets
from sidecar.store.sessions import Sessions
from sidecar.store.sign_in_failures import SignInFailures
from sidecar.store.users import Users
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.task_supervision import Work
from sidecar.tokens.opaque import Pepper


class MailSetupError(Exception):
    """The mail settings are invalid. One sentence, without the password."""


@dataclass(frozen=True, slots=True)
class IdentityRuntime:
    """Identity services and their background tasks. Call ``close`` after the tasks of ``work`` are cancelled."""

    people: IdentityServices
    memory: MemoryPressure
    outbox: Outbox | None

    def work(self) -> Iterator[tuple[str, Work]]:
        yield "memory watch", self.memory.watch
        yield "failed sign-ins", self.people.failed_logins.run
        if self.outbox is not None:
            yield "outbox", self.outbox.run

    async def close(self) -> None:
        await self.people.failed_logins.flush()
        if self.outbox is not None:
            await self.outbox.close()


def serving_identity(
    settings: Settings, keys: LoadedKeys, store: Store, fleet: Fleet, *, hashing: Hashing, metrics: Metrics
) -> IdentityRuntime:
    """Wire the services of a serving process: rate limits, and an outbox when a mail server is set.

    Raises MailSetupError.
    """

    def count(source: MailSource, outcome: MailOutcome) -> None:
        metrics.mails.labels(source.value, outcome.value).inc()

    memory, outbox = MemoryPressure(store), outbox_of(settings, count)
    limits = LoginRateLimits(Buckets(store), keys.pepper, address_of=limiter_address, memory_low=lambda: memory.low)
    services = identity_services(
        store,
        fleet,
        hashing=hashing,
        issuer=issuer(settings, keys),
        limits=limits,
        pepper=keys.pepper,
        public_url=settings.public_url,
        invite_ttl=settings.invite_ttl,
        outbox=outbox,
    )
    return IdentityRuntime(services, memory, outbox)


def operator_identity(settings: Settings, keys: LoadedKeys, store: Store, hashing: Hashing) -> IdentityServices:
    """Wire the services of an operator's command, without rate limits and mails."""
    return identity_services(
        store,
        # Not run: an operator waits for the fleet and is no member of it.
        RecordReplica(store, id="operator", lease=settings.lease, clock=since_boot).fleet,
        hashing=hashing,
        issuer=issuer(settings, keys),
        limits=Unlimited(),
        pepper=keys.pepper,
        public_url=settings.public_url,
        invite_ttl=settings.invite_ttl,
    )


def issuer(settings: Settings, keys: LoadedKeys) -> Issuer:
    return Issuer(
        keys.keys,
        keys.pepper,
        issuer=settings.issuer,
        audience=settings.audience,
        access_ttl=settings.access_ttl,
        refresh_ttl=settings.refresh_ttl,
        clock=time.time,
        entropy=os.urandom,
    )


def outbox_of(settings: Settings, count: Count = uncounted) -> Outbox | None:
    """Return None without a mail server: links are then shown and not sent. Raises MailSetupError."""
    if settings.smtp_url is None:
        return None
    try:
        server = mail_server(settings.smtp_url)
    except ValueError as error:
        raise MailSetupError(f"SIDECAR_SMTP_URL: {error}") from None
    try:
        return Outbox(Smtp(server, sender=settings.mail_from or "").send, count=count)
    except ValueError as error:
        raise MailSetupError(f"SIDECAR_MAIL_FROM: {error}") from None


def identity_services(  # noqa: PLR0913 (the parts, each from its own place)
    store: Store,
    fleet: Fleet,
    *,
    hashing: Hashing,
    issuer: Issuer,
    limits: LoginLimits,
    pepper: Pepper,
    public_url: str,
    invite_ttl: int,
    entropy: Entropy = os.urandom,
    outbox: Outbox | None = None,
    clock: Clock = time.time,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> IdentityServices:
    """Return the services. Reads no setting and opens no connection."""
    accounts, users, sessions = Accounts(store), Users(store), Sessions(store)
    mails = SecurityMails(accounts=accounts, outbox=outbox, limits=limits)
    reset = PasswordReset(users, hashing, issuer, fleet, mails, pepper=pepper, public_url=public_url, clock=clock)
    invitations, failures = Invitations(store), FailedLogins(SignInFailures(store))
    return IdentityServices(
        accounts=accounts,
        audit=Audit(store),
        users=users,
        sessions=sessions,
        fleet=fleet,
        hashing=hashing,
        issuer=issuer,
        login=_login(store, hashing, issuer=issuer, limits=limits, fleet=fleet, failures=failures, pause=pause),
        password_change=PasswordChange(users, hashing, issuer, limits, fleet, mails),
        password_reset=reset,
        forgotten=PasswordResetRequests(users=users, accounts=accounts, reset=reset, outbox=outbox, limits=limits),
        membership=UserAdmin(users=users, links=FederatedIdentities(store), fleet=fleet),
        profile=Profile(users=users, fleet=fleet, limits=limits),
        inviting=_inviting(store, hashing, issuer, pepper, limits, outbox, entropy, url=public_url, ttl=invite_ttl),
        creation=UserCreation(invitations=invitations, hashing=hashing, entropy=entropy),
        failed_logins=failures,
        credentials=CredentialAdmin(
            users=users, sessions=sessions, accounts=accounts, reset=reset, outbox=outbox, limits=limits, fleet=fleet
        ),
        factors=factor_services(
            store,
            fleet,
            mails,
            issuer,
            limits,
            hashing,
            pepper=pepper,
            public_url=public_url,
            clock=clock,
            entropy=entropy,
        ),
    )


def _inviting(  # noqa: PLR0913 (the parts, each from its own place)
    store: Store,
    hashing: Hashing,
    issuer: Issuer,
    pepper: Pepper,
    limits: LoginLimits,
    outbox: Outbox | None,
    entropy: Entropy,
    *,
    url: str,
    ttl: int,
) -> InvitationService:
    return InvitationService(
        invitations=Invitations(store),
        accounts=Accounts(store),
        users=Users(store),
        hashing=hashing,
        issuer=issuer,
        pepper=pepper,
        entropy=entropy,
        public_url=url,
        ttl=ttl,
        outbox=outbox,
        limits=limits,
    )


def _login(
    store: Store,
    hashing: Hashing,
    *,
    issuer: Issuer,
    limits: LoginLimits,
    fleet: Fleet,
    failures: FailedLogins,
    pause: Callable[[float], Awaitable[None]],
) -> Login:
    return Login(
        accounts=Accounts(store),
        users=Users(store),
        sessions=Sessions(store),
        hashing=hashing,
        issuer=issuer,
        limits=limits,
        fleet=fleet,
        failures=failures,
        pause=pause,
    )
