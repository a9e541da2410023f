"""Second factors of other users, under the permission to manage them (R11): reset, and confirmation."""

from collections.abc import Awaitable, Callable

from sidecar.domain.users import AccountId, Actor, UserId, UserRecord
from sidecar.identity.credential_admin import Refused, managed_user
from sidecar.identity.hash_limits import LoginLimits
from sidecar.identity.revocation_wait import already_everywhere, wait_until_applied
from sidecar.identity.security_mails import SecurityChange, SecurityMails
from sidecar.policy.generation import Generation
from sidecar.store.factors import Factors
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import ActorChanged, Changed, NoUser, Unchanged
from sidecar.store.users import Users

FactorAdminOutcome = Revocation | Unchanged | Refused
_Act = Callable[[UserRecord], Awaitable[Changed | Unchanged | NoUser | ActorChanged]]


class FactorAdmin:
    """Service for the factors of other users. All methods raise StoreUnavailableError."""

    def __init__(
        self, *, users: Users, factors: Factors, limits: LoginLimits, fleet: Fleet, mails: SecurityMails
    ) -> None:
        self._users = users
        self._factors = factors
        self._limits = limits
        self._fleet = fleet
        self._mails = mails

    async def reset(self, actor: Actor, generation: Generation, account: AccountId, user: str) -> FactorAdminOutcome:
        """Remove all factors of a user, and end the user's sessions. Unchanged: there was none."""

        async def act(target: UserRecord) -> Changed | Unchanged | NoUser | ActorChanged:
            return await self._factors.reset(target.id, actor, expected_role=target.role)

        return await self._change(actor, generation, account, user, act, SecurityChange.FACTORS_RESET)

    async def confirm(self, actor: Actor, generation: Generation, account: AccountId, user: str) -> FactorAdminOutcome:
        """Let the factors of a user count for needs from now on (R37). Unchanged: all of them do, or there is none."""

        async def act(target: UserRecord) -> Changed | Unchanged | NoUser | ActorChanged:
            return await self._factors.confirm_all(target.id, actor, expected_role=target.role)

        return await self._change(actor, generation, account, user, act, SecurityChange.FACTORS_CONFIRMED)

    async def reset_by_operator(self, user: UserId) -> Changed | Unchanged | NoUser | ActorChanged:
        """Remove all factors of a user without a policy decision. Mails are off on the command line."""
        return await self._waited(await self._factors.reset(user, Actor.operator()))

    async def confirm_by_operator(self, user: UserId) -> Changed | Unchanged | NoUser | ActorChanged:
        """Let the factors of a user count from now on, without a policy decision."""
        return await self._waited(await self._factors.confirm_all(user, Actor.operator()))

    async def _change(
        self,
        actor: Actor,
        generation: Generation,
        account: AccountId,
        user: str,
        act: _Act,
        change: SecurityChange,
    ) -> FactorAdminOutcome:
        limited = None if actor.user is None else await self._limits.admit_credential_change(actor.user)
        if limited is not None:
            return limited
        outcome: FactorAdminOutcome = ActorChanged()
        for _ in range(2):
            target = await managed_user(self._users, actor, generation, account, user)
            if not isinstance(target, UserRecord):
                return target
            done = await act(target)
            if isinstance(done, Changed):
                self._mails.report(done.record, change)
                return await wait_until_applied(self._fleet, done.position)
            outcome = done
            if not isinstance(outcome, ActorChanged):
                break
        if isinstance(outcome, Unchanged):
            await already_everywhere(self._fleet, outcome.position)
        return outcome

    async def _waited(
        self, outcome: Changed | Unchanged | NoUser | ActorChanged
    ) -> Changed | Unchanged | NoUser | ActorChanged:
        if isinstance(outcome, Changed | Unchanged):
            await already_everywhere(self._fleet, outcome.position)
        return outcome
