"""The whole check on one page: policy, token and live record become one decision.

Order (README, "Reasons"): malformed or ambiguous request, public route, token, unmatched path, policy. One
generation and one record answer all of it. What cannot be known is never an allow.
"""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from sidecar.domain.access import Credential, Proof, Question, Route, Target
from sidecar.domain.decision import Decision, Reason
from sidecar.domain.users import AccountId, Status, UserId, UserRecord
from sidecar.pdp.federation import OutsideUsers
from sidecar.pdp.identity import Identity
from sidecar.pdp.token_cache import TokenCache
from sidecar.policy.decide import decide
from sidecar.policy.generation import Generation
from sidecar.policy.routes import Public
from sidecar.store.connection import StoreUnavailable
from sidecar.store.integrity.partition_state import State, cause_of
from sidecar.store.live.record_cache import Records
from sidecar.tokens.claims import Claims
from sidecar.tokens.external_tokens import Outsider

SHOWN: Final = 128
"""Characters of a name that no policy has, in a decision: logs and answers remember thousands of them (R29)."""


class PolicyInForce(Protocol):
    """Where the generation in force is read, once per question. None: there is none, and nothing is allowed."""

    @property
    def generation(self) -> Generation | None: ...


class Open(msgspec.Struct, frozen=True):
    """A question that only the store can close: its token is authentic, its user's live record is not at hand; or the
    token is an outside issuer's, whose keys may have to be asked for as well (R10)."""

    generation: Generation
    target: Target | Reason
    claims: Claims | Outsider


class Unavailable(msgspec.Struct, frozen=True):
    """The store could not say. ``cause``: the state of its partition, as in partition_state.py."""

    cause: str


class Standing(msgspec.Struct, frozen=True, gc=False):
    """A decision about somebody, with all that it followed from beside the question: while each of those is the very
    same object and the time is within its bounds (Unix seconds), the same question has the same answer. ``generation``
    is the id that the generation in force holds, not the generation: what is remembered must not keep an old one."""

    decision: Decision
    generation: str
    tokens: object
    record: UserRecord
    since: int
    until: int


