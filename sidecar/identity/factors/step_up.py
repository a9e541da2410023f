"""Step-up: a signed-in user proves the sign-in again, and the same session goes on (R41)."""

from dataclasses import dataclass, field
from typing import Final

from sidecar.domain.sessions import SECOND_FACTORS, LiveSession, Method, NewProof
from sidecar.domain.users import Actor, SessionId, UserRecord
from sidecar.identity.factors.attempts import Attempt, FactorAttempts, IssuedChallenge, VerifiedAttempt, WrongCode
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Overloaded
from sidecar.identity.password_proof import PasswordProofs, WrongPassword
from sidecar.identity.revocation_wait import wait_until_applied
from sidecar.identity.sessions import Client, Grant, Issuer
from sidecar.store.factor_proofs import FactorProof, FactorRequired, ProofRefused
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import ActorChanged, NoUser
from sidecar.store.sessions import SessionGone, Sessions, SteppedUp
from sidecar.store.users import Users
from sidecar.tokens.challenges import ChallengePurpose

FRESH_SECONDS: Final = 900
"""Greatest age of the proof with which a user changes own factors, or those of others."""

AHEAD_SECONDS: Final = 30
"""Greatest lead of the store's clock. A proof further in the future does not count."""


@dataclass(frozen=True, slots=True)
class RaisedSession:
    """Session with its new proofs. ``grant``: the new pair of tokens of a browser, else None.

    ``seconds_left``: until the session ends.
    """

    session: LiveSession
    grant: Grant | None = field(repr=False)
    revocation: Revocation
    seconds_left: int


StepUpOutcome = RaisedSession | WrongCode | WrongPassword | FactorRequired | ActorChanged | Limited | Overloaded


class StepUp:
    """Service for ``/v1/session/step-up``. All methods raise StoreUnavailableError."""

    def __init__(
        self,
        *,
        attempts: FactorAttempts,
        users: Users,
        sessions: Sessions,
        passwords: PasswordProofs,
        issuer: Issuer,
        fleet: Fleet,
    ) -> None:
        self._attempts = attempts
        self._users = users
        self._sessions = sessions
        self._passwords = passwords
        self._issuer = issuer
        self._fleet = fleet

    async def options(self, record: UserRecord) -> IssuedChallenge | NoUser:
        """Return a challenge, with the methods of this user."""
        return await self._attempts.issue(record.id, ChallengePurpose.STEP_UP)

    async def by_password(self, actor: Actor, typed: str, client: Client, *, browser: bool) -> StepUpOutcome:
        """Step up by the password. Only for a user without a second factor."""
        held = None if actor.user is None else await self._users.credentials_of(actor.user)
        if held is None or not held.record.may_sign_in or held.record.epoch != actor.epoch:
            return ActorChanged()
        if held.record.factors:
            return FactorRequired()
        refused = await self._passwords.prove(held, typed, client)
        if refused is not None:
            return refused
        outcome = await self._raise(actor, NewProof(Method.PASSWORD), None, browser=browser)
        return ActorChanged() if isinstance(outcome, WrongCode) else outcome

    async def by_factor(self, actor: Actor, attempt: Attempt, client: Client, *, browser: bool) -> StepUpOutcome:
        """Step up by a second factor. Only a challenge of the actor counts."""

        async def raise_(found: VerifiedAttempt) -> RaisedSession | WrongCode | FactorRequired | ActorChanged:
            return await self._raise(actor, found.new_proof, found.proof, browser=browser)

        return await self._attempts.verify(attempt, ChallengePurpose.STEP_UP, client, raise_, user=actor.user)

    async def _raise(
        self, actor: Actor, shown: NewProof, proof: FactorProof | None, *, browser: bool
    ) -> RaisedSession | WrongCode | FactorRequired | ActorChanged:
        if not actor.session:  # an external issuer's token has no session here
            return ActorChanged()
        outcome = await self._sessions.step_up(actor, shown, proof=proof, rotate=browser)
        match outcome:
            case SteppedUp(record, position, counter, ends_at):
                revocation = await wait_until_applied(self._fleet, position)
                session = record.sessions[actor.session]
                grant = self._issuer.grant(record, actor.session, counter) if browser else None
                left = min(self._issuer.refresh_ttl, max(0, ends_at - int(self._issuer.now())))
                return RaisedSession(session, grant, revocation, left)
            case FactorRequired():
                return outcome
            case ProofRefused():
                return WrongCode()
            case SessionGone() | ActorChanged():
                return ActorChanged()


def is_fresh(record: UserRecord, session: SessionId, now: float) -> bool:
    """Return True if the session has proven its user within 15 minutes: by a factor, if the user has one.

    A factor that does not count for needs yet is a proof here (R37).
    """
    found = record.sessions.get(session)
    if found is None:
        return False
    at = found.signed_in_at
    if record.factors:
        at = max((proof.at for proof in found.methods if proof.method in SECOND_FACTORS), default=0)
    return now - FRESH_SECONDS <= at <= now + AHEAD_SECONDS
