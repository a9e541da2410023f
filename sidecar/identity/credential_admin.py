"""Sessions and password resets of other users, for those who may manage them (R11).

A reset link is audited before it exists. With mail configured, a link of its own is mailed. A shown link differs from
it, and proves no e-mail (R9).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sidecar.domain.users import AccountId, Actor, Status, UserId, UserRecord
from sidecar.identity.hash_limits import Limited, LoginLimits, MailSource
from sidecar.identity.mail import MailMessage
from sidecar.identity.mail_templates import reset_mail
from sidecar.identity.outbox import Outbox, mail_refusal
from sidecar.identity.password_reset import PasswordReset, ResetLink
from sidecar.identity.revocation_wait import wait_until_applied
from sidecar.identity.role_assignment import RoleAboveYours, UnknownRole, check_assignment
from sidecar.policy.generation import Generation
from sidecar.store.accounts import Accounts
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import ActorChanged, Changed, NotActive, NoUser, StillInvited
from sidecar.store.sessions import Session, Sessions
from sidecar.store.users import Users
from sidecar.tokens.ids import account_of


@dataclass(frozen=True, slots=True)
class ResetSent:
    """Created reset. ``mailed``: a mail with its own link is queued. ``link``: the shown link, or None."""

    mailed: bool
    link: ResetLink | None


Refused = NoUser | ActorChanged | UnknownRole | RoleAboveYours | StillInvited | Limited
ResetSentOutcome = ResetSent | NotActive | Refused


class CredentialAdmin:
    """Administration of other users' sessions and passwords. All methods raise StoreUnavailableError.

    ``outbox``: None disables mail.
    """

    def __init__(
        self,
        *,
        users: Users,
        sessions: Sessions,
        accounts: Accounts,
        reset: PasswordReset,
        outbox: Outbox | None,
        limits: LoginLimits,
        fleet: Fleet,
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._accounts = accounts
        self._reset = reset
        self._outbox = outbox
        self._limits = limits
        self._fleet = fleet

    async def sessions(
        self, actor: Actor, generation: Generation, account: AccountId, user: str
    ) -> list[Session] | Refused:
        """Return the live sessions of a user of ``account``, newest first."""
        target = await managed_user(self._users, actor, generation, account, user)
        return await self._sessions.listing(target.id) if isinstance(target, UserRecord) else target

    async def sign_out(
        self, actor: Actor, generation: Generation, account: AccountId, user: str
    ) -> Revocation | Refused:
        """End all sessions of a user and revoke all tokens. Returns once no sidecar accepts them."""
        if (limited := await self._limited(actor)) is not None:
            return limited
        outcome: Revocation | Refused = ActorChanged()
        for _ in range(2):
            target = await managed_user(self._users, actor, generation, account, user)
            if not isinstance(target, UserRecord):
                return target
            done = await self._users.sign_out_everywhere(target.id, actor, expected_role=target.role)
            if isinstance(done, Changed):
                return await wait_until_applied(self._fleet, done.position)
            outcome = done
            if not isinstance(outcome, ActorChanged):
                return outcome
        return outcome

    async def send_reset(
        self, actor: Actor, generation: Generation, account: AccountId, user: str, *, show: bool
    ) -> ResetSentOutcome:
        """Mail a reset link to a user, and return another one if ``show``. Without either, nothing is created."""
        if (limited := await self._limited(actor)) is not None:
            return limited
        outcome: ResetSentOutcome = ActorChanged()
        for _ in range(2):
            target = await managed_user(self._users, actor, generation, account, user)
            if not isinstance(target, UserRecord):
                return target
            if not target.may_sign_in:
                return NotActive()
            outcome = await self._send(actor, target, show=show)
            if not isinstance(outcome, ActorChanged):
                return outcome
        return outcome

    async def _send(
        self, actor: Actor, target: UserRecord, *, show: bool
    ) -> ResetSent | NotActive | NoUser | ActorChanged:
        outbox = self._outbox if await self._may_mail(target) else None
        if outbox is None and not show:
            return ResetSent(mailed=False, link=None)
        found = await self._users.reset_link(target.id, actor, shown=show, expected_role=target.role)
        if not isinstance(found, UserRecord):
            return found
        mailed = outbox is not None and outbox.post(partial(self._messages, found), MailSource.USER)
        return ResetSent(mailed, self._reset.link(found, shown=True, maker=actor) if show else None)

    async def _limited(self, actor: Actor) -> Limited | None:
        return None if actor.user is None else await self._limits.admit_credential_change(actor.user)

    async def _may_mail(self, target: UserRecord) -> bool:
        if self._outbox is None:
            return False
        refused = await mail_refusal(self._limits, target)
        if refused is not None:
            self._outbox.reject(MailSource.USER, refused)
        return refused is None

    async def _messages(self, target: UserRecord) -> Sequence[MailMessage]:
        account = await self._accounts.find(target.account)
        if account is None:
            return ()
        link = self._reset.link(target)
        return (reset_mail(target.mailbox, [(account.name, link.url)], link.expires_at),)


async def managed_user(
    users: Users, actor: Actor, generation: Generation, account: AccountId, user: str
) -> UserRecord | Refused:
    """Return the user if the actor's role covers theirs (R11) and the invitation is accepted."""
    target = await users.record(UserId(user)) if account_of(user) == account else None
    if target is None:
        return NoUser()
    refused = check_assignment(generation, actor, current=target.role, new=None)
    if refused is not None:
        return refused
    return StillInvited() if target.status in {Status.INVITED, Status.EXPIRED} else target
