"""Sign-in with e-mail and password. All failures have the same response and cost the same work.

Unknown e-mail, wrong password, and invited, suspended or removed user return ``InvalidGrant`` after the same hashing.
A request for a reset needs the correct password. So does a request for the account, unless more accounts exist than are
compared.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from sidecar.domain.sessions import Method, NewProof
from sidecar.domain.users import AccountId, UserRecord
from sidecar.identity.emails import Email, normalise
from sidecar.identity.failed_logins import FailedLogins
from sidecar.identity.hash_limits import Limited, LoginLimits, Reservation
from sidecar.identity.hashing import Hashing, Overloaded, Priority
from sidecar.identity.passwords import MAX_TYPED
from sidecar.identity.passwords import normalise as normalise_password
from sidecar.identity.revocation_wait import wait_until_applied
from sidecar.identity.sessions import Client, Grant, InvalidGrant, Issuer
from sidecar.store.accounts import Accounts
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.factor_proofs import FactorRequired, ProofRefused
from sidecar.store.live.fleet import Fleet
from sidecar.store.outcomes import NoUser, Stale
from sidecar.store.sessions import Opened, Sessions
from sidecar.store.users import Credentials, Users
from sidecar.telemetry.tracing import child

MAX_CANDIDATES: Final = 4
"""Maximum accounts compared if the sign-in names none (R17)."""

SHORT_RETRY: Final = 30
"""Retry delay in seconds while the store is low on memory."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """Credentials as typed. ``account``: a name, an id or None. ``browser``: the session gets cookies."""

    username: str
    password: str = field(repr=False)
    account: str | None = None
    browser: bool = False


@dataclass(frozen=True, slots=True)
class AccountOption:
    """Account to choose from: id and name."""

    id: AccountId
    name: str


@dataclass(frozen=True, slots=True)
class AccountRequired:
    """Sign-in that must name an account. ``proven``: the password matches in several accounts. Otherwise it matches in
    none of those compared, and more exist.

    ``accounts``: those in which the password matches; empty if more accounts have the e-mail than are compared.
    """

    proven: bool = True
    accounts: tuple[AccountOption, ...] = ()


@dataclass(frozen=True, slots=True)
class ResetRequired:
    """Correct password that must be reset, because the store may have lost a later one."""


@dataclass(frozen=True, slots=True)
class SecondFactorRequired:
    """Correct password of a user with a second factor. No session is open."""

    record: UserRecord


FirstStep = Grant | InvalidGrant | AccountRequired | ResetRequired | Limited | Overloaded
LoginOutcome = FirstStep | SecondFactorRequired


class Login:
    """Service for the password grant."""

    def __init__(  # noqa: PLR0913 (the parts, each from its own place)
        self,
        *,
        accounts: Accounts,
        users: Users,
        sessions: Sessions,
        hashing: Hashing,
        issuer: Issuer,
        limits: LoginLimits,
        fleet: Fleet,
        failures: FailedLogins,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._accounts = accounts
        self._users = users
        self._sessions = sessions
        self._hashing = hashing
        self._issuer = issuer
        self._limits = limits
        self._fleet = fleet
        self._failures = failures
        self._pause = pause

    async def sign_in(self, claim: SignIn, client: Client) -> LoginOutcome:
        """Sign a user in. Lengths are checked first, then the limits, then the credentials (R16).

        Raises StoreUnavailableError.
        """
        with child("sign in"):
            return await self._sign_in(claim, client)

    async def _sign_in(self, claim: SignIn, client: Client) -> LoginOutcome:
        if len(claim.password) > MAX_TYPED:
            return InvalidGrant()  # independent of the e-mail: no password is that long
        if self._limits.memory_low:
            return Overloaded(SHORT_RETRY)
        limited = self._limits.refused(client.address)
        if limited is not None:
            return limited
        email = normalise(claim.username)  # at most 320 characters: buckets are per folded address
        admitted = await self._limits.reserve(email or claim.username, client.address)
        if isinstance(admitted, Limited):
            return admitted
        failed = True  # also if it ends without an outcome
        try:
            outcome = await self._try(claim, email, admitted, client)
            failed = isinstance(outcome, InvalidGrant) or outcome == AccountRequired(proven=False)
        finally:
            await self._limits.settle(admitted, failed=failed)
        return outcome

    async def _try(self, claim: SignIn, email: Email | None, admitted: Reservation, client: Client) -> LoginOutcome:
        password = normalise_password(claim.password)
        if password is None:
            return InvalidGrant()  # as above: no e-mail has such a password
        priority = Priority.SUSPECT if admitted.suspect else Priority.SIGN_IN
        every = await self._candidates(email, claim.account)
        candidates = every[:MAX_CANDIDATES]
        right = await self._right(candidates, password, priority)
        if isinstance(right, Overloaded):
            return right
        if not right:
            self._failures.count([one.record for one in candidates], client.address)
            if any(one.record.may_sign_in for one in every[MAX_CANDIDATES:]):
                return AccountRequired(proven=False)
            if claim.account is None:
                # Without an account, an e-mail costs up to four comparisons. The pause hides their number.
                await self._pause(self._hashing.seconds * (MAX_CANDIDATES - max(1, len(candidates))))
            return InvalidGrant()
        if len(right) > 1:
            return AccountRequired(accounts=await self._options(right) if len(every) <= MAX_CANDIDATES else ())
        found, outdated = right[0]
        if found.reset_required:
            return ResetRequired()
        opened = await self._open(found, client, browser=claim.browser)
        if isinstance(opened, Grant) and outdated:
            await self._rehash(opened, password, priority)
        return opened

    async def _candidates(self, email: Email | None, account: str | None) -> list[Credentials]:
        """Return the users with this e-mail: active before inactive, then proven before unproven e-mail. Invitations
        under a foreign e-mail therefore cannot displace its owner."""
        if email is None:
            return []
        found = [await self._users.credentials(place, email) for place in await self._places(email, account)]
        held = [credentials for credentials in found if credentials is not None]
        return sorted(held, key=lambda one: (not one.record.may_sign_in, not one.record.email_verified))

    async def _places(self, email: Email, account: str | None) -> list[AccountId]:
        if account is None:
            return sorted(await self._users.accounts_of(email))
        named = await self._accounts.find(account)
        return [] if named is None else [named.id]

    async def _right(
        self, candidates: list[Credentials], password: str, priority: Priority
    ) -> list[tuple[Credentials, bool]] | Overloaded:
        """Return the matching users that may sign in, each with its ``outdated`` flag. Compares at least once and never
        stops early, so that the duration reveals nothing."""
        right: list[tuple[Credentials, bool]] = []
        if not candidates:
            no_user = await self._hashing.verify_dummy(priority, password)
            return no_user if isinstance(no_user, Overloaded) else right
        for one in candidates:
            if one.password_hash:
                compared = await self._hashing.compare(priority, one.record.id, password, one.password_hash)
            else:  # invited, without a password
                compared = await self._hashing.verify_dummy(priority, password)
            if isinstance(compared, Overloaded):
                return compared
            if compared.matches and one.record.may_sign_in:
                right.append((one, compared.outdated))
        return right

    async def _options(self, right: list[tuple[Credentials, bool]]) -> tuple[AccountOption, ...]:
        """Return the accounts of proven users, by name. The caller has the password of each, and may know its name."""
        found = [await self._accounts.find(one.record.account) for one, _ in right]
        return tuple(sorted((AccountOption(one.id, one.name) for one in found if one), key=lambda option: option.name))

    async def _open(
        self, found: Credentials, client: Client, *, browser: bool
    ) -> Grant | InvalidGrant | ResetRequired | SecondFactorRequired:
        session = self._issuer.new_session(client, NewProof(Method.PASSWORD), browser=browser)
        for _ in range(2):
            opened = await self._sessions.open(found.record.id, expected_epoch=found.record.epoch, session=session)
            match opened:
                case Opened(record, position, ended):
                    if ended:
                        await wait_until_applied(self._fleet, position)
                    return self._issuer.grant(record, session.id)
                case FactorRequired():
                    return SecondFactorRequired(found.record)
                case NoUser() | ProofRefused():
                    return InvalidGrant()
                case Stale():
                    # The epoch rose during hashing. An unchanged hash (sign-out everywhere) is still valid.
                    again = await self._users.credentials_of(found.record.id)
                    if again is None or again.password_hash != found.password_hash:
                        return InvalidGrant()
                    if again.reset_required:  # the store lost writes: the hash may be an older one
                        return ResetRequired()
                    found = again
        return InvalidGrant()

    async def _rehash(self, grant: Grant, password: str, priority: Priority) -> None:
        """Rehash a proven password with the current parameters. A failure does not fail the sign-in."""
        stronger = await self._hashing.hash(priority, grant.record.id, password)
        if not isinstance(stronger, Overloaded):
            with suppress(StoreUnavailableError):
                await self._users.rehash(grant.record.id, expected_epoch=grant.record.epoch, password_hash=stronger)
