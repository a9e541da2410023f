"""AuthZEN access evaluation: may this subject take this action on this resource?

A PEP asks about one account, without the user's token. An unknown subject is denied before the resource is resolved,
public routes included. Only live records and the policy decide. Properties that the PEP sends are ignored. For needs,
its key vouches for the user's address and session.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.domain.access import OwnTarget, Resource, Subject, Target
from sidecar.domain.caching import FifoCache
from sidecar.domain.decision import Decision, Reason
from sidecar.domain.users import AccountId, SessionId, Status, UserId, UserRecord
from sidecar.pdp.decision_point import SHOWN
from sidecar.pdp.needs_check import FactsClass, class_of, class_of_nothing, decide_need
from sidecar.pdp.own_paths import not_yours
from sidecar.policy.decide import decide
from sidecar.policy.generation import Generation
from sidecar.policy.needs.facts import Address
from sidecar.policy.routes import Outcome, Public
from sidecar.store.live.record_cache import RecordCache
from sidecar.store.users import Users
from sidecar.tokens.ids import account_of

USER: Final = "user"
ROLE: Final = "role"
SECTION: Final = "section"
ROUTE: Final = "route"

MAX_HOMES: Final = 100_000


class ResolvedSubject(msgspec.Struct, frozen=True, gc=False):
    """Resolved subject that may act: its role, and its user record (None if the subject is a role)."""

    role: str
    record: UserRecord | None = None


class Circumstances(msgspec.Struct, frozen=True, gc=False):
    """Facts of a PEP's request, for needs. ``now``: Unix seconds. ``leeway``: as in `Facts`.

    ``client`` and ``session`` are those of the user for whom the PEP asks: None and empty if they are not known.
    """

    now: float
    leeway: float = 0.0
    client: Address | None = None
    session: SessionId = SessionId("")


class Subjects:
    """Resolver for subjects: users of an account and roles of the policy.

    ``normalise`` returns the canonical form of an e-mail, or None. ``is_mailbox(typed, mailbox)`` returns True if a
    typed e-mail names that mailbox. A user with another mailbox of the same canonical form is unknown here.
    """

    def __init__(
        self,
        users: Users,
        records: RecordCache,
        *,
        normalise: Callable[[str], str | None],
        is_mailbox: Callable[[str, str], bool],
    ) -> None:
        self._users = users
        self._records = records
        self._normalise = normalise
        self._is_mailbox = is_mailbox
        self._homes: FifoCache[tuple[AccountId, str], tuple[UserId, str]] = FifoCache(MAX_HOMES)

    async def find(self, generation: Generation, account: AccountId, subject: Subject) -> ResolvedSubject | Reason:
        """Return the resolved subject, or the reason for a denial. Raises StoreUnavailableError."""
        if subject.kind == USER:
            record = await self._user(account, subject.id)
            return Reason.UNKNOWN_USER if record is None else resolve_record(record)
        if subject.kind == ROLE and subject.id in generation.roles:
            return ResolvedSubject(subject.id)
        return Reason.UNKNOWN_USER

    async def _user(self, account: AccountId, named: str) -> UserRecord | None:
        named_account = account_of(named)
        if named_account is not None:
            if named_account != account:  # users of another account are unknown here (R20)
                return None
            return await self._records.read(UserId(named))
        return await self._by_email(account, named) if "@" in named else None

    async def _by_email(self, account: AccountId, typed: str) -> UserRecord | None:
        """Find a user by e-mail. The cached match is a hint; the live record is the proof, because an e-mail is unique
        in its account."""
        home = self._homes.get((account, typed))
        if home is not None:
            record = self._records.peek(home[0])
            if record is not None and record.email == home[1]:
                return record
        email = self._normalise(typed)
        user = None if email is None else await self._users.find(account, email)
        if email is None or user is None:
            return None
        record = await self._records.read(user)
        if record is None or record.email != email:  # removed between the two reads
            return None
        if not self._is_mailbox(typed, record.mailbox):
            return None
        self._homes.set((account, typed), (user, email))
        return record


def resolve_record(record: UserRecord) -> ResolvedSubject | Reason:
    """Resolve a record. Only an active user may act; an invited user is unknown."""
    match record.status:
        case Status.ACTIVE:
            return ResolvedSubject(record.role, record) if record.review is None else Reason.NEEDS_REVIEW
        case Status.SUSPENDED:
            return Reason.SUSPENDED
        case Status.INVITED | Status.EXPIRED:
            return Reason.UNKNOWN_USER


def facts_class(
    generation: Generation, resolved: ResolvedSubject, circumstances: Circumstances | None
) -> tuple[FactsClass, Address | None]:
    """Return the class of a subject's facts, and its address. For a role, no fact is known, so that no need is met."""
    record = resolved.record
    if record is None or circumstances is None:
        return class_of_nothing(generation), None
    now, leeway = circumstances.now, circumstances.leeway
    live = record.sessions.get(circumstances.session)
    if live is None or live.ends_at <= now:
        facts = class_of(generation, record, (), None, now=now, leeway=leeway)
    else:
        facts = class_of(generation, record, live.methods, live.signed_in_at, now=now, leeway=leeway)
    return facts, circumstances.client


