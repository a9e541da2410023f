"""User administration of accounts: change, suspend, remove. The policy decides, and the store executes.

Each change carries the role that the policy evaluated. The store rejects the change if actor or target have changed
since (R11). The target is then evaluated again, once. Functions return once no sidecar decides by the older record.
"""

from dataclasses import dataclass

from sidecar.domain.users import AccountId, Actor, Status, UserId, UserRecord
from sidecar.identity.revocation_wait import already_everywhere, wait_until_applied
from sidecar.identity.role_assignment import RoleAboveYours, UnknownRole, check_assignment
from sidecar.policy.decide import covers
from sidecar.policy.generation import Generation
from sidecar.store.federated_identities import (
    FederatedIdentities,
    Linked,
    LinkHeld,
    LinkTaken,
    NoMatchingUser,
    NotLinked,
    Unlinked,
)
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import ActorChanged, Changed, LastAdmin, NotHeld, NoUser, Removed, StillInvited, Unchanged
from sidecar.store.users import Users
from sidecar.tokens.ids import account_of


@dataclass(frozen=True, slots=True)
class UserEdit:
    """Fields to change; None leaves a field unchanged."""

    role: str | None = None
    name: str | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Edited:
    """User after the change. ``revocation`` is None if nothing changed."""

    record: UserRecord
    revocation: Revocation | None


@dataclass(frozen=True, slots=True)
class RemovedUser:
    """Removed user, as last stored. The seat is free, and every token is invalid."""

    record: UserRecord
    revocation: Revocation


@dataclass(frozen=True, slots=True)
class UnlinkedUser:
    """User after unlinking. ``subjects``: number of unlinked external subjects. Every token of the user is invalid."""

    record: UserRecord
    subjects: int
    revocation: Revocation


@dataclass(frozen=True, slots=True)
class Joined:
    """User after linking to an external subject. ``revocation`` is None if the link existed already.

    ``cleared``: the e-mail was unproven until now, so password and sessions were removed.
    """

    record: UserRecord
    revocation: Revocation | None
    cleared: bool


ReviewedOutcome = Edited | NoUser | NotHeld | LastAdmin | ActorChanged | UnknownRole | RoleAboveYours | StillInvited
EditOutcome = Edited | NoUser | LastAdmin | ActorChanged | UnknownRole | RoleAboveYours | StillInvited
RemoveOutcome = RemovedUser | NoUser | LastAdmin | ActorChanged | UnknownRole | RoleAboveYours


