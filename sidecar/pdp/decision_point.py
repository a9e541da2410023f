"""Decision point: combines policy, token and live record into one decision.

Order of evaluation (gateways/README.md, "Reasons"): malformed or ambiguous request, public route, token, unmatched
path, policy.
Each check uses one generation and one record. An undetermined result is always a denial.
"""

from collections.abc import Callable
from math import inf
from typing import Final, Protocol

import msgspec

from sidecar.domain.access import Credential, CredentialSource, OwnTarget, Question, RequestPath, Target
from sidecar.domain.decision import Decision, Reason
from sidecar.domain.users import AccountId, Status, UserId, UserRecord
from sidecar.pdp.decision_basis import DecisionBasis, Identity
from sidecar.pdp.federation import FederatedUsers
from sidecar.pdp.needs_check import SessionClasses, decide_need
from sidecar.pdp.own_paths import not_yours, target_without_path
from sidecar.pdp.token_cache import TokenCache
from sidecar.policy.decide import decide
from sidecar.policy.generation import Generation
from sidecar.policy.needs.facts import Address
from sidecar.policy.routes import Outcome, Public
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.integrity.partition_state import PartitionState, cause_of
from sidecar.store.live.record_cache import RecordCache
from sidecar.tokens.claims import Claims
from sidecar.tokens.external_tokens import ExternalToken

SHOWN: Final = 128
"""Maximum characters of a section or action name in a decision. A check can name unknown ones, and logs and caches
hold thousands of decisions (R29)."""


class ActivePolicy(Protocol):
    """Source of the active generation, read once per check. None: no policy is active, and every check is denied."""

    @property
    def generation(self) -> Generation | None: ...


class PendingDecision(msgspec.Struct, frozen=True):
    """Check that needs I/O. Either the token is authentic and the user's record is not cached, or an external issuer
    signed the token (R10). An external token can also require the issuer's keys. ``client``: as in `Question`."""

    generation: Generation
    target: Target | OwnTarget | Reason
    claims: Claims | ExternalToken
    client: Address | None = None


class Unavailable(msgspec.Struct, frozen=True):
    """Failed store read. ``cause``: the state of the partition, as in partition_state.py."""

    cause: str


