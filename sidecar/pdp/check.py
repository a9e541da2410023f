"""The whole check on one page: policy, token and live record become one decision.

Order (contract.md section 4): malformed or ambiguous request, public route, token, unmatched path, policy. One
generation and one record answer all of it. What cannot be known is never an allow.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from sidecar.pdp.tokens import TokenCache
from sidecar.policy.decide import decide
from sidecar.policy.generation import Generation
from sidecar.policy.routes import Public
from sidecar.store.connection import StoreUnavailable
from sidecar.store.records import Records
from sidecar.tokens.claims import Claims
from sidecar.vocabulary.access import Credential, Proof, Question, Route, Target
from sidecar.vocabulary.decision import Decision, Reason
from sidecar.vocabulary.people import Status, UserRecord


class PolicyInForce(Protocol):
    """Where the generation in force is read, once per question. None: there is none, and nothing is allowed."""

    @property
    def generation(self) -> Generation | None: ...


class Identity(msgspec.Struct, frozen=True):
    """A token that holds: what it claims and the live record that bears it out."""

    claims: Claims
    record: UserRecord


class Open(msgspec.Struct, frozen=True):
    """A question that only the store can close: its token is authentic, its user's live record is not at hand."""

    generation: Generation
    target: Target | Reason
    claims: Claims


class DecisionPoint:
    """The PDP. ``clock`` gives Unix seconds."""

    def __init__(
        self, policy: PolicyInForce, tokens: TokenCache, records: Records, *, clock: Callable[[], float]
    ) -> None:
        self._policy = policy
        self._tokens = tokens
        self._records = records
        self._clock = clock

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
        if isinstance(claims, Reason):
            return Decision(claims, generation.id)
        record = self._peek(claims)
        if record is None:
            return Open(generation, target, claims)
        return _conclude(generation, target, _hold(claims, record, now))

    async def close(self, question: Open) -> Decision:
        """Ask the store for the record that ``check_now`` did not have."""
        identity = await self._ask(question.claims)
        return _conclude(question.generation, question.target, identity)

    async def identify(self, credential: Credential) -> Identity | Reason:
        """Whose token is it, and does it still hold?"""
        now = int(self._clock())
        claims = self._believe(credential, now)
        if isinstance(claims, Reason):
            return claims
        record = self._peek(claims)
        return await self._ask(claims) if record is None else _hold(claims, record, now)

    def _believe(self, credential: Credential, now: int) -> Claims | Reason:
        if credential.proof is Proof.NONE:
            return Reason.MISSING_TOKEN
        return self._tokens.verify(credential.token, now=now)

    def _peek(self, claims: Claims) -> UserRecord | None:
        """The live copy, unless the token is newer: then it is most likely a sign-in whose change is on its way."""
        record = self._records.peek(claims.user)
        if record is None or claims.epoch > record.epoch or claims.session not in record.sessions:
            return None
        return record

    async def _ask(self, claims: Claims) -> Identity | Reason:
        try:
            record = await self._records.read(claims.user, fresh=True)
        except StoreUnavailable:
            return Reason.STORE_UNAVAILABLE
        return _hold(claims, record, int(self._clock()))


def rule_on(generation: Generation, record: UserRecord, target: Target) -> Decision:
    """The policy's word on a live user: the role is the record's, at this instant."""
    ruling = decide(generation, record.role, target.section, target.action)
    return Decision(ruling.reason, generation.id, ruling.rule, record, target.section, target.action)


def _conclude(generation: Generation, target: Target | Reason, identity: Identity | Reason) -> Decision:
    """Who first, then where: nobody without a token learns which paths exist."""
    if isinstance(identity, Reason):
        return Decision(identity, generation.id)
    if isinstance(target, Reason):
        return Decision(target, generation.id, user=identity.record)
    return rule_on(generation, identity.record, target)


def _resolve(generation: Generation, target: Route | Target) -> Target | Public | Reason:
    if isinstance(target, Target):
        return target
    return generation.routes.resolve(target.method, target.raw_path)


def _hold(claims: Claims, record: UserRecord | None, now: int) -> Identity | Reason:
    """Does an authentic token agree with the live record? In the contract's order of reasons."""
    if record is None:
        return Reason.UNKNOWN_USER
    if record.status is not Status.ACTIVE:
        # An invited user has no token of ours, so only a removed and re-invited id could come here.
        return Reason.SUSPENDED if record.status is Status.SUSPENDED else Reason.UNKNOWN_USER
    if claims.epoch < record.epoch:
        return Reason.REVOKED
    if claims.epoch > record.epoch:
        # We signed a higher epoch than the store now has: the store went back in time. Never an allow.
        return Reason.STORE_UNAVAILABLE
    ends_at = record.sessions.get(claims.session)
    if ends_at is None or ends_at <= now:
        return Reason.SESSION_ENDED
    return Identity(claims, record)