def evaluate(
    generation: Generation,
    resolved: ResolvedSubject | Reason,
    action: str,
    resource: Resource,
    circumstances: Circumstances | None = None,
) -> Decision:
    """Return the decision for a resolved subject. Pure function.

    A path with own segments is a user's own, or not; a role has no id. A section's question cannot know a path, so that
    the cell alone decides it.
    """
    if isinstance(resolved, Reason):
        return Decision(resolved, generation.id)
    target = resolve(generation, action, resource)
    if isinstance(target, Public):
        return Decision(Reason.PUBLIC, generation.id, user=resolved.record)
    if isinstance(target, Reason):
        return Decision(target, generation.id, user=resolved.record)
    if isinstance(target, OwnTarget):
        if not is_own(target, resolved):
            return not_yours(generation, resolved.role, target, resolved.record)
        target = target.target
    return _decide(generation, resolved, target, circumstances)


def evaluate_own(
    generation: Generation,
    resolved: ResolvedSubject,
    action: str,
    resource: Resource,
    circumstances: Circumstances | None = None,
) -> Decision | None:
    """Return the decision for a user of this role on their own path. None: the path has no own segments."""
    target = resolve(generation, action, resource)
    return _decide(generation, resolved, target.target, circumstances) if isinstance(target, OwnTarget) else None


def is_own(target: OwnTarget, resolved: ResolvedSubject) -> bool:
    """Return whether a path is the subject's own. A role has no id: it never is."""
    record = resolved.record
    return record is not None and target.is_own(record.account, record.id)


def _decide(
    generation: Generation, resolved: ResolvedSubject, target: Target, circumstances: Circumstances | None
) -> Decision:
    """Return the decision of a cell: its rule, then its needs."""
    ruling = decide(generation, resolved.role, target.section, target.action)
    section, named = target.section[:SHOWN], target.action[:SHOWN]
    decision = Decision(ruling.reason, generation.id, ruling.rule, resolved.record, section, named)
    role = resolved.role
    requirement = generation.needs.of(role, target.section, target.action) if decision.allowed else None
    if requirement is None:
        return decision
    facts, client = facts_class(generation, resolved, circumstances)
    now = 0.0 if circumstances is None else circumstances.now + circumstances.leeway
    return decide_need(generation, requirement, facts, client, role=role, allowed=decision, now=now)


def resolve(generation: Generation, action: str, resource: Resource) -> Outcome:
    """Return the target of a section, or of a route."""
    if resource.kind == SECTION:
        return Target(resource.id, action)
    if resource.kind == ROUTE:
        return generation.routes.resolve(action, resource.id)
    return Reason.UNKNOWN_SECTION