class UserAdmin:
    """User administration of accounts. All methods raise StoreUnavailableError."""

    def __init__(self, *, users: Users, links: FederatedIdentities, fleet: Fleet) -> None:
        self._users = users
        self._links = links
        self._fleet = fleet

    async def find(self, account: AccountId, user: str) -> UserRecord | None:
        """Return the user if they belong to ``account``, else None."""
        if account_of(user) != account:
            return None
        return await self._users.record(UserId(user))

    async def edit(
        self, actor: Actor, generation: Generation, account: AccountId, user: str, edit: UserEdit
    ) -> EditOutcome:
        """Change role, name or status of a user of ``account``. Returns the changed user or the rejection."""
        outcome: EditOutcome = ActorChanged()
        for _ in range(2):
            target = await self.find(account, user)
            if target is None:
                return NoUser()
            refused = check_assignment(generation, actor, current=_held(generation, target), new=edit.role)
            if refused is not None:
                return refused
            raised = edit.role is not None and not covers(generation, target.role, edit.role)
            outcome = await self._apply(actor, target, edit, voids_link=raised)
            if not isinstance(outcome, ActorChanged):
                return outcome
        return outcome

    async def set_status(self, actor: Actor, account: AccountId, user: str, status: Status) -> EditOutcome:
        """Suspend or resume a user of ``account``, without a policy. For operators only."""
        target = await self.find(account, user)
        return NoUser() if target is None else await self._apply(actor, target, UserEdit(status=status))

    async def _apply(
        self, actor: Actor, target: UserRecord, edit: UserEdit, *, voids_link: bool = False
    ) -> EditOutcome:
        """``voids_link``: an invitation link that was made for a lesser role must not give the new one (R11)."""
        changed = await self._users.change(
            actor,
            target.id,
            role=edit.role,
            name=edit.name,
            status=edit.status,
            expected_role=target.role,
            voids_link=voids_link,
        )
        match changed:
            case Changed(record, position):
                return Edited(record, await wait_until_applied(self._fleet, position))
            case Unchanged(record, position):
                await already_everywhere(self._fleet, position)
                return Edited(record, None)
            case LastAdmin() | StillInvited() | NoUser() | ActorChanged():
                return changed

    async def remove(self, actor: Actor, generation: Generation, account: AccountId, user: str) -> RemoveOutcome:
        """Remove a user of ``account``. Returns the removed user or the rejection."""
        outcome: RemoveOutcome = ActorChanged()
        for _ in range(2):
            target = await self.find(account, user)
            if target is None:
                return NoUser()
            refused = check_assignment(generation, actor, current=_held(generation, target), new=None)
            if refused is not None:
                return refused
            removed = await self._users.remove(actor, target.id, expected_role=target.role)
            if isinstance(removed, Removed):
                return RemovedUser(removed.record, await wait_until_applied(self._fleet, removed.position))
            outcome = removed
            if not isinstance(outcome, ActorChanged):
                return outcome
        return outcome

    async def link(
        self, account: AccountId, user: str, *, issuer: str, subject: str
    ) -> Joined | NoMatchingUser | LinkTaken | LinkHeld:
        """Link an external subject to an active user, regardless of its tokens' e-mail (R10). For operators only."""
        if account_of(user) != account:
            return NoMatchingUser()
        linked = await self._links.link_user(UserId(user), issuer=issuer, subject=subject)
        if not isinstance(linked, Linked):
            return linked
        revocation = None if linked.position is None else await wait_until_applied(self._fleet, linked.position)
        record = await self._users.record(linked.user)
        return NoMatchingUser() if record is None else Joined(record, revocation, linked.cleared)

    async def review(
        self, actor: Actor, generation: Generation, account: AccountId, user: str, role: str, status: Status
    ) -> ReviewedOutcome:
        """End the hold of a user after the loss of an acknowledged change (R48), with this role and status.

        The actor's role must cover both the stored role and the acknowledged one.
        """
        outcome: ReviewedOutcome = ActorChanged()
        for _ in range(2):
            target = await self.find(account, user)
            if target is None:
                return NoUser()
            before = target.review.role_before if target.review else target.role
            for held in (target.role, before):
                refused = check_assignment(generation, actor, current=held, new=role)
                if refused is not None:
                    return refused
            outcome = await self._review(actor, target, role, status)
            if not isinstance(outcome, ActorChanged):
                return outcome
        return outcome

    async def accept_stored(self, actor: Actor, target: UserRecord, status: Status) -> ReviewedOutcome:
        """End the hold with the stored role, even if it is no longer assignable. For operators only."""
        return await self._review(actor, target, target.role, status)

    async def _review(self, actor: Actor, target: UserRecord, role: str, status: Status) -> ReviewedOutcome:
        reviewed = await self._users.review(actor, target.id, role=role, status=status, expected_role=target.role)
        match reviewed:
            case Changed(record, position):
                return Edited(record, await wait_until_applied(self._fleet, position))
            case Unchanged(record):
                return Edited(record, None)
            case _:
                return reviewed

    async def unlink(
        self, account: AccountId, user: str, *, issuer: str | None = None, may_return: bool = False
    ) -> UnlinkedUser | NotLinked | NoUser:
        """Unlink a user from all external subjects, or from those of ``issuer`` (R10). For operators only.

        ``may_return``: the subject's next token with the verified e-mail may link it again.
        """
        if account_of(user) != account:
            return NoUser()
        parted = await self._links.unlink(UserId(user), issuer=issuer, may_return=may_return)
        if isinstance(parted, Unlinked):
            return UnlinkedUser(parted.record, parted.subjects, await wait_until_applied(self._fleet, parted.position))
        return parted


def _held(generation: Generation, target: UserRecord) -> str | None:
    """Return the role that the actor must cover. None: the policy dropped the role of an expired invitation."""
    dropped = target.status is Status.EXPIRED and target.role not in generation.roles
    return None if dropped else target.role
