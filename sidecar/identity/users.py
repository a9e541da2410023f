"""Users of an account, as those who manage them do: change, suspend, remove. Judged by the policy, done by the store.

Every change names the role that was judged, so that the store refuses when actor or target are no longer what they were
(R11); then the target is judged afresh, once. Answers only when no sidecar can decide by the older truth.
"""

from dataclasses import dataclass

from sidecar.domain.users import AccountId, Actor, Status, UserId, UserRecord
from sidecar.identity.revocation_wait import already_everywhere, everywhere
from sidecar.identity.role_assignment import RoleAboveYours, UnknownRole, judge
from sidecar.policy.generation import Generation
from sidecar.store.federated_identities import Linked, LinkHeld, Links, LinkTaken, NobodyToLink, NotLinked, Unlinked
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import ActorChanged, Changed, LastAdmin, NotHeld, NoUser, Removed, StillInvited, Unchanged
from sidecar.store.users import Users
from sidecar.tokens.ids import account_of


@dataclass(frozen=True, slots=True)
class Edit:
    """What to change; None leaves it as it is."""

    role: str | None = None
    name: str | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Edited:
    """The user as it is now. ``revocation`` is None when it was so already: nothing was changed."""

    record: UserRecord
    revocation: Revocation | None


@dataclass(frozen=True, slots=True)
class Gone:
    """The user as it was last: the seat is free, every token dead."""

    record: UserRecord
    revocation: Revocation


@dataclass(frozen=True, slots=True)
class Parted:
    """The user as it is now, parted from so many outside subjects: every token of it is dead."""

    record: UserRecord
    subjects: int
    revocation: Revocation


@dataclass(frozen=True, slots=True)
class Joined:
    """The user as it is now, linked to an outside subject. ``revocation`` is None when it was so already.

    ``cleared``: its e-mail was not proven until now, so its password and its sessions are gone.
    """

    record: UserRecord
    revocation: Revocation | None
    cleared: bool


ReviewedOutcome = Edited | NoUser | NotHeld | LastAdmin | ActorChanged | UnknownRole | RoleAboveYours | StillInvited
EditOutcome = Edited | NoUser | LastAdmin | ActorChanged | UnknownRole | RoleAboveYours | StillInvited
RemoveOutcome = Gone | NoUser | LastAdmin | ActorChanged | UnknownRole | RoleAboveYours


class Membership:
    """Who belongs to an account, and as what."""

    def __init__(self, *, users: Users, links: Links, fleet: Fleet) -> None:
        self._users = users
        self._links = links
        self._fleet = fleet

    async def find(self, account: AccountId, user: str) -> UserRecord | None:
        """The user, if it is one of ``account``: an id of another account is nobody's."""
        if account_of(user) != account:
            return None
        return await self._users.record(UserId(user))

    async def edit(
        self, actor: Actor, generation: Generation, account: AccountId, user: str, edit: Edit
    ) -> EditOutcome:
        outcome: EditOutcome = ActorChanged()
        for _ in range(2):
            target = await self.find(account, user)
            if target is None:
                return NoUser()
            refused = judge(generation, actor, held=_held(generation, target), wanted=edit.role)
            if refused is not None:
                return refused
            outcome = await self._apply(actor, target, edit)
            if not isinstance(outcome, ActorChanged):
                return outcome
        return outcome

    async def _apply(self, actor: Actor, target: UserRecord, edit: Edit) -> EditOutcome:
        changed = await self._users.change(
            actor, target.id, role=edit.role, name=edit.name, status=edit.status, judged_role=target.role
        )
        match changed:
            case Changed(record, position):
                return Edited(record, await everywhere(self._fleet, position))
            case Unchanged(record, position):
                await already_everywhere(self._fleet, position)
                return Edited(record, None)
            case LastAdmin() | StillInvited() | NoUser() | ActorChanged():
                return changed

    async def remove(self, actor: Actor, generation: Generation, account: AccountId, user: str) -> RemoveOutcome:
        outcome: RemoveOutcome = ActorChanged()
        for _ in range(2):
            target = await self.find(account, user)
            if target is None:
                return NoUser()
            refused = judge(generation, actor, held=_held(generation, target), wanted=None)
            if refused is not None:
                return refused
            removed = await self._users.remove(actor, target.id, judged_role=target.role)
            if isinstance(removed, Removed):
                return Gone(removed.record, await everywhere(self._fleet, removed.position))
            outcome = removed
            if not isinstance(outcome, ActorChanged):
                return outcome
        return outcome

    async def link(
        self, account: AccountId, user: str, *, issuer: str, subject: str
    ) -> Joined | NobodyToLink | LinkTaken | LinkHeld:
        """An operator's: the outside subject is this active user, whatever e-mail its tokens have (R10)."""
        if account_of(user) != account:
            return NobodyToLink()
        linked = await self._links.link_user(UserId(user), issuer=issuer, subject=subject)
        if not isinstance(linked, Linked):
            return linked
        revocation = None if linked.position is None else await everywhere(self._fleet, linked.position)
        record = await self._users.record(linked.user)
        return NobodyToLink() if record is None else Joined(record, revocation, linked.cleared)

    async def review(
        self, actor: Actor, generation: Generation, account: AccountId, user: str, role: str, status: Status
    ) -> ReviewedOutcome:
        """End the hold of a user whose acknowledged change was lost (R48), with this role and status. Neither the
        stored role nor the acknowledged one may be above the actor's."""
        outcome: ReviewedOutcome = ActorChanged()
        for _ in range(2):
            target = await self.find(account, user)
            if target is None:
                return NoUser()
            before = target.review.role_before if target.review else target.role
            for held in (target.role, before):
                refused = judge(generation, actor, held=held, wanted=role)
                if refused is not None:
                    return refused
            outcome = await self._review(actor, target, role, status)
            if not isinstance(outcome, ActorChanged):
                return outcome
        return outcome

    async def accept_stored(self, actor: Actor, target: UserRecord, status: Status) -> ReviewedOutcome:
        """An operator's: the stored role, also one that cannot be given any more."""
        return await self._review(actor, target, target.role, status)

    async def _review(self, actor: Actor, target: UserRecord, role: str, status: Status) -> ReviewedOutcome:
        reviewed = await self._users.review(actor, target.id, role=role, status=status, judged_role=target.role)
        match reviewed:
            case Changed(record, position):
                return Edited(record, await everywhere(self._fleet, position))
            case Unchanged(record):
                return Edited(record, None)
            case _:
                return reviewed

    async def unlink(
        self, account: AccountId, user: str, *, issuer: str | None = None, may_return: bool = False
    ) -> Parted | NotLinked | NoUser:
        """An operator's: part the user from whom outside issuers, or one of them, call it (R10). ``may_return``: their
        next token with its verified e-mail may link them anew."""
        if account_of(user) != account:
            return NoUser()
        parted = await self._links.unlink(UserId(user), issuer=issuer, may_return=may_return)
        if isinstance(parted, Unlinked):
            return Parted(parted.record, parted.subjects, await everywhere(self._fleet, parted.position))
        return parted


def _held(generation: Generation, target: UserRecord) -> str | None:
    """The role that the actor has to cover. An expired invitation may hold one that the policy dropped since: none."""
    dropped = target.status is Status.EXPIRED and target.role not in generation.roles
    return None if dropped else target.role