class DecisionPoint:
    """The PDP. ``clock`` gives Unix seconds. ``outside``: the users of trusted outside issuers, if there are any.
    ``on_regression`` hears of a user whose token is of a later epoch than the store's: the store went back in time."""

    def __init__(
        self,
        policy: PolicyInForce,
        tokens: TokenCache,
        records: Records,
        *,
        clock: Callable[[], float],
        outside: OutsideUsers | None = None,
        on_regression: Callable[[UserId, int], None] = lambda _uid, _epoch: None,
    ) -> None:
        self._policy = policy
        self._tokens = tokens
        self._records = records
        self._clock = clock
        self._outside = outside
        self._on_regression = on_regression

    async def check(self, question: Question) -> Decision:
        """One question of a gateway. Never raises for what a client or the store can do."""
        outcome = self.check_now(question)
        return outcome if isinstance(outcome, Decision) else await self.close(outcome)

    def check_now(self, question: Question) -> Decision | Open:
        """As ``check``, without waiting: decided from the live copy, or left open for the store."""
        generation = self._policy.generation
        if generation is None:
            return Decision(Reason.POLICY_UNAVAILABLE, "")
        target = _resolve(generation, question.target)
        if isinstance(target, Public):
            return Decision(Reason.PUBLIC, generation.id)
        if target is Reason.AMBIGUOUS_PATH or target is Reason.BAD_REQUEST:
            return Decision(target, generation.id)
        credential = question.credential
        if credential.proof is Proof.COOKIE and not question.same_site:
            return Decision(Reason.CROSS_SITE, generation.id)
        now = int(self._clock())
        claims = self._believe(credential, now)
        if isinstance(claims, Claims):
            record = self._peek(claims)
            if record is not None:
                return _conclude(generation, target, _hold(claims, record, now))
        elif isinstance(claims, Reason):
            return Decision(claims, generation.id)
        return Open(generation, target, claims)

    async def close(self, question: Open) -> Decision:
        """Ask the store for the record that ``check_now`` did not have."""
        identity = await self._ask(question.claims)
        if isinstance(identity, Unavailable):
            return Decision(Reason.STORE_UNAVAILABLE, question.generation.id, cause=identity.cause)
        return _conclude(question.generation, question.target, identity)

    def standing(self, question: Question, decision: Decision) -> Standing | None:
        """For who is asked the same again and again: ``decision``, just made of ``question``, to be held to ``stands``.

        None when it is about nobody: what is wrong with a token is not worth remembering here.
        """
        generation, record = self._policy.generation, decision.user
        if generation is None or record is None or generation.id != decision.generation:
            return None
        claims = self._believe(question.credential, int(self._clock()))
        if not isinstance(claims, Claims) or self._records.peek(record.id) is not record:
            return None
        since, until = self._tokens.bounds(claims)
        ends_at = record.sessions[claims.session]
        return Standing(decision, generation.id, self._tokens.version, record, since, min(until, ends_at))

    def target_of(self, asked: Route | Target) -> Target | Public | Reason:
        """What the generation in force makes of it."""
        generation = self._policy.generation
        return Reason.POLICY_UNAVAILABLE if generation is None else _resolve(generation, asked)

    def stands(self, standing: Standing) -> bool:
        """Nothing that the decision followed from has changed: ``check_now`` would decide the same."""
        generation = self._policy.generation
        return (
            generation is not None
            and generation.id is standing.generation
            and self._tokens.version is standing.tokens
            and standing.since <= self._clock() < standing.until
            and self._records.peek(standing.record.id) is standing.record
        )

    async def identify(self, credential: Credential) -> Identity | Reason:
        """Whose token is it, and does it still hold?"""
        now = int(self._clock())
        claims = self._believe(credential, now)
        if isinstance(claims, Claims):
            record = self._peek(claims)
            if record is not None:
                return _hold(claims, record, now)
        elif isinstance(claims, Reason):
            return claims
        identity = await self._ask(claims)
        return Reason.STORE_UNAVAILABLE if isinstance(identity, Unavailable) else identity

    def session_of(self, token: str) -> Claims | Reason:
        """The claims of an authentic access token of ours, expired or not: what proves a session to a browser's
        renewal and sign-out (R5). Says nothing of whether the session lives."""
        return self._tokens.of_session(token, now=int(self._clock()))

    def account(self, credential: Credential) -> AccountId | None:
        """The account that an authentic token of ours names, whether or not the token still holds."""
        claims = self._believe(credential, int(self._clock()))
        return claims.account if isinstance(claims, Claims) else None

    def _believe(self, credential: Credential, now: int) -> Claims | Outsider | Reason:
        if credential.proof is Proof.NONE:
            return Reason.MISSING_TOKEN
        return self._tokens.verify(credential.token, now=now)

    def _peek(self, claims: Claims) -> UserRecord | None:
        """The live copy, unless the token is newer: then it is most likely a sign-in whose change is on its way."""
        record = self._records.peek(claims.user)
        if record is None or claims.epoch > record.epoch or claims.session not in record.sessions:
            return None
        return record

    async def _ask(self, claims: Claims | Outsider) -> Identity | Reason | Unavailable:
        try:
            if isinstance(claims, Outsider):
                return await self._ask_outside(claims)
            record = await self._records.read(claims.user, fresh=True)
        except StoreUnavailable as problem:
            return Unavailable(problem.cause or cause_of(State.OUT))
        if record is not None and claims.epoch > record.epoch:
            self._on_regression(claims.user, claims.epoch)
        return _hold(claims, record, int(self._clock()))

    async def _ask_outside(self, outsider: Outsider) -> Identity | Reason:
        if self._outside is None:  # nobody outside is trusted
            return Reason.WRONG_ISSUER
        return await self._outside.identify(outsider, now=int(self._clock()))


def rule_on(generation: Generation, record: UserRecord, target: Target) -> Decision:
    """The policy's word on a live user: the role is the record's, at this instant."""
    ruling = decide(generation, record.role, target.section, target.action)
    section, action = target.section[:SHOWN], target.action[:SHOWN]
    return Decision(ruling.reason, generation.id, ruling.rule, record, section, action)


def _conclude(generation: Generation, target: Target | Reason, identity: Identity | Reason) -> Decision:
    """Who first, then where: nobody without a token learns which paths exist."""
    if isinstance(identity, Reason):
        older = identity is Reason.STORE_UNAVAILABLE  # than the token: the store went back in time
        return Decision(identity, generation.id, cause=cause_of(State.REGRESSED) if older else "")
    if isinstance(target, Reason):
        return Decision(target, generation.id, user=identity.record)
    return rule_on(generation, identity.record, target)


def _resolve(generation: Generation, target: Route | Target) -> Target | Public | Reason:
    if isinstance(target, Target):
        return target
    return generation.routes.resolve(target.method, target.raw_path)


def _hold(claims: Claims, record: UserRecord | None, now: int) -> Identity | Reason:
    """Does an authentic token agree with the live record? In the documented order of reasons."""
    if record is None:
        return Reason.UNKNOWN_USER
    if record.status is not Status.ACTIVE:
        # An invited user has no token of ours, so only a removed and re-invited id could come here.
        return Reason.SUSPENDED if record.status is Status.SUSPENDED else Reason.UNKNOWN_USER
    if record.review is not None:
        return Reason.NEEDS_REVIEW
    if claims.epoch < record.epoch:
        return Reason.REVOKED
    if claims.epoch > record.epoch:
        # We signed a higher epoch than the store now has: the store went back in time. Never an allow.
        return Reason.STORE_UNAVAILABLE
    ends_at = record.sessions.get(claims.session)
    if ends_at is None or ends_at <= now:
        return Reason.SESSION_ENDED
    return Identity(claims, record)