class DecisionPoint:
    """PDP. ``clock`` returns Unix seconds. ``outside``: resolver for tokens of trusted external issuers, if any.
    ``on_regression`` is called with the user and the token's epoch when that epoch is later than the store's. The
    store has then lost writes."""

    def __init__(
        self,
        policy: ActivePolicy,
        tokens: TokenCache,
        records: RecordCache,
        *,
        clock: Callable[[], float],
        outside: FederatedUsers | None = None,
        leeway: float = 0.0,
        on_regression: Callable[[UserId, int], None] = lambda _uid, _epoch: None,
    ) -> None:
        self._policy = policy
        self._tokens = tokens
        self._records = records
        self.clock = clock
        self._outside = outside
        self.leeway = leeway
        self._classes = SessionClasses(leeway)
        self._on_regression = on_regression

    async def check(self, question: Question) -> Decision:
        """Return the decision for one check. Invalid input and store failures are denials, never exceptions."""
        outcome = self.check_now(question)
        return outcome if isinstance(outcome, Decision) else await self.close(outcome)

    def check_now(self, question: Question) -> Decision | PendingDecision:
        """Decide without I/O, from the cached record. Return ``PendingDecision`` if the check needs I/O."""
        generation = self._policy.generation
        if generation is None:
            return Decision(Reason.POLICY_UNAVAILABLE, "")
        target = _resolve(generation, question.target)
        if not isinstance(target, Target):
            if isinstance(target, Public):
                return Decision(Reason.PUBLIC, generation.id)
            if target is Reason.AMBIGUOUS_PATH or target is Reason.BAD_REQUEST:
                return Decision(target, generation.id)
        credential = question.credential
        if credential.proof is CredentialSource.COOKIE and not question.same_site:
            return Decision(Reason.CROSS_SITE, generation.id)
        now = int(self.clock())
        claims = self._verify_token(credential, now)
        if isinstance(claims, Claims):
            record = self._cached_record(claims)
            if record is not None:
                return self._conclude(generation, target, _match_record(claims, record, now), question.client)
        elif isinstance(claims, Reason):
            return Decision(claims, generation.id)
        return PendingDecision(generation, target, claims, question.client)

    async def close(self, question: PendingDecision) -> Decision:
        """Load the identity that ``check_now`` lacked, and return the decision."""
        identity = await self._load_identity(question.claims)
        if isinstance(identity, Unavailable):
            return Decision(Reason.STORE_UNAVAILABLE, question.generation.id, cause=identity.cause)
        return self._conclude(question.generation, question.target, identity, question.client)

    def evaluate(
        self, generation: Generation, identity: Identity, target: Target, client: Address | None = None
    ) -> Decision:
        """Evaluate the policy for a live user, with the role in the record, and the needs of the cell.

        ``client``: the user's own address, None if it is not known.
        """
        role = identity.record.role
        ruling = decide(generation, role, target.section, target.action)
        section, action = target.section[:SHOWN], target.action[:SHOWN]
        decision = Decision(ruling.reason, generation.id, ruling.rule, identity.record, section, action)
        if not (generation.needs.active and decision.allowed):
            return decision
        requirement = generation.needs.of(role, target.section, target.action)
        if requirement is None:
            return decision
        now = self.clock()
        facts = self._classes.of(generation, identity, now)
        return decide_need(generation, requirement, facts, client, role=role, allowed=decision, now=now + self.leeway)

    def class_of(self, generation: Generation, identity: Identity, client: Address | None) -> int:
        """Return the class of the facts that are known of a caller now (`Needs.class_of`)."""
        return generation.needs.at(self._classes.of(generation, identity, self.clock()).base, client)

    def basis_of(self, question: Question, decision: Decision) -> DecisionBasis | None:
        """Return the inputs of ``decision``, just made for ``question``. Validate them later with ``is_current``.

        Returns None if the decision has no user, or if an input has changed. Token errors are not worth caching here.
        """
        generation, record = self._policy.generation, decision.user
        if generation is None or record is None or generation.id != decision.generation:
            return None
        claims = self._verify_token(question.credential, int(self.clock()))
        if not isinstance(claims, Claims) or self._records.peek(record.id) is not record:
            return None
        now = self.clock()
        begins_at, expires_at = self._tokens.bounds(claims)
        since: float = begins_at
        until = min(expires_at, record.sessions[claims.session].ends_at, decision.valid_until)
        if decision.known is not None:  # an earlier clock can be in another class
            since = max(begins_at, now)
        if until <= now:
            return None
        return DecisionBasis(decision, generation.id, self._tokens.version, record, since, until)

    def basis_of_subject(self, decision: Decision) -> DecisionBasis | None:
        """Return the inputs of a decision about a user without a token.

        Returns None if facts of a session have been evaluated, or if an input has changed.
        """
        generation, record = self._policy.generation, decision.user
        if generation is None or record is None or generation.id != decision.generation:
            return None
        if decision.known is not None or decision.missing is not None or self._records.peek(record.id) is not record:
            return None
        return DecisionBasis(decision, generation.id, self._tokens.version, record, -inf, decision.valid_until)

    def target_of(self, requested: RequestPath | Target) -> Outcome:
        """Resolve a route or target with the active generation."""
        generation = self._policy.generation
        return Reason.POLICY_UNAVAILABLE if generation is None else _resolve(generation, requested)

    def is_current(self, basis: DecisionBasis) -> bool:
        """Return True if every input of the decision is unchanged, so that ``check_now`` would decide the same."""
        generation = self._policy.generation
        return (
            generation is not None
            and generation.id is basis.generation
            and self._tokens.version is basis.tokens
            and basis.since <= self.clock() < basis.until
            and self._records.peek(basis.record.id) is basis.record
        )

    async def identify(self, credential: Credential) -> Identity | Reason:
        """Verify a credential. Return its identity or the reason for the rejection.

        A cached record avoids the store read. A store failure returns ``STORE_UNAVAILABLE``.
        """
        now = int(self.clock())
        claims = self._verify_token(credential, now)
        if isinstance(claims, Claims):
            record = self._cached_record(claims)
            if record is not None:
                return _match_record(claims, record, now)
        elif isinstance(claims, Reason):
            return claims
        identity = await self._load_identity(claims)
        return Reason.STORE_UNAVAILABLE if isinstance(identity, Unavailable) else identity

    def session_of(self, token: str) -> Claims | Reason:
        """Return the claims of an authentic local access token, expired or not. They identify the session in a
        browser's renewal and sign-out (R5). The session itself may have ended."""
        return self._tokens.of_session(token, now=int(self.clock()))

    def account(self, credential: Credential) -> AccountId | None:
        """Return the account in an authentic, unexpired local token, even if the token is revoked; else None."""
        claims = self._verify_token(credential, int(self.clock()))
        return claims.account if isinstance(claims, Claims) else None

    def _verify_token(self, credential: Credential, now: int) -> Claims | ExternalToken | Reason:
        if credential.proof is CredentialSource.NONE:
            return Reason.MISSING_TOKEN
        return self._tokens.verify(credential.token, now=now)

    def _cached_record(self, claims: Claims) -> UserRecord | None:
        """Return the cached record unless the token is newer. The change event of a new sign-in has most likely not
        arrived yet."""
        record = self._records.peek(claims.user)
        if record is None or claims.epoch > record.epoch or claims.session not in record.sessions:
            return None
        return record

    async def _load_identity(self, claims: Claims | ExternalToken) -> Identity | Reason | Unavailable:
        try:
            if isinstance(claims, ExternalToken):
                return await self._identify_external(claims)
            record = await self._records.read(claims.user, fresh=True)
        except StoreUnavailableError as problem:
            return Unavailable(problem.cause or cause_of(PartitionState.OUT))
        if record is not None and claims.epoch > record.epoch:
            self._on_regression(claims.user, claims.epoch)
        return _match_record(claims, record, int(self.clock()))

    def _conclude(
        self,
        generation: Generation,
        target: Target | OwnTarget | Reason,
        identity: Identity | Reason,
        client: Address | None,
    ) -> Decision:
        """Return the decision. Identity precedes target, so that callers without a token cannot probe for paths."""
        if isinstance(identity, Reason):
            older = (
                identity is Reason.STORE_UNAVAILABLE
            )  # the store's epoch is older than the token's: writes were lost
            return Decision(identity, generation.id, cause=cause_of(PartitionState.REGRESSED) if older else "")
        if isinstance(target, Target):
            return self.evaluate(generation, identity, target, client)
        record = identity.record
        if isinstance(target, Reason):
            return Decision(target, generation.id, user=record)
        if target.is_own(record.account, record.id):
            return self.evaluate(generation, identity, target.target, client)
        return not_yours(generation, record.role, target, record)

    async def _identify_external(self, external: ExternalToken) -> Identity | Reason:
        if self._outside is None:  # no external issuer is trusted
            return Reason.WRONG_ISSUER
        return await self._outside.identify(external, now=int(self.clock()))


def _resolve(generation: Generation, target: RequestPath | Target) -> Outcome:
    if isinstance(target, Target):
        own_only = generation.routes.own_only
        return target_without_path(target) if own_only and target in own_only else target
    return generation.routes.resolve(target.method, target.raw_path)


def _match_record(claims: Claims, record: UserRecord | None, now: int) -> Identity | Reason:
    """Match an authentic token against the live record, in the documented order of reasons."""
    if record is None:
        return Reason.UNKNOWN_USER
    if record.status is not Status.ACTIVE:
        # An invited user has no local token. Only a removed and re-invited id can reach this line.
        return Reason.SUSPENDED if record.status is Status.SUSPENDED else Reason.UNKNOWN_USER
    if record.review is not None:
        return Reason.NEEDS_REVIEW
    if claims.epoch < record.epoch:
        return Reason.REVOKED
    if claims.epoch > record.epoch:
        # A higher epoch was signed than the store now has: the store lost writes. Always a denial.
        return Reason.STORE_UNAVAILABLE
    session = record.sessions.get(claims.session)
    if session is None or session.ends_at <= now:
        return Reason.SESSION_ENDED
    return Identity(claims, record, session.methods, session.signed_in_at)
